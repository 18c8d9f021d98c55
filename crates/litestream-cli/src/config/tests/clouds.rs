//! Google, Azure and Alibaba replicas: URLs, and what the environment adds.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::replica_from_url;
use crate::env::Env;

const URLS: [&str; 3] = ["gs://b/p", "abs://acct@b/p", "oss://b/p"];

fn of_url(vars: &[(&str, &str)], url: &str) -> Result<Target, String> {
    let env = Env::of(vars, "/", Some("/home/u"), 1);
    replica_from_url(&env, url)
        .map(|replica| replica.target)
        .map_err(|error| error.to_string())
}

#[test]
fn buckets_are_required() {
    for kind in ["gs", "abs", "oss"] {
        let expected = format!("bucket required for {kind} replica");
        assert_eq!(of_url(&[], &format!("{kind}:///path")), Err(expected));
    }
}

#[test]
fn paths_of_urls_lose_one_slash_and_none_is_a_dot() {
    for kind in ["gs", "abs", "oss"] {
        for (url, path) in [("b/p/q", "p/q"), ("b/p/", "p"), ("b/", ""), ("b", ".")] {
            let found = match of_url(&[], &format!("{kind}://{url}")).unwrap() {
                Target::Gs(target) => target.path,
                Target::Abs(target) => target.path,
                Target::Oss(target) => target.path,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, path, "{kind}://{url}");
        }
    }
}

#[test]
fn google_takes_emulator_and_credentials_from_the_environment() {
    let vars = [
        ("STORAGE_EMULATOR_HOST", "127.0.0.1:9"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/c.json"),
        ("GCE_METADATA_HOST", "meta:80"),
    ];
    let Target::Gs(target) = of_url(&vars, URLS[0]).unwrap() else {
        panic!()
    };
    assert_eq!(target.emulator.as_deref(), Some("127.0.0.1:9"));
    assert_eq!(
        target.credentials_file.as_deref(),
        Some(Path::new("/c.json"))
    );
    assert_eq!(target.metadata_host.as_deref(), Some("meta:80"));
    let well_known = "/home/u/.config/gcloud/application_default_credentials.json";
    assert_eq!(target.well_known_file, Some(PathBuf::from(well_known)));
}

#[test]
fn azure_falls_back_to_the_environment() {
    let vars = [
        ("LITESTREAM_AZURE_ACCOUNT_KEY", "key"),
        ("LITESTREAM_AZURE_SAS_TOKEN", "sas"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_SECRET", "hush"),
    ];
    let Target::Abs(target) = of_url(&vars, URLS[1]).unwrap() else {
        panic!()
    };
    assert_eq!(target.account_key.as_deref(), Some("key"));
    assert_eq!(target.sas_token.as_deref(), Some("sas"));
    assert_eq!(target.azure.tenant.as_deref(), Some("tenant"));
    assert!(!format!("{:?}", target.azure).contains("hush"));
}

#[test]
fn alibaba_keys_come_in_pairs() {
    let vars = [
        ("OSS_ACCESS_KEY_ID", "id"),
        ("OSS_ACCESS_KEY_SECRET", "secret"),
        ("OSS_SESSION_TOKEN", "token"),
    ];
    let Target::Oss(target) = of_url(&vars, URLS[2]).unwrap() else {
        panic!()
    };
    assert_eq!(target.access_key_id.as_deref(), Some("id"));
    assert_eq!(target.secret_access_key.as_deref(), Some("secret"));
    assert_eq!(target.session_token.as_deref(), Some("token"));
    assert_eq!(target.region, "cn-hangzhou");
}

#[test]
fn hosts_of_alibaba_name_bucket_and_region() {
    for (host, bucket, region) in [
        ("b.oss-cn-shanghai.aliyuncs.com", "b", "cn-shanghai"),
        (
            "b.oss-cn-shanghai-internal.aliyuncs.com",
            "b",
            "cn-shanghai",
        ),
        ("oss-b.oss-cn-shanghai.aliyuncs.com", "oss-b", "cn-shanghai"),
        ("b.example.com", "b.example.com", "cn-hangzhou"),
        ("aliyuncs.com", "aliyuncs.com", "cn-hangzhou"),
    ] {
        let Ok(Target::Oss(target)) = of_url(&[], &format!("oss://{host}/p")) else {
            panic!("{host}")
        };
        assert_eq!((&*target.bucket, &*target.region), (bucket, region));
    }
    for host in [
        "oss-cn-shanghai.aliyuncs.com",
        "oss-cn-shanghai-internal.aliyuncs.com",
    ] {
        let refused = "bucket required for oss replica".to_owned();
        assert_eq!(of_url(&[], &format!("oss://{host}/p")), Err(refused));
    }
}
