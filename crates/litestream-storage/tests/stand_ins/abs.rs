//! Azure Blob Storage.

use std::sync::Arc;

use litestream_storage::contract::Abilities;
use litestream_storage::{
    AbsCredentials, AbsSettings, AbsStore, ErrorKind, HttpClient, Key, ObjectStore, RetryPolicy,
    Retrying,
};
use testkit::server::stand_in::{Asked, StandIn};
use testkit::server::{BLOBS_ACCOUNT, BLOBS_KEY, BlobsStandIn};

use crate::place::{Other, PART, Place, content, patient, put, read, stream_of, tries};

pub(crate) struct Abs(BlobsStandIn);

const PREFIX: &str = "app/";

impl Abs {
    fn settings(&self, key: &str) -> AbsSettings {
        AbsSettings {
            container: "bkt".into(),
            prefix: PREFIX.into(),
            endpoint: self.0.endpoint(),
            credentials: AbsCredentials::AccountKey {
                account: BLOBS_ACCOUNT.into(),
                key: key.into(),
            },
            block_size: PART,
            concurrency: 3,
        }
    }
}

fn open(settings: AbsSettings, http: HttpClient, policy: RetryPolicy) -> AbsStore {
    let store = AbsStore::new(settings, http, Retrying::new(policy));
    store.expect("sound settings")
}

impl Place for Abs {
    const ABILITIES: Abilities = Abilities {
        many: 230,
        ..Abilities::full()
    };

    const CIRCLE: &[&str] = &[
        "<EnumerationResults><Blobs></Blobs><NextMarker>t</NextMarker></EnumerationResults>",
        "<EnumerationResults><Blobs>",
        "",
    ];

    fn start() -> Self {
        Self(BlobsStandIn::start("bkt").expect("loopback"))
    }

    fn server(&self) -> &StandIn {
        self.0.server()
    }

    fn open(&self, http: HttpClient, policy: RetryPolicy) -> Arc<dyn ObjectStore> {
        Arc::new(open(self.settings(BLOBS_KEY), http, policy))
    }

    fn contract_store(&self) -> Arc<dyn ObjectStore> {
        // Of uploads in blocks to one name the first that is complete throws away the blocks of the
        // others, which have to begin anew.
        Arc::new(self.layered())
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.names().into_iter();
        names.map(|name| name[PREFIX.len()..].to_owned()).collect()
    }

    fn unfinished(&self) -> usize {
        // Blocks that are in no blob go by themselves.
        0
    }

    fn other(&self) -> Other {
        let put = self.0.writer();
        Box::new(move |name, content| put(&format!("{PREFIX}{name}"), content))
    }

    fn part(asked: &Asked) -> Option<String> {
        asked.parameter("blockid")
    }

    fn completes(asked: &Asked) -> bool {
        asked.method == "PUT" && asked.parameter("comp").as_deref() == Some("blocklist")
    }
}

crate::suite!(Abs:
    storm::keeps_the_contract,
    storm::keeps_the_contract_in_a_storm,
    answers::answers_have_their_kinds,
    answers::refusals_are_final_and_leave_no_trace,
    answers::outages_end_by_themselves,
    answers::deletions_that_fail_are_told,
    bodies::truncated_bodies_are_errors,
    bodies::downloads_go_on_where_they_were_cut,
    bodies::listings_go_on_where_they_broke,
    bodies::listings_in_circles_end,
    parts::parts_are_sent_again_one_by_one,
    parts::lost_completions_are_found_out,
    parts::what_another_put_there_is_not_ours,
    parts::a_part_that_fails_for_good_ends_the_upload,
    parts::sources_that_fail_leave_nothing,
    parts::short_streams_are_sent_again,
    silence::silence_is_a_timeout,
    silence::silence_after_the_effect_loses_nothing,
);

#[tokio::test]
async fn wrong_keys_are_refused() {
    let place = Abs::start();
    let store = open(place.settings("d3Jvbmc="), patient(), tries(10));
    let error = store.head(Key::from("key")).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = put(&store, "key", vec![1]).await.expect_err("refused");
    assert_eq!(error.label(), "AuthenticationFailed", "{error}");
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn blocks_that_are_gone_are_sent_anew() {
    let place = Abs::start();
    let store = place.layered();
    let forget = place.0.forgetter();
    let mut is_first = true;
    place.server().when(move |asked| {
        if Abs::completes(asked) && std::mem::take(&mut is_first) {
            forget();
        }
        None
    });
    let all = content(PART * 3);
    // What can be read again is sent again.
    put(&store, "large", all.clone()).await.expect("stored");
    assert_eq!(store.retries(), 1);
    assert!(read(&store, "large").await.expect("there") == all);

    let forget = place.0.forgetter();
    place.server().when(move |asked| {
        Abs::completes(asked).then(&forget);
        None
    });
    let error = put(&store, "other", stream_of(&content(PART * 8)))
        .await
        .expect_err("read once");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(place.names(), ["large"]);
}
