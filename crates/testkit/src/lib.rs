//! Tools for the tests of all other crates; never shipped.
//!
//! | module | owns |
//! |---|---|
//! | [`process`] | children that die with the test, bounded waits, signals, socket paths |
//! | [`program`] | driver of a program with the litestream command line: ours or the reference |
//! | [`reference`](mod@reference) | finding the real reference binaries, or saying loudly that they are missing |
//! | [`server`] | real servers that the storage backends are tested against |
//! | [`history`] | seeded random workloads on a database |
//! | [`prefix`] | a history whose every state can be proved to be a committed prefix |
//! | [`tls`] | certificates for servers and clients |
//! | [`writer`] | both histories in a process of their own, as an application would be |
//! | [`hash`] | logical hash, page hash and integrity check of a database |
//! | [`golden`] | typed reading of the golden replica trees and what restores of them gave |
//!
//! Rule for tests with an engine in the same process: `SQLite`'s locks belong to
//! the process, so the application side must be another process. Use [`writer`]
//! there, [`history::History`] and [`prefix::Prefix::apply`] only where no engine runs.

pub mod golden;
pub mod hash;
pub mod history;
pub mod prefix;
pub mod process;
pub mod program;
pub mod reference;
pub mod server;
pub mod tls;
pub mod writer;
