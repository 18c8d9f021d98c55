//! Nothing hangs, and each failure says what it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use litestream_storage::{ErrorKind, HttpClient, HttpError, HttpSettings, Operation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{client, get, head, listen, patient, put};

const SHORT: Duration = Duration::from_millis(50);

fn kind(error: HttpError) -> ErrorKind {
    error.into_error(Operation::Get).kind()
}

#[tokio::test]
async fn a_refused_connection_had_no_effect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = client()
        .send(get(format!("http://{address}/")))
        .await
        .expect_err("refused");
    assert!(matches!(&error, HttpError::Connect { .. }), "{error:?}");
    assert!(error.had_no_effect());
    assert_eq!(kind(error), ErrorKind::Unavailable { retry_after: None });
}

#[tokio::test]
async fn silence_after_the_request_has_a_limit() {
    let (address, _) = listen(|mut stream| async move {
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let settings = HttpSettings {
        response_timeout: SHORT,
        ..patient()
    };
    let client = HttpClient::new(settings).expect("sound settings");
    let error = client
        .send(get(format!("http://{address}/")))
        .await
        .expect_err("silent");
    assert!(matches!(&error, HttpError::NoAnswer { .. }), "{error:?}");
    assert!(!error.had_no_effect());
    assert_eq!(kind(error), ErrorKind::Timeout);
}

#[tokio::test]
async fn an_upload_that_nobody_reads_has_a_limit() {
    let (address, _) = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let settings = HttpSettings {
        response_timeout: SHORT,
        ..patient()
    };
    let client = HttpClient::new(settings).expect("sound settings");
    let request = put(format!("http://{address}/"), vec![0; 32 << 20]);
    let error = client.send(request).await.expect_err("stuck");
    assert!(matches!(&error, HttpError::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_has_a_limit() {
    let (address, _) = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut settings = HttpSettings {
        connect_timeout: SHORT,
        ..patient()
    };
    settings.tls.skip_verify = true;
    let client = HttpClient::new(settings).expect("sound settings");
    let error = client
        .send(get(format!("https://{address}/")))
        .await
        .expect_err("silent");
    assert!(
        matches!(&error, HttpError::ConnectTimeout { .. }),
        "{error:?}"
    );
    assert_eq!(kind(error), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_body_that_stands_still_has_a_limit() {
    let (address, _) = listen(|mut stream| async move {
        head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
        stream.write_all(answer).await.expect("writable");
        std::future::pending::<()>().await;
    })
    .await;
    let settings = HttpSettings {
        stall_timeout: SHORT,
        ..patient()
    };
    let client = HttpClient::new(settings).expect("sound settings");
    let response = client
        .send(get(format!("http://{address}/")))
        .await
        .expect("answered");
    let mut body = response.into_body().into_stream();
    let error = loop {
        match body.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended as if complete"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, HttpError::Stalled { .. }), "{error:?}");
    assert_eq!(kind(error), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_cut_body_is_not_a_complete_one() {
    for head_line in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (address, _) = listen(move |mut stream| async move {
            head(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{head_line}\r\n\r\n5\r\nfir");
            stream.write_all(answer.as_bytes()).await.expect("writable");
        })
        .await;
        let response = client()
            .send(get(format!("http://{address}/")))
            .await
            .expect("answered");
        let error = response
            .into_body()
            .collect_at_most(100)
            .await
            .expect_err("cut");
        assert!(matches!(&error, HttpError::Broken { .. }), "{error:?}");
        assert_eq!(kind(error), ErrorKind::Io);
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 2"] {
        let (address, _) = listen(move |mut stream| async move {
            head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.expect("writable");
        })
        .await;
        let error = client()
            .send(get(format!("http://{address}/")))
            .await
            .expect_err("no HTTP");
        assert!(
            matches!(&error, HttpError::Broken { .. }),
            "{answer:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn targets_without_a_host_are_refused() {
    let error = client().send(get("/path")).await.expect_err("no host");
    assert_eq!(kind(error), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_dropped_call_hangs_up() {
    let gone = Arc::new(AtomicBool::new(false));
    let (seen, hung_up) = tokio::sync::oneshot::channel();
    let seen = Arc::new(std::sync::Mutex::new(Some(seen)));
    let started = Arc::new(tokio::sync::Notify::new());
    let (gone_there, started_there) = (Arc::clone(&gone), Arc::clone(&started));
    let (address, _) = listen(move |mut stream| {
        let (gone, started) = (Arc::clone(&gone_there), Arc::clone(&started_there));
        let seen = Arc::clone(&seen);
        async move {
            head(&mut stream).await;
            started.notify_one();
            let rest = stream.read(&mut [0; 10]).await;
            gone.store(matches!(rest, Ok(0) | Err(_)), Ordering::SeqCst);
            let seen = seen.lock().expect("not poisoned").take();
            seen.expect("one connection").send(()).expect("awaited");
        }
    })
    .await;
    let client = client();
    let call = tokio::spawn(async move { client.send(get(format!("http://{address}/"))).await });
    started.notified().await;
    call.abort();
    hung_up.await.expect("the server goes on");
    assert!(gone.load(Ordering::SeqCst));
}
