//! Continuity at start: whatever happened while the engine was away, no committed row may be missing
//! from a restore at any transaction from then on.
//!
//! The defects named D1, D3, ... are those of Litestream v0.5.17 for which each test was first
//! written; each is told where its test is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bed.rs"]
mod bed;
#[path = "continuity/counters.rs"]
mod counters;
#[path = "continuity/damage.rs"]
mod damage;
#[path = "continuity/difference.rs"]
mod difference;
#[path = "continuity/garbled.rs"]
mod garbled;
#[path = "continuity/overload.rs"]
mod overload;
#[path = "continuity/quiet.rs"]
mod quiet;
#[path = "continuity/replicas.rs"]
mod replicas;
#[path = "continuity/restarts.rs"]
mod restarts;
#[path = "continuity/staging.rs"]
mod staging;
#[path = "continuity/takeover.rs"]
mod takeover;
#[path = "continuity/told.rs"]
mod told;
#[path = "continuity/writers.rs"]
mod writers;
