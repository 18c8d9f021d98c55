//! `LITESTREAM_S3_DEBUG`: requests and answers in the log, without what opens doors.

use rusqlite::Connection;
use serde_json::json;

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};

/// What is said when a small database is replicated once.
fn said(words: &str) -> String {
    let (bucket, place) = (Bucket::start(), Place::new());
    let config = place.configure(&Settings {
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": bucket.endpoint(),
            "sse-customer-key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        }),
        ..Settings::default()
    });
    let app = Connection::open(place.db()).expect("a database");
    app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
        .expect("a table");
    let program = ours()
        .with_variable("LITESTREAM_S3_DEBUG", words)
        .with_variable("AWS_ACCESS_KEY_ID", "KEY")
        .with_variable("AWS_SECRET_ACCESS_KEY", "the secret")
        .with_variable("AWS_SESSION_TOKEN", "the token");
    let config = config.to_str().expect("UTF-8");
    let done = program.run(["replicate", "-once", "-config", config]);
    let done = done.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(bucket.state().signed().len() > 1, "nothing was sent");
    format!("{}{}", done.stdout, done.stderr)
}

#[test]
fn what_is_asked_for_is_logged_without_secrets() {
    let all = said("all");
    for text in [
        "s3 signing",
        "SignedHeaders=",
        "s3 request",
        "Credential=KEY/",
        "list-type=2",
        "s3 response",
        "<ListBucketResult>",
        "x-amz-meta-litestream-timestamp",
    ] {
        assert!(all.contains(text), "no {text:?} in\n{all}");
    }
    let mut signatures = all.split("Signature=").skip(1);
    assert!(signatures.all(|rest| rest.starts_with("REDACTED")), "{all}");
    for secret in ["the secret", "the token", "MDEyMzQ1"] {
        assert!(!all.contains(secret), "{secret:?} shows in\n{all}");
    }
    let none = said("");
    assert!(
        !none.contains("s3 request") && !none.contains("s3 response"),
        "{none}"
    );
    let some = said("response,Requests");
    assert!(
        some.contains("s3 response") && !some.contains("s3 request\""),
        "{some}"
    );
    assert!(!some.contains("<ListBucketResult>"), "{some}");
    assert!(
        some.contains("unknown LITESTREAM_S3_DEBUG value") && some.contains("Requests"),
        "{some}"
    );
}
