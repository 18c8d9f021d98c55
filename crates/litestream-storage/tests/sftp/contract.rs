//! The contract, with and without extensions, in fair weather and in a storm.

use std::collections::HashMap;
use std::sync::Arc;

use litestream_storage::SftpSettings;
use litestream_storage::contract::{Abilities, check};
use russh_sftp::protocol::StatusCode;

use crate::place::{ABILITIES, bare, layered, list, open, server, settings, unfinished};
use crate::server::{Asked, Misdeed, Offers, StandIn, Verb, lasting};

/// What the store can do without extensions.
const PLAIN: Abilities = Abilities {
    conditional_put: false,
    ..ABILITIES
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let server = server().await;
    check(Arc::new(bare(&server)), ABILITIES).await;
    assert_eq!(unfinished(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_without_extensions() {
    let server = StandIn::start(Offers::NONE).await;
    let settings = SftpSettings {
        concurrent_writes: false,
        ..settings(&server)
    };
    check(Arc::new(open(settings)), PLAIN).await;
    for verb in [
        Verb::PosixRename,
        Verb::Hardlink,
        Verb::Fsync,
        Verb::Statvfs,
    ] {
        assert_eq!(server.count(verb), 0, "{verb:?} was not offered");
    }
    assert_eq!(unfinished(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_in_a_storm() {
    storm(server().await, ABILITIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_in_a_storm_without_extensions() {
    storm(StandIn::start(Offers::NONE).await, PLAIN).await;
}

async fn storm(server: StandIn, abilities: Abilities) {
    // The rhythm of several callers may let one request fail many times in a row.
    let store = layered(&server, 1000);
    let mut weather = Storm::default();
    server.when(move |asked| weather.strikes(asked));
    let few = Abilities {
        many: 20,
        // The etag is made of length and second.
        steady_bodies: false,
        ..abilities
    };
    check(Arc::new(store.clone()), few).await;
    assert!(store.retries() > 100, "{}", store.retries());
    // What was left on connections that broke goes with the next call.
    server.behave();
    list(&store).await.expect("listable");
    assert_eq!(unfinished(&server), [""; 0]);
}

/// Of so many requests one is refused.
const REFUSED: usize = 7;
/// Of so many requests one breaks the connection.
const BROKEN: usize = 13;
/// How often the same request goes wrong, whoever sends it. A connection breaks for all callers at
/// the same time, and most calls have more requests than come between two failures: without an end
/// to it no chance could win.
const MOST: usize = 2;
/// So many reads of an object and the connection breaks.
const READ: usize = 40;

/// What goes wrong, by counters alone.
#[derive(Default)]
struct Storm {
    number: usize,
    /// How often a request went wrong.
    struck: HashMap<(Verb, String, u64), usize>,
    /// How many puts of an object broke in the middle.
    puts: HashMap<String, usize>,
    reads: HashMap<String, usize>,
}

impl Storm {
    fn strikes(&mut self, asked: &Asked) -> Option<Misdeed> {
        match asked.verb {
            Verb::Write => self.write(asked),
            Verb::Read => self.read(asked),
            _ => self.other(asked),
        }
    }

    /// The first puts of an object break, later and later.
    fn write(&mut self, asked: &Asked) -> Option<Misdeed> {
        let broken = self.puts.entry(lasting(&asked.path).to_owned());
        let broken = broken.or_default();
        let misdeed = match *broken {
            0 if asked.offset == 0 => Misdeed::Short(5),
            1 if asked.offset >= 100_000 => Misdeed::Instead(StatusCode::Failure),
            2 if asked.offset >= 1_000_000 => Misdeed::Hangup { after_effect: true },
            _ => return None,
        };
        *broken += 1;
        Some(misdeed)
    }

    fn read(&mut self, asked: &Asked) -> Option<Misdeed> {
        let reads = self.reads.entry(asked.path.clone()).or_default();
        *reads += 1;
        match (*reads % READ, *reads / READ % 4) {
            (7, _) => Some(Misdeed::Short(100)),
            (0, 0) => Some(Misdeed::Instead(StatusCode::Failure)),
            (0, 1) => Some(Misdeed::Hangup {
                after_effect: false,
            }),
            (0, _) => Some(Misdeed::Leave {
                after_effect: false,
            }),
            _ => None,
        }
    }

    fn other(&mut self, asked: &Asked) -> Option<Misdeed> {
        self.number += 1;
        let number = self.number;
        if !number.is_multiple_of(REFUSED) && !number.is_multiple_of(BROKEN) {
            return None;
        }
        let struck = self.struck.entry(asked.alike()).or_default();
        if *struck >= MOST {
            return None;
        }
        *struck += 1;
        let after_effect = number.is_multiple_of(2);
        let failed = StatusCode::Failure;
        Some(match (number.is_multiple_of(BROKEN), number / BROKEN % 4) {
            (true, 0 | 1) => Misdeed::Hangup { after_effect },
            (true, _) => Misdeed::Leave { after_effect },
            // Who is told that a link failed which is there takes it for another's.
            _ if after_effect && asked.verb != Verb::Hardlink => Misdeed::After(failed),
            _ => Misdeed::Instead(failed),
        })
    }
}
