//! Credentials: each source brings its token, and one that fails is not replaced by another.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use litestream_storage::{
    ErrorKind, GsCredentials, GsSettings, GsStore, HttpClient, HttpSettings, ObjectStore as _,
    RetryPolicy, Retrying,
};
use serde_json::{Value, json};
use testkit::server::stand_in::{Asked, Said, StandIn, decode};

const OBJECT: &str = r#"{"name":"key","size":"3","generation":"7","timeCreated":"2026-11-22T04:28:50Z",
    "metadata":{"litestream-timestamp":"2026-11-22T04:28:47.8Z"}}"#;

/// Issues tokens `t1`, `t2`, ...; objects are there for the newest one only.
fn service(issue: impl Fn(&Asked) -> Option<Said> + Send + Sync + 'static) -> StandIn {
    let issued = AtomicU32::new(0);
    StandIn::start(move |asked| {
        if asked.path.starts_with("/storage/") {
            let newest = format!("Bearer t{}", issued.load(Ordering::SeqCst));
            return if asked.header("authorization") == Some(&newest) {
                Said::status(200).with(OBJECT)
            } else {
                Said::status(401)
            };
        }
        issue(asked).unwrap_or_else(|| {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = json!({"access_token": format!("t{number}"), "expires_in": 3600});
            Said::status(200).with(answer.to_string())
        })
    })
    .expect("loopback")
}

fn open(server: &StandIn, credentials: GsCredentials) -> GsStore {
    let settings = GsSettings {
        bucket: "bkt".into(),
        prefix: String::new(),
        endpoint: server.endpoint(),
        credentials,
        part_size: GsSettings::PART_SIZE,
    };
    let http = HttpClient::new(HttpSettings::default()).expect("sound settings");
    GsStore::new(settings, http, Retrying::new(RetryPolicy::default())).expect("sound settings")
}

fn write(folder: &Path, content: &Value) -> PathBuf {
    let path = folder.join("credentials.json");
    std::fs::write(&path, content.to_string()).expect("writable");
    path
}

fn field(asked: &Asked, name: &str) -> String {
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let field = body
        .split('&')
        .find_map(|field| field.strip_prefix(&format!("{name}=")).map(decode));
    field.unwrap_or_default()
}

#[tokio::test]
async fn a_service_account_signs_for_its_tokens() {
    let server = service(|asked| {
        assert_eq!(asked.path, "/token");
        assert_eq!(
            field(asked, "grant_type"),
            "urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
        // Head, claims and signature of 2048 bits.
        let assertion = field(asked, "assertion");
        let parts: Vec<_> = assertion.split('.').collect();
        assert_eq!((parts.len(), parts[2].len()), (3, 342));
        None
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = json!({
        "type": "service_account",
        "client_email": "a@example.invalid",
        "private_key_id": "1",
        "private_key": include_str!("key.pem"),
        "token_uri": format!("{}/token", server.endpoint()),
    });
    let store = open(&server, GsCredentials::File(write(folder.path(), &file)));
    for _ in 0..3 {
        let meta = store.head("key".into()).await.expect("authorized");
        assert_eq!((meta.size, meta.timestamp), (3, Some(1_795_321_727_800)));
    }
    let tokens = server
        .asked()
        .iter()
        .filter(|line| line.contains("/token"))
        .count();
    assert_eq!(tokens, 1, "a token is kept");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = service(|_| None);
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = json!({
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
        "token_uri": format!("{}/token", server.endpoint()),
    });
    let path = write(folder.path(), &file);
    let (store, other) = (
        open(&server, GsCredentials::File(path.clone())),
        open(&server, GsCredentials::File(path)),
    );
    store.head("key".into()).await.expect("authorized");
    // From now on only the other store's token is good.
    other.head("key".into()).await.expect("authorized");
    store.head("key".into()).await.expect("with a new token");
    let asked = server.asked();
    let tokens = asked.iter().filter(|line| line.contains("/token")).count();
    assert_eq!(tokens, 3, "{asked:?}");
}

#[tokio::test]
async fn machines_ask_their_metadata_server() {
    let server = service(|asked| {
        assert_eq!(asked.header("metadata-flavor"), Some("Google"));
        None
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let metadata_host = server.endpoint().replace("http://", "");
    let store = open(
        &server,
        GsCredentials::Default {
            well_known: Some(folder.path().join("missing.json")),
            metadata_host,
        },
    );
    store.head("key".into()).await.expect("authorized");
}

#[tokio::test]
async fn tokens_of_other_providers_are_exchanged() {
    let server = service(|asked| {
        match asked.path.as_str() {
            "/sts" => assert_eq!(field(asked, "subject_token"), "from elsewhere"),
            "/impersonate" => {
                assert_eq!(asked.header("authorization"), Some("Bearer t1"));
                // The one that counts in the end.
                return Some(Said::status(200).with(
                    json!({"accessToken": "t1", "expireTime": "2999-01-01T00:00:00Z"}).to_string(),
                ));
            }
            other => panic!("{other}"),
        }
        None
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let subject = folder.path().join("subject.json");
    std::fs::write(&subject, r#"{"token":"from elsewhere"}"#).expect("writable");
    let file = json!({
        "type": "external_account",
        "audience": "a",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/sts", server.endpoint()),
        "service_account_impersonation_url": format!("{}/impersonate", server.endpoint()),
        "credential_source": {
            "file": subject,
            "format": {"type": "json", "subject_token_field_name": "token"},
        },
    });
    let store = open(&server, GsCredentials::File(write(folder.path(), &file)));
    store.head("key".into()).await.expect("authorized");
}

#[tokio::test]
async fn a_source_that_fails_is_not_replaced_by_the_next() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = service(|asked| {
        assert_eq!(asked.path, "/token", "nobody else is asked");
        Some(Said::status(400).with(r#"{"error":"invalid_grant","error_description":"gone"}"#))
    });
    let user = json!({
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
        "token_uri": format!("{}/token", server.endpoint()),
    });
    let metadata_host = server.endpoint().replace("http://", "");
    for (content, text) in [
        (user, "gone"),
        (json!({"type": "unheard_of"}), "unheard_of"),
        (json!({"client_id": "c"}), "type"),
        (json!("no object"), "type"),
    ] {
        let store = open(
            &server,
            GsCredentials::Default {
                well_known: Some(write(folder.path(), &content)),
                metadata_host: metadata_host.clone(),
            },
        );
        let error = store.head("key".into()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    let missing = GsCredentials::File(folder.path().join("missing.json"));
    let error = open(&server, missing)
        .head("key".into())
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}
