//! What is sent is what arrives, in both directions.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use litestream_storage::{Error, HttpError, Operation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{client, first_line, get, head, listen, put};

/// Answers every request with its own first line, over and over on one connection.
async fn echo_target(mut stream: tokio::net::TcpStream) {
    loop {
        let head = head(&mut stream).await;
        if head.is_empty() {
            return;
        }
        let line = first_line(&head);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
            line.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn targets_go_out_as_they_are() {
    let (address, connections) = listen(echo_target).await;
    let client = client();
    for target in [
        "/bucket/./0000/a.ltx",
        "//0000/a.ltx",
        "/bucket/lead/trail//0000/a%2Fb",
        "/b/a/../c?prefix=.%2F0000%2F&list-type=2&x",
        "/?list-type=2",
        "/~a;b=c/*'()!",
    ] {
        let response = client.send(get(format!("http://{address}{target}"))).await;
        let response = response.expect("answered");
        let body = response
            .into_body()
            .collect_at_most(1000)
            .await
            .expect("read");
        assert_eq!(body, format!("GET {target} HTTP/1.1"));
    }
    assert_eq!(
        connections.load(Ordering::SeqCst),
        1,
        "the connection is kept"
    );
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const SIZE: usize = 9_000_000;
    // Sends back what it got, as one long body without a length.
    let (address, _) = listen(|mut stream| async move {
        let head = head(&mut stream).await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut all = Vec::new();
        while !all.ends_with(b"0\r\n\r\n") {
            let mut part = vec![0; 1 << 16];
            let count = stream.read(&mut part).await.expect("readable");
            all.extend_from_slice(&part[..count]);
        }
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(answer).await.expect("writable");
        stream.write_all(&all).await.expect("writable");
    })
    .await;
    let content: Bytes = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let pieces: Vec<_> = content
        .chunks(700_001)
        .map(Bytes::copy_from_slice)
        .collect();
    let frames = stream::iter(pieces).map(|piece| Ok::<_, Error>(Frame::data(piece)));
    let request = Request::post(format!("http://{address}/")).body(StreamBody::new(frames));
    let response = client()
        .send(request.expect("a request"))
        .await
        .expect("answered");
    let chunks: Vec<Bytes> = response
        .into_body()
        .into_stream()
        .try_collect()
        .await
        .expect("read");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.len() <= litestream_storage::CHUNK_SIZE)
    );
    assert!(chunks.concat() == content);
}

#[tokio::test]
async fn known_lengths_are_said() {
    let (address, _) = listen(|mut stream| async move {
        let head = head(&mut stream).await;
        assert!(head.contains("content-length: 200000"), "{head}");
        assert!(head.contains("user-agent: litestream "), "{head}");
        let mut body = vec![0; 200_000];
        stream.read_exact(&mut body).await.expect("the whole body");
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.expect("writable");
    })
    .await;
    let request = put(format!("http://{address}/"), vec![7; 200_000]);
    assert_eq!(
        client().send(request).await.expect("answered").status(),
        204
    );
}

#[tokio::test]
async fn an_upload_of_nothing_says_so() {
    let (address, _) = listen(|mut stream| async move {
        let head = head(&mut stream).await;
        assert_eq!(head.matches("content-length: 0\r\n").count(), 1, "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.expect("writable");
    })
    .await;
    let request = put(format!("http://{address}/"), Bytes::new());
    assert_eq!(
        client().send(request).await.expect("answered").status(),
        204
    );
}

#[tokio::test]
async fn an_error_of_the_body_comes_back_unchanged() {
    let (address, _) = listen(|mut stream| async move {
        let mut sink = tokio::io::sink();
        // The peer hangs up in the middle.
        let _ = tokio::io::copy(&mut stream, &mut sink).await;
    })
    .await;
    let broken = Error::from_body(std::io::Error::other("the source broke")).with_code("Mine");
    let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"some"))), Err(broken)]);
    let request = Request::put(format!("http://{address}/")).body(StreamBody::new(frames));
    let error = client()
        .send(request.expect("a request"))
        .await
        .expect_err("broken");
    assert!(matches!(error, HttpError::RequestBody(_)), "{error:?}");
    assert_eq!(error.into_error(Operation::Put).label(), "Mine");
}

#[tokio::test]
async fn answers_are_not_read_beyond_what_is_wanted() {
    let (address, _) = listen(|mut stream| async move {
        head(&mut stream).await;
        let answer = b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n";
        stream.write_all(answer).await.expect("writable");
        let _ = stream.write_all(&[b'x'; 100]).await;
    })
    .await;
    let response = client()
        .send(get(format!("http://{address}/")))
        .await
        .expect("answered");
    let error = response
        .into_body()
        .collect_at_most(99)
        .await
        .expect_err("too long");
    assert!(
        matches!(error, HttpError::TooLong { most: 99, .. }),
        "{error:?}"
    );
}
