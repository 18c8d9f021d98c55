//! S3 URLs and endpoints row by row: local hosts, providers, switches, numbers, access points.

use super::*;
use crate::config::replica_from_url;

fn of(text: &str) -> Result<S3Target, String> {
    match replica_from_url(&env(), text) {
        Ok(Replica {
            target: Target::S3(target),
            ..
        }) => Ok(target),
        Ok(other) => panic!("{text}: {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn url(text: &str) -> S3Target {
    of(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A replica with this endpoint, and other keys.
fn keyed(endpoint: &str, more: &str) -> S3Target {
    let text = format!(
        "dbs:\n- path: /x/a.db\n  replica: {{type: s3, bucket: b, endpoint: '{endpoint}'{more}}}\n"
    );
    match config(&text).dbs[0]
        .replicas(&env())
        .unwrap()
        .remove(0)
        .target
    {
        Target::S3(target) => target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn local_hosts_are_spoken_to_without_tls() {
    for (host, scheme) in [
        ("localhost", "http"),
        ("localhost:9000", "http"),
        ("LOCALHOST:9000", "http"),
        ("localhost/base", "http"),
        ("127.0.0.1:9000", "http"),
        ("192.168.1.1:9000", "http"),
        ("10.0.0.1", "http"),
        ("172.16.0.1", "http"),
        ("172.17.0.1", "http"),
        ("172.19.255.1:1", "http"),
        ("172.20.0.1", "http"),
        ("172.29.0.1", "http"),
        ("172.30.0.1", "http"),
        ("172.31.0.1", "http"),
        ("minio.local:9000", "http"),
        ("s3.localhost", "http"),
        ("127.0.0.2", "https"),
        ("192.169.1.1", "https"),
        ("11.0.0.1", "https"),
        ("172.15.0.1", "https"),
        ("172.32.0.1", "https"),
        ("local", "https"),
        ("minio.local.example.com", "https"),
        ("localhost.example.com", "https"),
        ("u:p@localhost:9000", "https"),
        ("localhost:p@s3.example.com", "https"),
        ("s3.example.com", "https"),
    ] {
        let expected = format!("{scheme}://{host}");
        let found = url(&format!("s3://b/p?endpoint={host}"));
        assert_eq!(found.endpoint, Some(expected), "{host}");
        // A key is spoken to with TLS wherever it is.
        let found = keyed(host, "");
        assert_eq!(found.endpoint, Some(format!("https://{host}")));
        for given in ["http://", "https://"] {
            let whole = format!("{given}{host}");
            let found = url(&format!("s3://b/p?endpoint={whole}"));
            assert_eq!(found.endpoint.as_deref(), Some(&*whole));
        }
    }
}

#[test]
fn googles_storage_is_known_by_its_host() {
    for (host, is_google) in [
        ("storage.googleapis.com", true),
        ("STORAGE.googleapis.com", true),
        ("storage.googleapis.com:443", true),
        ("storage.googleapis.com.", true),
        ("storage.googleapis.com/path", true),
        ("us-central1-storage.googleapis.com", true),
        ("storage-upload.googleapis.com", true),
        ("storage.me-central2.rep.googleapis.com", true),
        ("storage.mtls.googleapis.com", true),
        ("bucket.storage.googleapis.com", false),
        ("storage.storage.googleapis.com", false),
        ("storageinsights.googleapis.com", false),
        ("compute.googleapis.com", false),
        ("googleapis.com", false),
        ("storage..googleapis.com", false),
        ("storage.googleapis.com.evil.com", false),
        ("storage.googleapis.com@evil.com", false),
        ("u@storage.googleapis.com", false),
        ("evilgoogleapis.com", false),
    ] {
        let found = keyed(&format!("https://{host}"), "");
        assert_eq!(!found.sign_accept_encoding, is_google, "{host}");
    }
}

#[test]
fn providers_name_buckets_in_the_path_unless_a_key_says_otherwise() {
    let off = ", force-path-style: false";
    for (endpoint, wanted) in [
        ("https://s3.us-west-1.backblazeb2.com", true),
        ("https://s3.filebase.com", true),
        ("https://x.supabase.co/storage/v1/s3", true),
        ("https://minio.example.com:9000", true),
        ("https://fsn1.your-objectstorage.com", false),
        ("https://fra1.digitaloceanspaces.com", false),
        ("https://s3.fr-par.scw.cloud", false),
        ("https://x.r2.cloudflarestorage.com", false),
        ("https://fly.storage.tigris.dev", false),
        // These have a port, and yet are not MinIO.
        ("https://s3.us-east-1.amazonaws.com:443", false),
        ("https://fra1.digitaloceanspaces.com:443", false),
        ("https://s3.fr-par.scw.cloud:443", false),
        ("https://x.r2.cloudflarestorage.com:443", false),
        ("https://fly.storage.tigris.dev:443", false),
        ("https://t3.storage.dev:443", false),
        ("https://S3.fr-par.scw.cloud:443", false),
        // User information is nobody's provider.
        ("https://u:p@minio.example.com:9000", false),
        ("https://u@s3.filebase.com", false),
    ] {
        let switched_off = url(&format!(
            "s3://b/p?endpoint={endpoint}&forcePathStyle=false"
        ));
        assert_eq!(switched_off.force_path_style, wanted, "{endpoint}");
        assert!(url(&format!("s3://b/p?endpoint={endpoint}")).force_path_style);
        assert!(keyed(endpoint, "").force_path_style, "{endpoint}");
        assert!(!keyed(endpoint, off).force_path_style, "{endpoint}");
    }
    for (host, path_style) in [
        ("b.s3.us-west-1.backblazeb2.com", true),
        ("b.s3.filebase.com", true),
        ("b.fra1.digitaloceanspaces.com", false),
        ("b.s3.fr-par.scw.cloud", false),
    ] {
        let found = url(&format!("s3://{host}/p"));
        assert_eq!((&*found.bucket, found.force_path_style), ("b", path_style));
    }
}

/// An address instead of a bucket: its first label is taken for the bucket, as in the reference.
#[test]
fn hosts_with_a_port_hold_the_bucket() {
    let found = url("s3://127.0.0.1:9000/x");
    assert_eq!(found.bucket, "127");
    assert_eq!(found.endpoint.as_deref(), Some("http://0.0.1:9000"));
    let found = url("S3://b.minio:9000/x");
    assert_eq!((&*found.bucket, &*found.path), ("b", "x"));
    assert_eq!(found.endpoint.as_deref(), Some("http://minio:9000"));
    let required = Err("bucket required for s3 replica".to_owned());
    for text in [
        "s3://localhost:9000/x",
        "s3:///p",
        "S3:///p",
        "s3://fra1.digitaloceanspaces.com/p",
        "s3://s3.r.backblazeb2.com/p",
        "s3://s3.filebase.com/p",
        "s3://s3.r.scw.cloud/p",
    ] {
        assert_eq!(of(text), required, "{text}");
    }
    // Whoever is named before the host, it is not who signs.
    let found = url("s3://user:word@b/p");
    assert_eq!((&*found.bucket, found.access_key_id), ("b", None));
}

#[test]
fn access_points_end_with_their_name() {
    let point = "arn:aws:s3:us-east-1:123456789012:accesspoint/ap";
    for (rest, path) in [
        ("", ""),
        ("/", ""),
        ("/.", ""),
        ("/path/", "path"),
        ("///path//to//db", "path/to/db"),
        ("/./path", "path"),
        ("/a/../b", "b"),
        ("/a?region=eu-1", "a"),
    ] {
        for scheme in ["s3", "S3"] {
            let found = url(&format!("{scheme}://{point}{rest}"));
            assert_eq!((&*found.bucket, &*found.path), (point, path), "{rest}");
            assert_eq!(found.endpoint, None);
            let region = if rest.contains('?') {
                "eu-1"
            } else {
                "us-east-1"
            };
            assert_eq!(found.region.as_deref(), Some(region));
        }
    }
    let capitals = "ARN:aws:s3:us-east-1:1:AccessPoint/ap";
    assert_eq!(url(&format!("s3://{capitals}/p")).bucket, capitals);
    for arn in [
        "arn:aws:s3:us-east-1:1:bad",
        "arn:aws:s3:us-east-1:1:accesspoint/",
        "arn:aws:s3:us-east-1:1:accesspoint//p",
    ] {
        let refused = format!("invalid s3 access point arn: {arn}");
        assert_eq!(of(&format!("s3://{arn}")), Err(refused));
    }
}

#[test]
fn switches_and_numbers_of_a_query() {
    for (word, on) in [
        ("1", true),
        ("t", true),
        ("T", true),
        ("yes", true),
        ("TRUE", true),
        ("0", false),
        ("no", false),
        ("on", false),
        ("garbage", false),
    ] {
        for (body, md5, encoding) in [
            ("signPayload", "requireContentMD5", "signAcceptEncoding"),
            (
                "sign-payload",
                "require-content-md5",
                "sign-accept-encoding",
            ),
        ] {
            let text = format!("s3://b/p?{body}={word}&{md5}={word}&{encoding}={word}");
            let found = url(&text);
            let all = (
                found.sign_payload,
                found.require_content_md5,
                found.sign_accept_encoding,
            );
            assert_eq!(all, (on, on, on), "{text}");
        }
    }
    for name in ["partSize", "part-size", "concurrency"] {
        for value in ["0", "-1", "5MB", "1.5", "x"] {
            let refused = format!(
                "invalid value for query parameter \"{name}\": \"{value}\" (must be a positive integer)"
            );
            let text = format!("s3://b/p?{name}={value}");
            assert_eq!(of(&text), Err(refused));
        }
        assert!(of(&format!("s3://b/p?{name}=7")).is_ok());
    }
}
