//! The shared HTTP client against servers that behave, misbehave, or say nothing.

mod bodies;
mod failures;
mod ways;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};
use litestream_storage::{HttpClient, HttpSettings};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Limits that are never reached unless a test wants them to be.
fn patient() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_mins(1),
        response_timeout: Duration::from_mins(1),
        stall_timeout: Duration::from_mins(1),
        ..HttpSettings::default()
    }
}

fn client() -> HttpClient {
    HttpClient::new(patient()).expect("sound settings")
}

fn get(target: impl AsRef<str>) -> Request<Empty<Bytes>> {
    let request = Request::get(target.as_ref()).body(Empty::new());
    request.expect("a request")
}

fn put(target: impl AsRef<str>, content: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::put(target.as_ref()).body(Full::new(content.into()));
    request.expect("a request")
}

/// Gives each connection to `serve` and counts them; ends with the test's runtime.
async fn listen<F, Fut>(serve: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, connections)
}

/// Reads the head of a request, and nothing after it; empty when the peer hung up.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).expect("a head in ASCII")
}

/// The first line of a head.
fn first_line(head: &str) -> &str {
    head.lines().next().unwrap_or_default()
}
