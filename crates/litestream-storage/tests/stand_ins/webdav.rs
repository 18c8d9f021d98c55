//! `WebDAV`.

mod listings;
mod moves;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use litestream_storage::contract::Abilities;
use litestream_storage::{
    ErrorKind, HttpClient, ObjectStore, RetryPolicy, Retrying, WebdavSettings, WebdavStore,
};
use testkit::server::DavStandIn;
use testkit::server::stand_in::{Asked, Misdeed, StandIn};

use crate::place::{Other, PART, Place, content, patient, put, read, stream_of, tries};

pub(crate) struct Dav(DavStandIn);

const ROOT: &str = "deep/root/";

/// Whether a file is still being written.
fn is_unfinished(name: &str) -> bool {
    name.rsplit('.').next() == Some("tmp")
}

impl Place for Dav {
    const ABILITIES: Abilities = Abilities {
        conditional_put: false,
        if_match: false,
        conditional_delete: false,
        timestamps: false,
        many: 230,
        ..Abilities::full()
    };

    const TIMEOUT: ErrorKind = ErrorKind::Unavailable {
        retry_after: Some(Duration::from_secs(9)),
    };

    // A put has four requests or more, and every other one would break each try.
    const STORM: usize = 7;

    // The etag is made of length and second.
    const TELLS_VERSIONS: bool = false;

    // After one that failed the store asks whether there is a collection at all.
    const LISTED: usize = 5;

    // Listings have no pages.
    const CIRCLE: &[&str] = &[];

    fn start() -> Self {
        Self(DavStandIn::start().expect("loopback"))
    }

    fn server(&self) -> &StandIn {
        self.0.server()
    }

    fn open(&self, http: HttpClient, policy: RetryPolicy) -> Arc<dyn ObjectStore> {
        let settings = WebdavSettings {
            url: self.0.endpoint(),
            username: None,
            password: None,
            root: ROOT.into(),
        };
        let store = WebdavStore::new(settings, http, Retrying::new(policy));
        Arc::new(store.expect("an address"))
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.names().into_iter();
        let seen = names.filter(|name| !is_unfinished(name));
        seen.map(|name| name[ROOT.len()..].to_owned()).collect()
    }

    fn unfinished(&self) -> usize {
        let names = self.0.names();
        names.iter().filter(|name| is_unfinished(name)).count()
    }

    fn other(&self) -> Other {
        unreachable!("there are no conditions")
    }

    fn part(asked: &Asked) -> Option<String> {
        (asked.method == "PUT").then(String::new)
    }

    fn alike(asked: &Asked) -> String {
        // Names of files that are being written differ from try to try.
        let path = asked.path.split('.').next().unwrap_or_default();
        format!("{} {path}", asked.method)
    }

    fn completes(asked: &Asked) -> bool {
        asked.method == "MOVE"
    }
}

crate::suite!(Dav:
    storm::keeps_the_contract,
    storm::keeps_the_contract_in_a_storm,
    answers::answers_have_their_kinds,
    answers::refusals_are_final_and_leave_no_trace,
    answers::outages_end_by_themselves,
    answers::deletions_that_fail_are_told,
    bodies::truncated_bodies_are_errors,
    bodies::downloads_go_on_where_they_were_cut,
    bodies::listings_go_on_where_they_broke,
    parts::sources_that_fail_leave_nothing,
    parts::short_streams_are_sent_again,
    silence::silence_is_a_timeout,
    silence::silence_after_the_effect_loses_nothing,
);

#[tokio::test]
async fn streams_are_sent_again_from_where_they_are_staged() {
    let place = Dav::start();
    let mut policy = tries(10);
    policy.replay_limit = 10;
    let store = place.layered_with(patient(), policy);
    // In memory, and in a file.
    for len in [PART, 5 << 20] {
        let mut number = 0;
        place.server().when(move |asked| {
            let last = Dav::completes(asked);
            number += usize::from(last || Dav::part(asked).is_some());
            match number {
                1 => Some(Misdeed::Deaf(100_000)),
                2 => Some(Misdeed::overloaded()),
                // Lost after the file has its name: it is sent anew, and moved over itself.
                4 if last => Some(Misdeed::Hangup { after_effect: true }),
                _ => None,
            }
        });
        let all = content(len);
        put(&store, "large", stream_of(&all)).await.expect("stored");
        assert_eq!(store.retries(), 0, "nothing left to be read again");
        assert!(read(&store, "large").await.expect("there") == all);
        assert_eq!(place.unfinished(), 0);
    }
}
