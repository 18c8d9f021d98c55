//! The SFTP store against a server inside the test process: the contract, and everything that goes
//! wrong on the way.
#![cfg(feature = "sftp")]

mod answers;
mod bodies;
mod contract;
mod doors;
mod place;
mod server;
mod silence;
mod steps;
