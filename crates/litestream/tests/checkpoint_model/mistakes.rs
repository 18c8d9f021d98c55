//! Deliberate mistakes in the protocol: the proof that the model can fail.

use crate::config::{Config, Mistake};
use crate::invariant::{Broken, Scope};
use crate::search::explore;

#[expect(clippy::print_stdout, reason = "the numbers are part of the result")]
/// Explores with `mistake` and expects a violation of the replica's safety.
fn unsafe_because(mistake: Mistake, config: Config, broken: Broken) {
    let outcome = explore(&config.mistaken(mistake), Scope::Safety, false);
    let violation = outcome
        .violation
        .unwrap_or_else(|| panic!("{mistake:?} was not caught"));
    println!(
        "{mistake:?}: {:?} after {} steps",
        violation.broken,
        violation.trace.len()
    );
    assert_eq!(
        violation.broken, broken,
        "{mistake:?}: {:#?}",
        violation.trace
    );
}

/// Explores with `mistake` and expects that nothing is lost, only copied into the database early.
fn untidy(mistake: Mistake) {
    let config = Config {
        transactions: 2,
        generations: 2,
        ..steady()
    }
    .mistaken(mistake);
    let violation = explore(&config, Scope::All, false).violation;
    let broken = violation.map(|violation| violation.broken);
    assert_eq!(broken, Some(Broken::EarlyBackfill), "{mistake:?}");
    assert!(
        explore(&config, Scope::Safety, false).violation.is_none(),
        "{mistake:?}"
    );
}

fn steady() -> Config {
    Config {
        reader: false,
        transactions: 3,
        ..Config::steady()
    }
}

#[test]
fn gaps_in_the_chain_of_pins_lose_transactions() {
    for mistake in [
        Mistake::EndPinBeforeBegin,
        Mistake::PassiveWithoutPin,
        Mistake::LockedWithoutTail,
        Mistake::RollbackBeforeRepin,
    ] {
        unsafe_because(mistake, steady(), Broken::Lost);
    }
}

#[test]
fn order_of_capture_within_an_unbroken_chain_is_only_tidiness() {
    for mistake in [
        Mistake::ReadHeaderBeforeBegin,
        Mistake::CopyAfterEndingPin,
        Mistake::ReadHeaderAfterEndingPin,
    ] {
        untidy(mistake);
    }
}

#[test]
fn a_gap_around_the_bare_lock_loses_transactions() {
    let config = Config {
        aside: true,
        ..steady()
    };
    for mistake in [
        Mistake::AsideEndBeforeLock,
        Mistake::AsideUnlockBeforeBegin,
        Mistake::AsideUnlockBeforeCopy,
    ] {
        unsafe_because(mistake, config, Broken::Lost);
    }
}

#[test]
fn a_bare_lock_on_a_slot_that_somebody_waits_for_is_in_the_way() {
    for mistake in [Mistake::AsideUnchecked, Mistake::AsideInWaitedSlot] {
        let config = Config {
            aside: true,
            transactions: 2,
            generations: 2,
            ..Config::steady()
        }
        .mistaken(mistake);
        let violation = explore(&config, Scope::All, false).violation;
        let broken = violation.map(|violation| violation.broken);
        assert_eq!(broken, Some(Broken::InTheWay), "{mistake:?}");
        let small = Config {
            reader: false,
            ..config
        };
        assert!(
            explore(&small, Scope::Safety, false).violation.is_none(),
            "{mistake:?}: a checkpoint waits, nothing is lost"
        );
    }
}

#[test]
fn a_start_that_trusts_its_pin_or_header_too_early_loses_transactions() {
    let config = Config {
        transactions: 4,
        ..Config::short_restarts()
    };
    unsafe_because(Mistake::StartHeaderBeforePin, config, Broken::Lost);
    unsafe_because(Mistake::CatchUpUnchecked, config, Broken::Lost);
}

#[test]
fn a_base_image_without_its_rules_is_torn() {
    let config = Config::short_restarts();
    unsafe_because(Mistake::OverlayFromFirstFrame, config, Broken::WrongFrames);
    unsafe_because(Mistake::HeaderNotReadAgain, config, Broken::WrongFrames);
}

#[test]
fn every_part_of_the_proof_across_a_restart_is_needed() {
    let config = Config {
        transactions: 4,
        ..Config::short_restarts()
    };
    for mistake in [
        Mistake::NextSlotUnchecked,
        Mistake::LastSlotUnchecked,
        Mistake::LastSlotBeforeNext,
        Mistake::ProofFromFrameZero,
    ] {
        unsafe_because(mistake, config, Broken::WrongFrames);
    }
    let cut = Config {
        size_limit: true,
        generations: 2,
        ..config
    };
    unsafe_because(Mistake::NextSlotMayBeAbsent, cut, Broken::WrongFrames);
    let long = Config {
        history: 2,
        transactions: 5,
        long_file: true,
        frames: 3,
        ..Config::short_restarts()
    };
    unsafe_because(Mistake::AnySaltStep, long, Broken::WrongFrames);
}

#[test]
fn power_loss_needs_the_checksum_and_the_boot() {
    let config = Config {
        power_loss: true,
        long_file: true,
        transactions: 2,
        frames: 3,
        ..Config::short_restarts()
    };
    unsafe_because(Mistake::EqualSaltsWithoutChecksum, config, Broken::Diverged);
    unsafe_because(Mistake::ProofAcrossPowerLoss, config, Broken::WrongFrames);
}
