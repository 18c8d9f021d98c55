//! Amazon's own service, or whatever the environment has in its place: no endpoint is configured.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testkit::program::{Program, RestoreTarget, Source};
use testkit::server::stand_in::Asked;

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};
use super::proxy::Proxy;

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

/// The program towards Amazon, all of which is `bucket`.
fn at_amazon(bucket: &Bucket) -> (Program, Proxy) {
    let proxy = Proxy::start(&bucket.endpoint());
    let program = ours()
        .with_variable("HTTPS_PROXY", &proxy.address)
        .with_variable("AWS_ACCESS_KEY_ID", "KEY")
        .with_variable("AWS_SECRET_ACCESS_KEY", "secret")
        .with_variable("AWS_CONFIG_FILE", "/none");
    (program, proxy)
}

/// Replicates a database that is too large for one part and restores it; gives what was asked.
fn there_and_back(bucket: &Bucket, program: &Program, url: &str) -> Vec<Asked> {
    let place = Place::new();
    rusqlite::Connection::open(place.db())
        .and_then(|app| {
            app.execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t(x);
                 INSERT INTO t VALUES(randomblob(6000000))",
            )
        })
        .expect("a database");
    let db = place.db();
    let done = program.run(["replicate", "-once", db.to_str().expect("UTF-8"), url]);
    done.unwrap_or_else(|failure| panic!("{failure}"));
    let out = place.path("out");
    let restored = program.restore(&Source::Url(url.into()), &out, &RestoreTarget::Latest);
    restored.unwrap_or_else(|failure| panic!("{failure}"));
    let size = rusqlite::Connection::open(&out)
        .and_then(|out| out.query_row("SELECT length(x) FROM t", [], |row| row.get(0)));
    assert_eq!(size, Ok(6_000_000_i64));
    std::mem::take(&mut bucket.state().asked)
}

/// The checksum as it is sent, bit by bit from its definition.
fn crc32(content: &[u8]) -> String {
    let sum = content.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    STANDARD.encode((!sum).to_be_bytes())
}

/// All that is stored comes with its checksum, and uploads in parts with those of the parts.
fn assert_checksums(asked: &[Asked]) {
    let sums: Vec<String> = asked
        .iter()
        .filter(|asked| asked.method == "PUT")
        .map(|asked| {
            let sum = crc32(&asked.body);
            assert_eq!(asked.header("x-amz-checksum-crc32"), Some(&*sum));
            sum
        })
        .collect();
    let begun = asked
        .iter()
        .find(|asked| asked.parameter("uploads").is_some())
        .expect("an upload in parts");
    assert_eq!(begun.header("x-amz-checksum-algorithm"), Some("CRC32"));
    let completed = asked
        .iter()
        .find(|asked| asked.method == "POST" && asked.parameter("uploadId").is_some())
        .expect("completed");
    let list = String::from_utf8_lossy(&completed.body);
    let listed: Vec<&str> = list
        .split("<ChecksumCRC32>")
        .skip(1)
        .filter_map(|rest| rest.split('<').next())
        .collect();
    assert_eq!(listed.len(), 2, "{list}");
    assert!(listed.iter().all(|sum| sums.iter().any(|sent| sent == sum)));
}

#[test]
fn a_bucket_is_asked_for_its_region_and_spoken_to_there() {
    for (location, region) in [
        ("EU", "eu-west-1"),
        ("", "us-east-1"),
        ("ap-south-1", "ap-south-1"),
    ] {
        let bucket = Bucket::start();
        bucket.state().location = Some(location);
        let (program, _proxy) = at_amazon(&bucket);
        let url = format!("s3://{BUCKET}/app?skipVerify=true");
        let asked = there_and_back(&bucket, &program, &url);
        let (questions, rest): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|asked| asked.parameter("location").is_some());
        assert_eq!(questions.len(), 2, "one of each process");
        let host_of = |region: &str| format!("{BUCKET}.s3.{region}.amazonaws.com");
        for question in &questions {
            let host = question.header("host").unwrap_or_default();
            let known = [host_of("us-east-1"), format!("{BUCKET}.s3.amazonaws.com")];
            assert!(known.iter().any(|known| known == host), "{host}");
        }
        for asked in &rest {
            let host = asked.header("host").unwrap_or_default();
            let short = region == "us-east-1" && host == format!("{BUCKET}.s3.amazonaws.com");
            assert!(short || host == host_of(region), "{host}");
            let signed = asked.header("authorization").unwrap_or_default();
            assert!(signed.contains(&format!("/{region}/s3/")), "{signed}");
            assert!(!asked.path.contains(BUCKET), "{}", asked.path);
        }
        assert_checksums(&rest);
    }
}

#[test]
fn a_region_that_may_not_be_asked_for_is_told() {
    let bucket = Bucket::start();
    let (program, _proxy) = at_amazon(&bucket);
    let url = format!("s3://{BUCKET}/app?skipVerify=true");
    let said = program.run(["ltx", &url]).expect_err("refused").to_string();
    for part in ["cannot look up the region of the bucket", "AccessDenied"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(bucket.state().asked.len(), 1);
}

#[test]
fn an_access_point_has_host_and_region_of_its_own() {
    let bucket = Bucket::start();
    let (program, _proxy) = at_amazon(&bucket);
    let url = "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/ap/app?skipVerify=true";
    let asked = there_and_back(&bucket, &program, url);
    for asked in &asked {
        assert_eq!(asked.parameter("location"), None, "the name says it");
        let host = "ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com";
        assert_eq!(asked.header("host"), Some(host));
        let signed = asked.header("authorization").unwrap_or_default();
        assert!(signed.contains("/eu-west-1/s3/"), "{signed}");
        assert!(!asked.path.contains("arn"), "{}", asked.path);
    }
    assert_checksums(&asked);
}

#[test]
fn an_endpoint_of_the_environment_is_as_amazons_own() {
    let bucket = Bucket::start();
    let program = ours()
        .with_variable("AWS_ENDPOINT_URL_S3", &bucket.endpoint())
        .with_variable("AWS_ACCESS_KEY_ID", "KEY")
        .with_variable("AWS_SECRET_ACCESS_KEY", "secret")
        .with_variable("AWS_CONFIG_FILE", "/none");
    let url = format!("s3://{BUCKET}/app?region=eu-west-1");
    let asked = there_and_back(&bucket, &program, &url);
    for asked in &asked {
        // An address has no names below it.
        assert!(asked.path.starts_with(&format!("/{BUCKET}")), "{asked:?}");
        let signed = asked.header("authorization").unwrap_or_default();
        assert!(signed.contains("/eu-west-1/s3/"), "{signed}");
    }
    assert_checksums(&asked);
}
