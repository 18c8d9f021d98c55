//! Replicas: inheritance, rules of each type, places below folders.

use std::path::Path;

use super::*;

/// The only replica of the only database.
fn replica(settings: &str) -> Result<Replica, String> {
    let text = format!("dbs:\n- path: /x/a.db\n  replica: {{{settings}}}\n");
    let replicas = config(&text).dbs[0]
        .replicas(&env())
        .map_err(|error| error.to_string())?;
    Ok(replicas.into_iter().next().unwrap())
}

#[test]
fn replicas_inherit_what_they_do_not_set() {
    let config = config(
        "region: r-1\nbucket: shared\nendpoint: ''\nskip-verify: true\nsync-interval: 9s\n\
         part-size: 6MB\nconcurrency: 9\nwebdav-url: http://w\n\
         dbs:\n- path: a\n  replica: {type: s3, region: own, skip-verify: false}\n\
         - path: b\n  replica: {type: webdav}\n",
    );
    let replica = &config.dbs[0].replicas(&env()).unwrap()[0];
    assert_eq!(replica.sync_interval.as_secs(), 9);
    let Target::S3(target) = &replica.target else {
        panic!("{replica:?}")
    };
    assert_eq!(
        (target.bucket.as_str(), target.region.as_deref()),
        ("shared", Some("own"))
    );
    assert!(target.skip_verify, "a true at top level wins");
    assert_eq!((target.part_size, target.concurrency), (5 << 20, 5));
    assert_eq!(
        config.dbs[1].replicas(&env()).unwrap_err().to_string(),
        "webdav-url required for webdav replica"
    );
}

/// As in the reference: the word of `type` counts where there is no URL.
#[test]
fn the_scheme_of_a_url_decides_the_type() {
    let kind = |settings: &str| replica(settings).map(|replica| replica.target.kind());
    assert_eq!(kind("type: s3, url: 'file:///r'"), Ok("file"));
    assert_eq!(kind("type: file, url: 's3://b/p'"), Ok("s3"));
    assert_eq!(kind("type: nonsense, url: 'file:///r'"), Ok("file"));
    assert_eq!(kind("url: 'webdavs://host/p', type: file"), Ok("webdav"));
    assert_eq!(kind("type: file, path: /r"), Ok("file"));
    assert_eq!(kind("path: /r"), Ok("file"));
    let unknown = kind("type: nonsense, path: /r").unwrap_err();
    assert_eq!(unknown, "unknown replica type in config: \"nonsense\"");
}

#[test]
fn several_replicas_per_database_are_accepted() {
    let config =
        config("dbs:\n- path: a\n  replicas: [{path: /r}, {name: far, url: 's3://b/p'}]\n");
    let replicas = config.dbs[0].replicas(&env()).unwrap();
    assert_eq!(
        replicas.iter().map(|r| r.target.kind()).collect::<Vec<_>>(),
        ["file", "s3"]
    );
    assert_eq!(replicas[1].name.as_deref(), Some("far"));
}

#[test]
fn replicas_that_cannot_be_built() {
    for (settings, message) in [
        ("", "file replica path required"),
        (
            "path: 's3://b/p'",
            "replica path cannot be a url, please use the 'url' field instead: s3://b/p",
        ),
        ("type: foo", "unknown replica type in config: \"foo\""),
        (
            "type: FILE, path: r",
            "unknown replica type in config: \"FILE\"",
        ),
        ("url: xx", "replica url scheme required: xx"),
        (
            "url: 'zzz://b/p'",
            "unknown replica type in config: \"zzz\"",
        ),
        (
            "url: 'file:///r', path: x",
            "cannot specify url & path for file replica",
        ),
        (
            "url: 's3://b/p', path: x",
            "cannot specify url & path for s3 replica",
        ),
        (
            "url: 's3://b/p', bucket: x",
            "cannot specify url & bucket for s3 replica",
        ),
        ("type: gs", "bucket required for gs replica"),
        (
            "url: 'sftp://u@h/p', host: x",
            "cannot specify url & host for sftp replica",
        ),
        ("type: sftp, user: u", "host required for sftp replica"),
        ("url: 'sftp://h/p'", "user required for sftp replica"),
        (
            "url: 'webdav://h/p', webdav-url: x",
            "cannot specify url & webdav-url for webdav replica",
        ),
        ("type: nats", "bucket required for NATS replica"),
        ("url: 'nats://h:4222/'", "bucket required for NATS replica"),
        ("url: 'nats://h:4222'", "bucket required for NATS replica"),
        (
            "type: nats, bucket: b, client-cert: c",
            "client-cert and client-key must both be specified for mutual TLS authentication",
        ),
        (
            "url: 's3://b/p?part-size=x'",
            "invalid value for query parameter \"part-size\": \"x\" (must be a positive integer)",
        ),
        (
            "url: 's3://arn:aws:s3:us-east-1:1:bad'",
            "invalid s3 access point arn: arn:aws:s3:us-east-1:1:bad",
        ),
        (
            "type: s3, bucket: b, sse-customer-key-path: /nokey",
            "cannot read sse-customer-key-path \"/nokey\": open /nokey: no such file or directory",
        ),
    ] {
        assert_eq!(replica(settings).unwrap_err(), message, "{settings}");
    }
    assert!(
        replica("path: r, age: {identities: [a]}")
            .unwrap_err()
            .starts_with("age encryption")
    );
}

