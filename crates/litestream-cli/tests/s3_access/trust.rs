//! Certificates of an S3 service, and the proxies on the way to it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::program::Program;
use testkit::server::{RcloneS3, S3_ACCESS_KEY, S3_SECRET_KEY};
use testkit::tls::Certificates;

use super::place::ours;

const BUCKET: &str = "bkt";

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The program with the keys of the server, and whatever else.
fn program(more: &[(&str, &str)]) -> Program {
    let keys = [
        ("AWS_ACCESS_KEY_ID", S3_ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", S3_SECRET_KEY),
        ("AWS_CONFIG_FILE", "/none"),
    ];
    let all = keys.iter().chain(more);
    all.fold(ours(), |program, (name, value)| {
        program.with_variable(name, value)
    })
}

fn url(server: &RcloneS3, more: &str) -> String {
    let endpoint = server.endpoint();
    format!("s3://{BUCKET}/app?endpoint={endpoint}&region=us-east-1{more}")
}

#[test]
fn only_a_trusted_service_is_spoken_to() {
    let certificates = Certificates::new().expect("files");
    let Some(server) = RcloneS3::start_tls_or_skip(BUCKET, &certificates) else {
        return;
    };
    let (root, other) = (certificates.root(), certificates.other_root());
    let (root, other) = (text(&root), text(&other));
    for trusting in [
        program(&[("AWS_CA_BUNDLE", root)]),
        program(&[("SSL_CERT_FILE", root)]),
        // The bundle is trusted beside the certificates of the system.
        program(&[("AWS_CA_BUNDLE", root), ("SSL_CERT_FILE", other)]),
    ] {
        let listed = trusting.run(["ltx", &url(&server, "")]);
        listed.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let skipping = program(&[]).run(["ltx", &url(&server, "&skipVerify=true")]);
    skipping.unwrap_or_else(|failure| panic!("{failure}"));

    for wary in [
        program(&[]),
        program(&[("AWS_CA_BUNDLE", other)]),
        program(&[("SSL_CERT_FILE", other)]),
    ] {
        // Only `true` is true.
        for more in ["", "&skipVerify=false", "&skipVerify=1"] {
            let failure = wary
                .run(["ltx", &url(&server, more)])
                .expect_err("not trusted");
            let said = failure.to_string();
            assert!(said.contains("certificate"), "{said}");
            assert!(said.contains("AWS_CA_BUNDLE"), "{said}");
        }
    }
    for (bundle, named) in [
        ("/none.pem", "/none.pem"),
        (text(&certificates.server().1), "AWS_CA_BUNDLE"),
    ] {
        let failure = program(&[("AWS_CA_BUNDLE", bundle)])
            .run(["ltx", &url(&server, "")])
            .expect_err("no certificates");
        let said = failure.to_string();
        assert!(said.contains(named), "{said}");
    }
}

/// A proxy that connects to whatever it is asked for, and counts.
struct Proxy {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || tunnel(client));
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A client that hangs up is its own business.
fn tunnel(mut client: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    // The name exists only here.
    let server = TcpStream::connect(target.replace("store.invalid", "127.0.0.1")).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (from, to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let back = std::thread::spawn(move || pass(from, to));
    pass(client, server);
    back.join().ok()
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}

#[test]
fn proxies_of_the_environment_are_used_but_where_they_are_not_to_be() {
    let certificates = Certificates::new().expect("files");
    let Some(server) = RcloneS3::start_tls_or_skip(BUCKET, &certificates) else {
        return;
    };
    let proxy = Proxy::start();
    let root = certificates.root();
    let through = program(&[
        ("AWS_CA_BUNDLE", text(&root)),
        ("HTTPS_PROXY", &proxy.address),
    ]);
    let run = |program: &Program, url: &str| {
        let listed = program.run(["ltx", url]);
        listed.unwrap_or_else(|failure| panic!("{failure}"));
    };
    // A host that nobody but the proxy knows.
    let far = url(&server, "").replace("127.0.0.1", "store.invalid");
    run(&through, &far);
    assert_eq!(proxy.connections(), 1);
    let near = url(&server, "");
    run(
        &through.with_variable("NO_PROXY", "localhost,127.0.0.1"),
        &near,
    );
    assert_eq!(proxy.connections(), 1, "reached directly");
}
