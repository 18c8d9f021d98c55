//! S3 replicas: hosts of providers, their habits, credentials of the environment.

use super::*;
use crate::config::replica_from_url;
use crate::env::Env;

fn of_url(vars: &[(&str, &str)], url: &str) -> Result<S3Target, String> {
    let env = Env::of(vars, "/", None, 1);
    match replica_from_url(&env, url)
        .map_err(|error| error.to_string())?
        .target
    {
        Target::S3(target) => Ok(target),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_of_providers_name_bucket_region_and_endpoint() {
    for (host, bucket, region, endpoint, path_style) in [
        (
            "b.s3.us-west-002.backblazeb2.com",
            "b",
            Some("us-west-002"),
            Some("https://s3.us-west-002.backblazeb2.com"),
            true,
        ),
        (
            "b.s3.filebase.com",
            "b",
            None,
            Some("https://s3.filebase.com"),
            true,
        ),
        (
            "b.s3.fr-par.scw.cloud",
            "b",
            Some("fr-par"),
            Some("https://s3.fr-par.scw.cloud"),
            false,
        ),
        ("b.s3.amazonaws.com", "b", None, None, false),
        (
            "a.b.s3.eu-1.amazonaws.com",
            "a.b",
            Some("eu-1"),
            None,
            false,
        ),
        ("bucket.with.dots", "bucket.with.dots", None, None, false),
    ] {
        let target = of_url(&[], &format!("s3://{host}/p")).expect(host);
        assert_eq!(target.bucket, bucket, "{host}");
        // With an endpoint a region is always known.
        let expected = region.or(endpoint.map(|_| "us-east-1"));
        assert_eq!(target.region.as_deref(), expected, "{host}");
        assert_eq!(target.endpoint.as_deref(), endpoint, "{host}");
        assert_eq!(target.force_path_style, path_style, "{host}");
    }
    for host in ["localhost:9000", "fra1.digitaloceanspaces.com"] {
        let refused = of_url(&[], &format!("s3://{host}/p")).expect_err(host);
        assert_eq!(refused, "bucket required for s3 replica", "{host}");
    }
}

#[test]
fn providers_have_habits() {
    for (endpoint, path_style, concurrency, md5, consistent) in [
        (
            "https://ACCOUNT.r2.cloudflarestorage.com",
            false,
            2,
            true,
            false,
        ),
        ("https://fly.storage.tigris.dev", false, 5, false, true),
        ("https://t3.storage.dev", false, 5, false, true),
        ("https://other.tigris.dev", false, 5, true, false),
        (
            "https://ref.supabase.co/storage/v1/s3",
            true,
            5,
            true,
            false,
        ),
        ("https://fsn1.your-objectstorage.com", false, 5, true, false),
        ("https://s3.wasabisys.com", false, 5, true, false),
        ("https://us-east-1.linodeobjects.com", false, 5, true, false),
        (
            "https://ns.compat.objectstorage.r.oraclecloud.com",
            false,
            5,
            true,
            false,
        ),
        ("http://minio.example.org:9000", true, 5, true, false),
        ("https://storage.googleapis.com", false, 5, true, false),
    ] {
        // A parameter implies path style; without it the provider decides.
        let url = format!("s3://b/p?endpoint={endpoint}&forcePathStyle=false");
        let target = of_url(&[], &url).expect(endpoint);
        assert_eq!(target.force_path_style, path_style, "{endpoint}");
        assert_eq!(target.concurrency, concurrency, "{endpoint}");
        assert_eq!(target.require_content_md5, md5, "{endpoint}");
        assert_eq!(target.consistent_header, consistent, "{endpoint}");
        assert!(target.sign_payload, "{endpoint}");
    }
}

#[test]
fn credentials_of_the_environment_come_with_their_token() {
    let both = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let with_token = [both[0], both[1], ("AWS_SESSION_TOKEN", "token")];
    let credentials = |vars: &[(&str, &str)]| {
        let target = of_url(vars, "s3://b/p").expect("a replica");
        (
            target.access_key_id,
            target.secret_access_key,
            target.session_token,
        )
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(credentials(&both), (text("id"), text("secret"), None));
    assert_eq!(
        credentials(&with_token),
        (text("id"), text("secret"), text("token"))
    );
    // Half of them is none: then the rest of the chain is asked.
    assert_eq!(credentials(&both[..1]), (None, None, None));
}