#[test]
fn file_urls_name_encoded_folders() {
    for (url, path) in [
        ("file:///r", "/r"),
        ("file://", "/srv/data"),
        ("file://h/p", "/h/p"),
        ("file:///a%41", "/aA"),
        ("file:///sp%20ace?x=1#f", "/sp%20ace#f"),
        ("file:rel", "/srv/data/rel"),
    ] {
        let target = replica(&format!("url: '{url}'")).unwrap().target;
        assert_eq!(
            target,
            Target::File(FileTarget { path: path.into() }),
            "{url}"
        );
    }
}

fn s3(settings: &str) -> S3Target {
    match replica(settings).unwrap().target {
        Target::S3(target) => target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn s3_urls_name_bucket_region_and_endpoint() {
    for (url, bucket, region, endpoint, path_style, path) in [
        ("s3://b/p/q", "b", None, None, false, "p/q"),
        ("s3://b", "b", None, None, false, "."),
        ("s3://b/", "b", None, None, false, ""),
        (
            "s3://b.s3.eu-1.amazonaws.com/a//b/../c/",
            "b",
            Some("eu-1"),
            None,
            false,
            "a/c",
        ),
        (
            "s3://b.localhost:9000/p",
            "b",
            Some("us-east-1"),
            Some("http://localhost:9000"),
            true,
            "p",
        ),
        (
            "s3://b.fra1.digitaloceanspaces.com/p",
            "b",
            Some("fra1"),
            Some("https://fra1.digitaloceanspaces.com"),
            false,
            "p",
        ),
        (
            "s3://b/p?endpoint=localhost:9000&region=us-west-2",
            "b",
            Some("us-west-2"),
            Some("http://localhost:9000"),
            true,
            "p",
        ),
        (
            "s3://b/p?endpoint=s3.example.com&forcePathStyle=false",
            "b",
            Some("us-east-1"),
            Some("https://s3.example.com"),
            false,
            "p",
        ),
        (
            "s3://arn:aws:s3:us-east-1:1:accesspoint/ap/back/ups?sign-payload=false",
            "arn:aws:s3:us-east-1:1:accesspoint/ap",
            Some("us-east-1"),
            None,
            false,
            "back/ups",
        ),
        (
            "s3://arn:aws:s3::1:accesspoint/ap.mrap/back/ups",
            "arn:aws:s3::1:accesspoint/ap.mrap",
            Some("us-east-1"),
            None,
            false,
            "back/ups",
        ),
    ] {
        let target = s3(&format!("url: '{url}'"));
        assert_eq!(target.bucket, bucket, "{url}");
        assert_eq!(target.region.as_deref(), region, "{url}");
        assert_eq!(target.endpoint.as_deref(), endpoint, "{url}");
        assert_eq!(target.force_path_style, path_style, "{url}");
        assert_eq!(target.path, path, "{url}");
    }
}

#[test]
fn s3_keys_win_over_the_url_but_for_skip_verify() {
    let target = s3(
        "url: 's3://b/p?region=u&signPayload=no&skipVerify=false&partSize=7&storageClass=X', \
                     region: k, skip-verify: true, concurrency: 3",
    );
    assert_eq!(target.region.as_deref(), Some("k"));
    assert!(!target.sign_payload && !target.skip_verify);
    assert_eq!((target.part_size, target.concurrency), (7, 3));
    assert_eq!(target.storage_class.as_deref(), Some("X"));
}

#[test]
fn s3_endpoints_imply_habits() {
    for (endpoint, path_style, content_md5, accept_encoding, concurrency) in [
        ("https://t3.storage.dev", true, false, true, 5),
        ("https://x.r2.cloudflarestorage.com", true, true, true, 2),
        ("https://storage.googleapis.com", true, true, false, 5),
        ("https://bucket.storage.googleapis.com", true, true, true, 5),
        ("localhost:9000", true, true, true, 5),
    ] {
        let target = s3(&format!("type: s3, bucket: b, endpoint: '{endpoint}'"));
        assert_eq!(target.force_path_style, path_style, "{endpoint}");
        assert_eq!(target.require_content_md5, content_md5, "{endpoint}");
        assert_eq!(target.sign_accept_encoding, accept_encoding, "{endpoint}");
        assert_eq!(target.concurrency, concurrency, "{endpoint}");
    }
    let bare = s3("type: s3, bucket: b, endpoint: 'localhost:9000'");
    assert_eq!(bare.endpoint.as_deref(), Some("https://localhost:9000"));
}

#[test]
fn other_urls_name_their_parts() {
    let Target::Abs(abs) = replica("url: 'abs://acct@cont/p'").unwrap().target else {
        panic!()
    };
    assert_eq!(
        (
            abs.account_name.as_str(),
            abs.bucket.as_str(),
            abs.path.as_str()
        ),
        ("acct", "cont", "p")
    );
    let Target::Sftp(sftp) = replica("url: 'sftp://u:pw@h:22/p'").unwrap().target else {
        panic!()
    };
    assert_eq!((sftp.host.as_str(), sftp.path.as_str()), ("h:22", "/p"));
    assert_eq!(sftp.password.as_deref(), Some("pw"));
    let Target::Webdav(dav) = replica("url: 'webdavs://u@h/p'").unwrap().target else {
        panic!()
    };
    assert_eq!((dav.url.as_str(), dav.path.as_str()), ("https://h", "/p"));
    let Target::Nats(nats) = replica("url: 'nats://u:p@h:4222/b', bucket: c")
        .unwrap()
        .target
    else {
        panic!()
    };
    assert_eq!(
        (nats.url.as_str(), nats.bucket.as_str()),
        ("nats://h:4222", "b")
    );
    assert_eq!(nats.username, None);
    let Target::Oss(oss) = replica("url: 'oss://b.oss-cn-x-internal.aliyuncs.com/p'")
        .unwrap()
        .target
    else {
        panic!()
    };
    assert_eq!((oss.bucket.as_str(), oss.region.as_str()), ("b", "cn-x"));
}

/// The control socket reads the path of these URLs as relative, a configuration as absolute.
#[test]
fn registered_urls_begin_in_the_folder_of_the_login() {
    let target = |url: &str| {
        let config = of_registered(&env(), Path::new("/x/a.db"), url);
        let replicas = config.dbs[0].replicas(&env());
        replicas
            .map(|mut replicas| replicas.remove(0).target)
            .map_err(|error| error.to_string())
    };
    for (path, expected) in [
        ("/p/q", "p/q"),
        ("/p%20q//r/", "p q/r"),
        ("//p", "p"),
        ("/", ""),
        ("", "."),
    ] {
        let Ok(Target::Sftp(sftp)) = target(&format!("sftp://u:pw@h:22{path}")) else {
            panic!("{path}")
        };
        assert_eq!((sftp.host.as_str(), sftp.path.as_str()), ("h:22", expected));
        assert_eq!(
            (sftp.user.as_str(), sftp.password.as_deref()),
            ("u", Some("pw"))
        );
        for (scheme, address) in [("webdav", "http://h:80"), ("webdavs", "https://h:80")] {
            let Ok(Target::Webdav(dav)) = target(&format!("{scheme}://u:pw@h:80{path}")) else {
                panic!("{path}")
            };
            assert_eq!((dav.url.as_str(), dav.path.as_str()), (address, expected));
            assert_eq!(dav.username.as_deref(), Some("u"));
            assert_eq!(dav.password.as_deref(), Some("pw"));
        }
    }
    let refusals = [
        ("sftp://h/p", "user required for sftp replica URL"),
        ("sftp://u@/p", "host required for sftp replica URL"),
        ("webdav:///p", "host required for webdav replica URL"),
    ];
    for (url, expected) in refusals {
        assert_eq!(target(url), Err(expected.to_owned()), "{url}");
    }
}

#[test]
fn databases_of_a_folder_get_places_of_their_own() {
    let text = |replica: &str, more: &str| {
        config(&format!(
            "dbs:\n- dir: /d\n  pattern: '*'\n  replica: {{{replica}}}\n{more}"
        ))
    };
    for (replica, path) in [
        ("path: /r", "/r/sub/c d.db"),
        ("url: 'file:///r'", "/r/sub/c%20d.db"),
        ("", "/srv/data/sub/c d.db"),
    ] {
        let replicas = text(replica, "").dbs[0]
            .replicas_below(&env(), "sub/c d.db")
            .unwrap();
        assert_eq!(
            replicas[0].target,
            Target::File(FileTarget { path: path.into() }),
            "{replica}"
        );
    }
    for (replica, path) in [
        ("url: 's3://b/p?x=1'", "p/sub/c.db"),
        ("url: 's3://b'", "sub/c.db"),
        ("type: s3, bucket: b", "sub/c.db"),
        ("type: s3, bucket: b, path: /p/q/", "/p/q/sub/c.db"),
    ] {
        let replicas = text(replica, "").dbs[0]
            .replicas_below(&env(), "sub/c.db")
            .unwrap();
        let Target::S3(target) = &replicas[0].target else {
            panic!("{replicas:?}")
        };
        assert_eq!(target.path, path, "{replica}");
    }
    let error = text("url: 'nats://h/b'", "").dbs[0]
        .replicas(&env())
        .unwrap_err();
    assert!(matches!(error, BuildError::NatsDirectory), "{error}");
    for (more, path) in [
        ("", "/d/sub/.c.db-litestream"),
        ("  meta-path: /m\n", "/m/sub/.c.db-litestream"),
        ("  meta-dir: /m\n", "/m/sub/c.db-litestream"),
    ] {
        let config = text("path: /r", more);
        let Location::Directory(directory) = &config.dbs[0].location else {
            panic!()
        };
        let meta_path = directory.meta_path(config.dbs[0].meta_path.as_ref(), "sub/c.db");
        assert_eq!(meta_path, Path::new(path), "{more}");
    }
}
