//! Access points of many regions. Their host is Amazon's whatever the endpoint.

use testkit::program::{RestoreTarget, Source};

use super::bucket::Bucket;
use super::place::ours;
use super::proxy::Proxy;
use super::sigv4a::fault;

const HOST: &str = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com";
const POINT: &str = "s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/app";

#[test]
fn requests_to_many_regions_are_signed_for_all() {
    let bucket = Bucket::start();
    let proxy = Proxy::start(&bucket.endpoint());
    let folder = tempfile::tempdir().expect("folder");
    let db = folder.path().join("app.db");
    rusqlite::Connection::open(&db)
        .and_then(|app| app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)"))
        .expect("a database");
    let program = ours()
        .with_variable("HTTPS_PROXY", &proxy.address)
        .with_variable("AWS_ACCESS_KEY_ID", "KEY")
        .with_variable("AWS_SECRET_ACCESS_KEY", "secret")
        .with_variable("AWS_CONFIG_FILE", "/none");
    // The certificate is not Amazon's.
    let url = format!("{POINT}?skipVerify=true");
    let db = db.to_str().expect("UTF-8");
    let done = program.run(["replicate", "-once", db, &url]);
    done.unwrap_or_else(|failure| panic!("{failure}"));
    let out = folder.path().join("out.db");
    let restored = program.restore(&Source::Url(url), &out, &RestoreTarget::Latest);
    restored.unwrap_or_else(|failure| panic!("{failure}"));

    let state = bucket.state();
    assert!(state.objects.keys().any(|key| key.starts_with("app/0000/")));
    for method in ["GET", "PUT"] {
        assert!(state.asked.iter().any(|asked| asked.method == method));
    }
    for asked in &state.asked {
        assert_eq!(fault(asked, "KEY", "secret"), None, "{asked:?}");
        assert_eq!(asked.header("x-amz-region-set"), Some("*"));
        assert_eq!(asked.header("host"), Some(HOST));
        assert_eq!(asked.parameter("location"), None, "it has no region");
    }
    let altered = state.asked.first().cloned().map(|mut asked| {
        asked.path.push('x');
        asked
    });
    assert!(fault(&altered.expect("asked"), "KEY", "secret").is_some());
}
