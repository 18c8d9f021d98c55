//! Amazon's own service, or whatever the environment has in its place: no endpoint is configured.

use std::path::Path;

use serde_json::json;
use testkit::program::Program;

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const PUBLIC: &str = "http://s3.example.com";

/// A database and the configuration of a replica whose objects a customer key encrypts.
fn with_customer_key() -> Place {
    let place = Place::new();
    rusqlite::Connection::open(place.db())
        .and_then(|app| app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)"))
        .expect("a database");
    place.configure(&Settings {
        top: json!({"shutdown-sync-timeout": "0s"}),
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "access-key-id": "K", "secret-access-key": "s", "sse-customer-key": KEY,
        }),
        ..Settings::default()
    });
    place
}

fn replicate(program: &Program, place: &Place) -> Result<(), String> {
    let config = place.path("litestream.yml");
    let words = ["replicate", "-once", "-config"].map(Path::new);
    let done = program.run(words.into_iter().chain([&*config]));
    done.map(drop).map_err(|failure| failure.to_string())
}

#[test]
fn a_customer_key_goes_nowhere_in_the_clear_whoever_names_the_address() {
    let (bucket, place) = (Bucket::start(), with_customer_key());
    let profile = place.path("profile");
    let named = format!("[default]\nendpoint_url = {PUBLIC}\n");
    std::fs::write(&profile, named).expect("written");
    let profile = profile.to_str().expect("UTF-8");
    for (variable, value) in [
        ("AWS_ENDPOINT_URL_S3", PUBLIC),
        ("AWS_ENDPOINT_URL", PUBLIC),
        ("AWS_CONFIG_FILE", profile),
    ] {
        let program = ours()
            .with_variable("AWS_CONFIG_FILE", "/none")
            .with_variable("HTTP_PROXY", &bucket.endpoint())
            .with_variable(variable, value);
        let said = replicate(&program, &place).expect_err(variable);
        assert!(said.contains("requires HTTPS endpoint"), "{said}");
        assert!(said.contains("s3.example.com"), "{said}");
        assert!(!said.contains(KEY), "{said}");
        assert!(bucket.state().asked.is_empty(), "{variable}");
    }

    // This machine may have it.
    let near = ours()
        .with_variable("AWS_CONFIG_FILE", "/none")
        .with_variable("AWS_ENDPOINT_URL_S3", &bucket.endpoint());
    replicate(&near, &place).unwrap_or_else(|failure| panic!("{failure}"));
    let state = bucket.state();
    assert!(state.objects.keys().any(|name| name.starts_with("app/")));
    let puts = state.asked.iter().filter(|asked| asked.method == "PUT");
    for put in puts {
        let header = put.header("x-amz-server-side-encryption-customer-key");
        assert_eq!(header, Some(KEY), "{put:?}");
    }
}
