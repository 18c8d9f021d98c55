//! Compaction, snapshots and retention, step by step: time is what the test says, and nothing runs
//! unless the test makes it run.

mod bed;
mod due;
mod faults;
mod hour;
mod kept;
mod model;
mod reading;
mod requests;
