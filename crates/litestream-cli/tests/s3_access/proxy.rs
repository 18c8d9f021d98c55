//! A proxy that stands in for Amazon: it ends TLS and passes on to a server in this process. Which
//! host was meant stands in the requests.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use testkit::tls::Certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Leads all connections to one server, without their TLS.
pub(crate) struct Proxy {
    pub(crate) address: String,
    _runtime: Runtime,
}

impl Proxy {
    pub(crate) fn start(server: &str) -> Self {
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
    assert!(head.starts_with(b"CONNECT "), "{}", head.escape_ascii());
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    let mut client = acceptor.accept(client).await.ok()?;
    let mut server = TcpStream::connect(server).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
