//! Google Cloud Storage.

use std::sync::Arc;

use litestream_storage::contract::Abilities;
use litestream_storage::{
    ErrorKind, GsCredentials, GsSettings, GsStore, HttpClient, ObjectStore, RetryPolicy, Retrying,
};
use testkit::server::GcsStandIn;
use testkit::server::stand_in::{Asked, Misdeed, StandIn};

use crate::place::{Other, PART, Place, STRETCH, content, patient, put, read, stream_of, tries};

pub(crate) struct Gs(GcsStandIn);

const PREFIX: &str = "app/";

impl Place for Gs {
    const ABILITIES: Abilities = Abilities {
        many: 230,
        ..Abilities::full()
    };

    const CIRCLE: &[&str] = &[r#"{"nextPageToken":"t"}"#, "{", ""];

    fn start() -> Self {
        Self(GcsStandIn::start("bkt").expect("loopback"))
    }

    fn server(&self) -> &StandIn {
        self.0.server()
    }

    fn open(&self, http: HttpClient, policy: RetryPolicy) -> Arc<dyn ObjectStore> {
        let settings = GsSettings {
            bucket: "bkt".into(),
            prefix: PREFIX.into(),
            endpoint: self.0.endpoint(),
            credentials: GsCredentials::Anonymous,
            part_size: PART,
        };
        let store = GsStore::new(settings, http, Retrying::new(policy));
        Arc::new(store.expect("sound settings"))
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.names().into_iter();
        names.map(|name| name[PREFIX.len()..].to_owned()).collect()
    }

    fn unfinished(&self) -> usize {
        self.0.open_sessions()
    }

    fn other(&self) -> Other {
        let put = self.0.writer();
        Box::new(move |name, content| put(&format!("{PREFIX}{name}"), content))
    }

    fn part(asked: &Asked) -> Option<String> {
        let range = asked.header("content-range")?;
        // Not the question how far it is.
        let last = range.split_once('-')?.1;
        Some(last.split('/').next()?.to_owned())
    }

    fn completes(asked: &Asked) -> bool {
        let range = asked.header("content-range").unwrap_or("*");
        range.contains('-') && !range.ends_with('*')
    }
}

crate::suite!(Gs:
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
async fn uploads_advance_by_what_each_connection_brought() {
    let place = Gs::start();
    // Fewer tries than connections: each one advances.
    let store = place.layered_with(patient(), tries(3));
    place.server().when(|_| Some(Misdeed::Half(STRETCH)));
    let all = content(PART * 3 + 5);
    put(&store, "large", stream_of(&all)).await.expect("stored");
    assert_eq!(store.retries(), 0, "not the whole again");
    let asked = place.server().asked();
    // Each stretch once, and after each that was cut the question how far it is.
    let most = 1 + 2 * all.len().div_ceil(STRETCH);
    assert!(asked.len() <= most, "{} requests", asked.len());
    assert!(read(&store, "large").await.expect("there") == all);
    assert_eq!(place.unfinished(), 0);
}

#[tokio::test]
async fn sessions_that_are_gone_are_begun_anew() {
    let place = Gs::start();
    let store = place.layered();
    let forget = place.0.forgetter();
    let mut parts = 0;
    place.server().when(move |asked| {
        parts += usize::from(Gs::part(asked).is_some());
        if parts == 3 {
            parts += 1;
            forget();
        }
        None
    });
    let all = content(PART * 4);
    // What can be read again is sent again.
    put(&store, "large", all.clone()).await.expect("stored");
    assert_eq!(store.retries(), 1);
    assert!(read(&store, "large").await.expect("there") == all);

    let forget = place.0.forgetter();
    place.server().when(move |asked| {
        Gs::completes(asked).then(&forget);
        None
    });
    let error = put(&store, "other", stream_of(&content(PART * 8)))
        .await
        .expect_err("read once");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(place.names(), ["large"]);
}
