//! The checkpoint and reader-pinning protocol: an exhaustive model, mistakes that it must catch, and a
//! conformance test of its assumptions against the real `SQLite`.
//!
//! `docs/checkpoint-protocol.md` tells the protocol and what is and is not covered. The large runs
//! are ignored by default: `cargo test --test checkpoint_model -- --ignored --nocapture`.

#[path = "checkpoint_model/app.rs"]
mod app;
#[path = "checkpoint_model/ckpt.rs"]
mod ckpt;
#[path = "checkpoint_model/config.rs"]
mod config;
#[path = "checkpoint_model/conformance.rs"]
mod conformance;
#[path = "checkpoint_model/engine.rs"]
mod engine;
#[path = "checkpoint_model/invariant.rs"]
mod invariant;
#[path = "checkpoint_model/mistakes.rs"]
mod mistakes;
#[path = "checkpoint_model/recovery.rs"]
mod recovery;
#[path = "checkpoint_model/search.rs"]
mod search;
#[path = "checkpoint_model/sqlite.rs"]
mod sqlite;
#[path = "checkpoint_model/state.rs"]
mod state;

use config::Config;
use invariant::{Broken, Scope};

#[expect(clippy::print_stdout, reason = "the numbers are part of the result")]
/// Explores `config` and fails on any violation or unreachable goal.
fn holds(name: &str, config: &Config, scope: Scope, progress: bool) {
    let outcome = search::explore(config, scope, progress);
    println!("{name}: {} states, {} steps", outcome.states, outcome.steps);
    if let Some(violation) = outcome.violation {
        panic!(
            "{name}: {:?}\n{:#?}\n{:#?}",
            violation.broken, violation.trace, violation.state
        );
    }
    assert!(
        outcome.stuck.is_empty(),
        "{name}: goals out of reach: {:#?}",
        outcome.stuck
    );
    assert!(outcome.states > 10_000, "{name}: the run is empty");
}

#[test]
fn own_checkpoints_beside_application_checkpoints() {
    let config = Config {
        reader: false,
        transactions: 3,
        ..Config::steady()
    };
    holds("own checkpoints", &config, Scope::All, true);
}

#[test]
fn application_reader_holds_slots() {
    let config = Config {
        transactions: 3,
        blocking_modes: false,
        own_checkpoint: false,
        ..Config::steady()
    };
    holds("reader", &config, Scope::All, true);
}

#[test]
fn the_engine_steps_aside_for_checkpoints() {
    let config = Config {
        reader: false,
        transactions: 3,
        aside: true,
        ..Config::steady()
    };
    holds("aside", &config, Scope::All, false);
    // With two slots the only other one may carry an old mark; with as few as three there is always a way out.
    let way_out = Config {
        slots: 3,
        transactions: 2,
        generations: 2,
        ..config
    };
    holds("aside, three slots", &way_out, Scope::All, true);
}

#[test]
fn the_engine_steps_aside_beside_a_reader() {
    let config = Config {
        transactions: 3,
        blocking_modes: false,
        own_checkpoint: false,
        aside: true,
        ..Config::steady()
    };
    holds("aside, reader", &config, Scope::All, true);
}

#[test]
fn killed_while_it_is_aside() {
    let config = Config {
        aside: true,
        frames: 3,
        generations: 2,
        ..Config::short_restarts()
    };
    holds("killed while aside", &config, Scope::All, true);
}

#[test]
fn killed_at_any_step() {
    let config = Config {
        reopen: true,
        frames: 3,
        ..Config::short_restarts()
    };
    holds("killed at any step", &config, Scope::All, true);
}

#[test]
fn killed_while_the_file_is_cut_and_transactions_roll_back() {
    let config = Config {
        frames: 3,
        generations: 2,
        transactions: 2,
        spill: true,
        size_limit: true,
        long_file: true,
        ..Config::short_restarts()
    };
    holds("cut file", &config, Scope::All, false);
}

#[test]
fn power_loss_at_any_step() {
    let config = Config {
        transactions: 2,
        power_loss: true,
        long_file: true,
        frames: 3,
        ..Config::short_restarts()
    };
    holds("power loss", &config, Scope::All, false);
}

#[test]
fn capture_survives_the_wal_reset_bug_of_the_application() {
    let config = Config {
        reader: false,
        blocking_modes: false,
        reset_bug: true,
        ..Config::steady()
    };
    let outcome = search::explore(&config, Scope::Sqlite, false);
    let violation = outcome.violation.expect("the bug must show in the model");
    assert_eq!(violation.broken, Broken::Sqlite, "{:#?}", violation.trace);
    holds("WAL-reset bug", &config, Scope::Safety, false);
}

#[test]
#[ignore = "minutes and gigabytes"]
fn large_runs() {
    let steady = Config {
        transactions: 3,
        ..Config::steady()
    };
    holds(
        "everybody",
        &Config {
            generations: 2,
            ..steady
        },
        Scope::All,
        true,
    );
    let kills = Config {
        reader: false,
        kill: true,
        random_salts: true,
        ..steady
    };
    holds("killed applications", &kills, Scope::All, true);
    let modes = Config {
        transactions: 4,
        ..Config::restarts()
    };
    holds("restarts, all modes", &modes, Scope::All, true);
    let accidents = Config {
        frames: 3,
        spill: true,
        kill: true,
        reopen: true,
        random_salts: true,
        size_limit: true,
        ..Config::short_restarts()
    };
    holds("restarts, all accidents", &accidents, Scope::All, false);
    let power = Config {
        power_loss: true,
        kill: true,
        ..Config::short_restarts()
    };
    holds("power loss and kills", &power, Scope::All, false);
}
