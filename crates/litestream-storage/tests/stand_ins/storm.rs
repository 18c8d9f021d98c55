//! Everything goes wrong half of the time, and the contract holds.

use std::sync::Arc;

use litestream_storage::contract::{Abilities, check};
use testkit::server::stand_in::{Misdeed, Said};

use crate::place::{Place, patient, tries};

pub(crate) async fn keeps_the_contract<P: Place>(place: P) {
    check(place.contract_store(), P::ABILITIES).await;
    assert_eq!(place.unfinished(), 0, "uploads that failed are given up");
}

pub(crate) async fn keeps_the_contract_in_a_storm<P: Place>(place: P) {
    // Chance or the rhythm of several callers may let one request fail many times in a row.
    let store = place.layered_with(patient(), tries(1000));
    let mut number = 0_usize;
    place.server().when(move |asked| {
        // Whether a lost conditional deletion was ours cannot be known.
        if asked.path.contains("delete_if") {
            return None;
        }
        number += 1;
        let after_effect = true;
        match (number % P::STORM, number / P::STORM % 8) {
            (calm, _) if calm != 1 => None,
            (_, 0) => Some(Misdeed::overloaded()),
            (_, 1) => Some(Misdeed::Hangup {
                after_effect: false,
            }),
            (_, 2) => Some(Misdeed::Cut(30)),
            (_, 3) => Some(Misdeed::Deaf(20)),
            (_, 4) => Some(Misdeed::Hangup { after_effect }),
            (_, 5) => Some(Misdeed::Half(100_000)),
            (_, 6) => Some(Misdeed::Instead(
                Said::status(429).header("Retry-After", "1"),
            )),
            (_, _) => Some(Misdeed::After(Said::status(500))),
        }
    });
    let few = Abilities {
        many: 20,
        steady_bodies: P::TELLS_VERSIONS,
        ..P::ABILITIES
    };
    check(Arc::new(store.clone()), few).await;
    assert!(store.retries() > 30, "{}", store.retries());
}
