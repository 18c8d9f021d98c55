//! TLS and proxies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use litestream_storage::{HttpClient, HttpError, HttpProxies, HttpSettings, HttpTls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{first_line, get, head, listen, patient};

const ROOT: &[u8] = include_bytes!("root.pem");

fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(include_bytes!("server.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key.pem")).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// Answers one request with `text`.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) {
    head(&mut stream).await;
    let length = text.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await.expect("writable");
    stream.shutdown().await.expect("writable");
}

async fn secure(stream: TcpStream) {
    // A client that does not trust hangs up.
    if let Ok(stream) = acceptor().accept(stream).await {
        say(stream, "secure").await;
    }
}

fn trusting(tls: HttpTls, proxies: HttpProxies) -> HttpClient {
    let settings = HttpSettings {
        tls,
        proxies,
        ..patient()
    };
    HttpClient::new(settings).expect("sound settings")
}

/// Only the test's own root, whatever the machine has.
fn own_root() -> (tempfile::NamedTempFile, HttpTls) {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    std::io::Write::write_all(&mut file, ROOT).expect("writable");
    let tls = HttpTls {
        system_file: Some(file.path().to_owned()),
        ..HttpTls::default()
    };
    (file, tls)
}

async fn text(client: &HttpClient, target: String) -> Result<String, HttpError> {
    let response = client.send(get(target)).await?;
    let body = response.into_body().collect_at_most(1000).await?;
    Ok(String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn certificates_decide_whom_to_trust() {
    let (address, _) = listen(secure).await;
    let target = || format!("https://{address}/");
    let (_file, system) = own_root();
    let none = HttpProxies::default;
    let trusted = trusting(system, none());
    assert_eq!(text(&trusted, target()).await.expect("trusted"), "secure");

    let extra = HttpTls {
        extra_roots: ROOT.to_vec(),
        ..HttpTls::default()
    };
    let trusted = trusting(extra.clone(), none());
    assert_eq!(text(&trusted, target()).await.expect("trusted"), "secure");

    let any = HttpTls {
        skip_verify: true,
        ..HttpTls::default()
    };
    assert_eq!(
        text(&trusting(any, none()), target()).await.expect("any"),
        "secure"
    );

    // Another name than those of the certificate.
    let other = format!("https://127.0.0.2:{}/", address.port());
    let (wide, _) = listen(secure).await;
    let error = text(
        &trusting(HttpTls::default(), none()),
        format!("https://{wide}/"),
    )
    .await;
    assert!(matches!(error, Err(HttpError::Connect { .. })), "{error:?}");
    let error = text(&trusting(extra, none()), other).await;
    assert!(matches!(error, Err(HttpError::Connect { .. })), "{error:?}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    for roots in [&b"no PEM"[..], b"-----BEGIN CERTIFICATE-----\nx\n"] {
        let tls = HttpTls {
            extra_roots: roots.to_vec(),
            ..HttpTls::default()
        };
        let settings = HttpSettings {
            tls,
            ..HttpSettings::default()
        };
        assert!(HttpClient::new(settings).is_err());
    }
}

#[tokio::test]
async fn plain_requests_go_to_the_proxy_whole() {
    let (proxy, connections) = listen(|mut stream| async move {
        let head = head(&mut stream).await;
        assert_eq!(
            first_line(&head),
            "GET http://store.invalid/b/./k?x HTTP/1.1"
        );
        assert!(
            head.contains("proxy-authorization: Basic dXNlcjpwdw=="),
            "{head}"
        );
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nby";
        stream.write_all(answer).await.expect("writable");
    })
    .await;
    let proxies = HttpProxies {
        http: format!("http://user:pw@{proxy}"),
        ..HttpProxies::default()
    };
    let client = trusting(HttpTls::default(), proxies);
    assert_eq!(
        text(&client, "http://store.invalid/b/./k?x".into())
            .await
            .expect("by proxy"),
        "by"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn secure_requests_go_through_the_proxy_untouched() {
    let (proxy, _) = listen(|mut stream| async move {
        let head = head(&mut stream).await;
        assert_eq!(first_line(&head), "CONNECT store.invalid:443 HTTP/1.1");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .await
            .expect("writable");
        secure(stream).await;
    })
    .await;
    let proxies = HttpProxies {
        https: proxy.to_string(),
        ..HttpProxies::default()
    };
    let (_file, tls) = own_root();
    let client = trusting(tls, proxies);
    assert_eq!(
        text(&client, "https://store.invalid/".into())
            .await
            .expect("tunnel"),
        "secure"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let (proxy, _) = listen(|mut stream| async move {
        head(&mut stream).await;
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        stream.write_all(answer).await.expect("writable");
    })
    .await;
    let proxies = HttpProxies {
        https: proxy.to_string(),
        ..HttpProxies::default()
    };
    let error = text(
        &trusting(HttpTls::default(), proxies),
        "https://store.invalid/".into(),
    )
    .await;
    let Err(HttpError::Connect { source, .. }) = error else {
        panic!("{error:?}");
    };
    let text = source.to_string();
    assert!(text.contains("proxy authorization required"), "{text}");
    assert!(text.contains(&proxy.to_string()), "{text}");
}

#[tokio::test]
async fn socks_proxies_are_told_the_name() {
    let (proxy, _) = listen(|mut stream| async move {
        // Greeting: version, one method, none.
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.expect("greeting");
        assert_eq!(greeting, [5, 1, 0]);
        stream.write_all(&[5, 0]).await.expect("writable");
        let mut wanted = [0; 5 + 13 + 2];
        stream.read_exact(&mut wanted).await.expect("wish");
        assert_eq!(wanted[..5], [5, 1, 0, 3, 13]);
        assert_eq!(&wanted[5..18], b"store.invalid");
        assert_eq!(wanted[18..], [0, 80]);
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .expect("writable");
        say(stream, "socks").await;
    })
    .await;
    let proxies = HttpProxies {
        http: format!("socks5://{proxy}"),
        ..HttpProxies::default()
    };
    let client = trusting(HttpTls::default(), proxies);
    assert_eq!(
        text(&client, "http://store.invalid/".into())
            .await
            .expect("socks"),
        "socks"
    );
}
