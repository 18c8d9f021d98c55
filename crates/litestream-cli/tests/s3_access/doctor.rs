//! `doctor` where the clocks differ and conditions are ignored.

use std::path::Path;

use serde_json::{Value, json};

use testkit::server::stand_in::{Asked, Said, StandIn};

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};

#[test]
fn another_time_and_ignored_conditions_are_found_out() {
    let (bucket, place) = (Bucket::start(), Place::new());
    let config = place.configure(&Settings {
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": bucket.endpoint(), "access-key-id": "K", "secret-access-key": "s",
            // What it cannot do: uploads in parts.
            "part-size": "16MiB",
        }),
        ..Settings::default()
    });
    let db = place.db();
    let words = ["doctor", "-json", "-config"].map(Path::new);
    let done = ours().run(words.into_iter().chain([&*config, &*db]));
    // None of it keeps a replica from being used.
    let done = done.unwrap_or_else(|failure| panic!("{failure}"));
    let answer: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let probes = answer["replicas"][0]["probes"].as_array().expect("probes");
    let of = |name: &str| {
        let probe = probes
            .iter()
            .find(|probe| probe["probe"] == name)
            .expect(name);
        let text = |member: &str| probe[member].as_str().unwrap_or_default();
        (text("result"), text("detail"), text("consequence"))
    };
    let (result, detail, consequence) = of("clock");
    assert_eq!(result, "failed", "{answer}");
    assert!(
        detail.contains("the store's clock is behind ours"),
        "{detail}"
    );
    assert!(consequence.contains("leases need clocks"), "{consequence}");
    let (result, detail, consequence) = of("conditional-put");
    assert_eq!(result, "missing", "{answer}");
    assert!(detail.contains("If-None-Match is ignored"), "{detail}");
    assert!(consequence.contains("no lease"), "{consequence}");
    assert!(bucket.state().objects.is_empty(), "left behind");
}

#[test]
fn a_store_that_is_too_busy_says_so_itself() {
    let place = Place::new();
    let busy = |_: &Asked| {
        let body = "<Error><Code>SlowDown</Code><Message>come back later</Message></Error>";
        Said::status(503).header("Retry-After", "20").with(body)
    };
    let server = StandIn::start(busy).expect("a free port");
    let config = place.configure(&Settings {
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": server.endpoint(), "access-key-id": "K", "secret-access-key": "s",
        }),
        ..Settings::default()
    });
    let db = place.db();
    let words = ["doctor", "-json", "-config"].map(Path::new);
    let done = ours().run(words.into_iter().chain([&*config, &*db]));
    let failure = done.expect_err("nothing works");
    let answer: Value = serde_json::from_str(&failure.stdout).expect("JSON");
    let probes = answer["replicas"][0]["probes"].as_array().expect("probes");
    for name in ["list", "put"] {
        let mut probes = probes.iter();
        let probe = probes.find(|probe| probe["probe"] == name).expect(name);
        assert_eq!(probe["result"], "failed", "{answer}");
        let detail = probe["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("SlowDown"), "{detail}");
    }
}
