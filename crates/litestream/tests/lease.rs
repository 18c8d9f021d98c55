//! Leases: at most one holds, whatever requests, clocks and processes do; and two engines on one
//! replica never interleave a history.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/bed.rs"]
mod bed;
#[path = "lease/clocks.rs"]
mod clocks;
#[path = "lease/engines.rs"]
mod engines;
#[path = "lease/fence.rs"]
mod fence;
#[path = "lease/race.rs"]
mod race;
#[path = "lease/stores.rs"]
mod stores;
#[path = "lease/turns.rs"]
mod turns;
