//! Alibaba Cloud OSS.

use std::sync::Arc;

use litestream_storage::contract::Abilities;
use litestream_storage::{HttpClient, ObjectStore, OssSettings, OssStore, RetryPolicy, Retrying};
use testkit::server::stand_in::{Asked, StandIn};
use testkit::server::{OSS_ACCESS_KEY, OSS_REGION, OSS_SECRET_KEY, OssStandIn};

use crate::place::{Other, PART, Place};

pub(crate) struct Oss(OssStandIn);

const PREFIX: &str = "app/";

impl Place for Oss {
    const ABILITIES: Abilities = Abilities {
        conditional_put: false,
        conditional_delete: false,
        many: 230,
        ..Abilities::full()
    };

    const CIRCLE: &[&str] = &[
        "<ListBucketResult><IsTruncated>true</IsTruncated>\
         <NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
        "<ListBucketResult>",
        "",
    ];

    fn start() -> Self {
        Self(OssStandIn::start("bkt").expect("loopback"))
    }

    fn server(&self) -> &StandIn {
        self.0.server()
    }

    fn open(&self, http: HttpClient, policy: RetryPolicy) -> Arc<dyn ObjectStore> {
        let settings = OssSettings {
            bucket: "bkt".into(),
            prefix: PREFIX.into(),
            region: OSS_REGION.into(),
            endpoint: self.0.endpoint(),
            access_key: OSS_ACCESS_KEY.into(),
            secret_key: OSS_SECRET_KEY.into(),
            session_token: None,
            part_size: PART as u64,
            concurrency: 3,
        };
        let store = OssStore::new(settings, http, Retrying::new(policy));
        Arc::new(store.expect("sound settings"))
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.names().into_iter();
        names.map(|name| name[PREFIX.len()..].to_owned()).collect()
    }

    fn unfinished(&self) -> usize {
        self.0.open_uploads()
    }

    fn other(&self) -> Other {
        unreachable!("there are no conditions")
    }

    fn part(asked: &Asked) -> Option<String> {
        asked.parameter("partNumber")
    }

    fn completes(asked: &Asked) -> bool {
        asked.method == "POST" && asked.parameter("uploadId").is_some()
    }
}

// The contract without faults is in tests/oss.rs; deletions are in bulk.
crate::suite!(Oss:
    storm::keeps_the_contract_in_a_storm,
    answers::answers_have_their_kinds,
    answers::refusals_are_final_and_leave_no_trace,
    answers::outages_end_by_themselves,
    bodies::truncated_bodies_are_errors,
    bodies::downloads_go_on_where_they_were_cut,
    bodies::listings_go_on_where_they_broke,
    bodies::listings_in_circles_end,
    parts::parts_are_sent_again_one_by_one,
    parts::lost_completions_are_found_out,
    parts::a_part_that_fails_for_good_ends_the_upload,
    parts::sources_that_fail_leave_nothing,
    parts::short_streams_are_sent_again,
    silence::silence_is_a_timeout,
    silence::silence_after_the_effect_loses_nothing,
);
