//! A copy that is kept current is in a committed state at every moment, whatever fails, and gets to
//! the end of the replica by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bed.rs"]
mod bed;
#[path = "follow/faults.rs"]
mod faults;
#[path = "follow/foreign.rs"]
mod foreign;
#[path = "follow/history.rs"]
mod history;
#[path = "follow/readers.rs"]
mod readers;
#[path = "follow/scene.rs"]
mod scene;
