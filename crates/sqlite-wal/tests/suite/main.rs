//! Behaviour of the crate, against the real library and against WALs written byte by byte.

#![expect(clippy::unwrap_used, reason = "a failure is to end the run")]

#[path = "../support/wal_writer.rs"]
mod wal_writer;

mod batch;
mod chain;
mod checksum;
mod damage;
mod database;
mod index;
mod property;
mod real;
mod sources;
