//! URLs that come over the control socket, beside the same on the command line.

use std::path::Path;

use super::*;
use crate::config::replica_from_url;

fn target(env: &Env, url: &str) -> Result<Target, String> {
    let config = of_registered(env, Path::new("/x/a.db"), url);
    let replicas = config.dbs[0].replicas(env);
    replicas
        .map(|mut replicas| replicas.remove(0).target)
        .map_err(|error| error.to_string())
}

fn s3(env: &Env, url: &str) -> S3Target {
    match target(env, url) {
        Ok(Target::S3(target)) => target,
        other => panic!("{url}: {other:?}"),
    }
}

/// The same on the command line.
fn typed(env: &Env, url: &str) -> S3Target {
    match replica_from_url(env, url).expect(url).target {
        Target::S3(target) => target,
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn refusals_speak_of_urls() {
    for (url, message) in [
        ("zzz://b/p", "unsupported replica URL scheme: \"zzz\""),
        ("s3:///p", "bucket required for s3 replica URL"),
        ("S3:///p", "bucket required for s3 replica URL"),
        ("s3:b", "bucket required for s3 replica URL"),
        ("s3://localhost:9/x", "bucket required for s3 replica URL"),
        ("gs:///p", "bucket required for gs replica URL"),
        ("abs:///p", "bucket required for abs replica URL"),
        ("oss:///p", "bucket required for oss replica URL"),
        (
            "oss://oss-cn-shanghai.aliyuncs.com/p",
            "bucket required for oss replica URL",
        ),
        ("sftp://h/p", "user required for sftp replica URL"),
        ("sftp:///p", "host required for sftp replica URL"),
        ("webdav:///p", "host required for webdav replica URL"),
        ("not-a-url", "replica url scheme required: not-a-url"),
        (
            "s3://arn:aws:s3:::accesspoint/",
            "invalid s3 access point arn: arn:aws:s3:::accesspoint/",
        ),
        (
            "s3://b/p?part-size=0",
            "invalid value for query parameter \"part-size\": \"0\" (must be a positive integer)",
        ),
    ] {
        assert_eq!(target(&env(), url), Err(message.to_owned()), "{url}");
    }
}

/// Case does not matter there, and anything else is off. On the command line only `true` is on.
#[test]
fn switches_have_two_spellings_and_several_words() {
    let on = ["true", "TRUE", "True", "1", "t", "T", "yes", "YES"];
    let off = ["false", "0", "f", "F", "no", "off", "garbage"];
    for (word, on) in on
        .map(|word| (word, true))
        .into_iter()
        .chain(off.map(|word| (word, false)))
    {
        for (style, verify) in [
            ("force-path-style", "skip-verify"),
            ("forcePathStyle", "skipVerify"),
        ] {
            let url = format!("s3://b/p?{style}={word}&{verify}={word}");
            let found = s3(&env(), &url);
            assert_eq!(
                (found.force_path_style, found.skip_verify),
                (on, on),
                "{url}"
            );
            let found = typed(&env(), &url);
            let on = word == "true" && style == "forcePathStyle";
            assert_eq!(
                (found.force_path_style, found.skip_verify),
                (on, on),
                "{url}"
            );
        }
    }
    // An empty one says nothing.
    let both = s3(&env(), "s3://b/p?skipVerify=&skip-verify=1");
    assert!(both.skip_verify);
}

#[test]
fn path_style_can_be_switched_off_where_a_provider_wants_it() {
    for url in [
        "s3://b.s3.us-west-1.backblazeb2.com/p",
        "s3://b.s3.filebase.com/p",
        "s3://b.localhost:9000/p",
        "s3://b/p?endpoint=https://x.supabase.co/storage/v1/s3",
        "s3://b/p?endpoint=https://minio.example.com:9000",
    ] {
        assert!(s3(&env(), url).force_path_style, "{url}");
        assert!(typed(&env(), url).force_path_style, "{url}");
        let more = if url.contains('?') { "&" } else { "?" };
        let url = format!("{url}{more}forcePathStyle=false");
        assert!(!s3(&env(), &url).force_path_style, "{url}");
        // What a provider wants wins over the URL there, not over a key.
        assert!(typed(&env(), &url).force_path_style, "{url}");
    }
}

#[test]
fn the_endpoint_of_the_environment_is_the_last_choice() {
    let env = Env::of(
        &[("LITESTREAM_S3_ENDPOINT", "127.0.0.1:9000")],
        "/",
        None,
        1,
    );
    let own = Some("http://127.0.0.1:9000");
    for (url, endpoint, path_style) in [
        ("s3://b/p", own, true),
        ("S3://b/p?skip-verify=1", own, true),
        ("s3://b/p?region=r&endpoint=", own, true),
        ("s3://b/p?force-path-style=no", own, false),
        ("s3://b/p?endpoint=x.y", Some("https://x.y"), true),
        ("s3://b.localhost:1/p", Some("http://localhost:1"), true),
        (
            "s3://b.s3.filebase.com/p",
            Some("https://s3.filebase.com"),
            true,
        ),
        ("s3://arn:aws:s3:r:1:accesspoint/ap/p", None, false),
    ] {
        let found = s3(&env, url);
        assert_eq!(found.endpoint.as_deref(), endpoint, "{url}");
        assert_eq!(found.force_path_style, path_style, "{url}");
        let found = typed(&env, url);
        assert_ne!(found.endpoint.as_deref(), own, "{url}");
    }
    assert_eq!(s3(&super::env(), "s3://b/p").endpoint, None);
}
