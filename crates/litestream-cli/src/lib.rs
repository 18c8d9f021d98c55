//! The front end of the program `litestream`.
//!
//! A command goes through four steps, each in its own place: *parse* (`flags`), *plan* (checks
//! and configuration, no effect), *run*, *print*. Nothing here knows how databases are replicated;
//! that is the work of the crate `litestream`. The surface is that of Litestream v0.5.17: same command lines, same
//! configuration files, same output.

mod backend;
pub mod cli;
pub mod commands;
pub mod config;
pub mod context;
pub mod control;
pub mod duration;
mod engine;
pub mod env;
pub mod error;
pub mod flags;
#[cfg(feature = "http")]
mod heartbeat;
pub mod json;
pub mod log;
pub mod ltx_files;
mod memory;
mod metrics;
pub mod os_error;
pub mod paths;
pub mod quote;
pub mod size;
pub mod table;
pub mod time;
pub mod url;

pub use cli::main;
