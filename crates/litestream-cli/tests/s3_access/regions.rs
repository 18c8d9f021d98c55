//! Access points of many regions. Their host is Amazon's whatever the endpoint, so a proxy that
//! stands in for it ends TLS and passes on to a bucket in this process.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use testkit::program::{RestoreTarget, Source};
use testkit::tls::Certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::bucket::Bucket;
use super::place::ours;
use super::sigv4a::fault;

const HOST: &str = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com";
const POINT: &str = "s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/app";

/// Leads all connections to one server, without their TLS.
struct Proxy {
    address: String,
    _runtime: Runtime,
}

impl Proxy {
    fn start(server: &str) -> Self {
        let certificates = Certificates::new().expect("files");
        let (chain, key) = certificates.server();
        let chain = CertificateDer::pem_file_iter(chain).expect("a file");
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = server.trim_start_matches("http://").to_owned();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, acceptor.clone(), server.clone()));
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }
}

/// A client that hangs up is its own business.
async fn tunnel(mut client: TcpStream, acceptor: TlsAcceptor, server: String) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let wanted = format!("CONNECT {HOST}:443 ");
    assert!(
        head.starts_with(wanted.as_bytes()),
        "{}",
        head.escape_ascii()
    );
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    let mut client = acceptor.accept(client).await.ok()?;
    let mut server = TcpStream::connect(server).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

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
