//! Answers as bytes, and exchanges with a listener in the same process.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::http::{Response, parse_response};
use super::*;

#[test]
fn bodies_have_a_length_chunks_or_an_end() {
    for (bytes, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            "{}",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n{}", "{}"),
    ] {
        let expected = Response {
            status: 200,
            body: body.into(),
        };
        assert_eq!(parse_response(bytes.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn damaged_answers_are_errors() {
    for bytes in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
    ] {
        let error = parse_response(bytes.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ExchangeError::Malformed(_)),
            "{bytes}: {error}"
        );
    }
}

/// Answers one request with `answer` and returns what was asked.
fn asked(
    answer: &'static str,
    call: impl FnOnce(&Client) -> Result<StateChange, ControlError>,
) -> (String, Result<StateChange, ControlError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut buffer = [0; 1024];
        while !text.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(text).unwrap()
    });
    let client = Client {
        socket: path.to_string_lossy().into_owned(),
        limit: Limit::None,
    };
    let result = call(&client);
    (server.join().unwrap(), result)
}

fn start(client: &Client) -> Result<StateChange, ControlError> {
    client.call(
        "start",
        "/start",
        Some(&serde_json::json!({"path": "a", "timeout": 30})),
    )
}

#[test]
fn a_call_posts_json_and_reads_the_answer() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{\"status\":\"started\",\"txid\":7,\"new\":1}\n";
    let (request, result) = asked(answer, start);
    assert!(request.starts_with("POST /start HTTP/1.1\r\n"), "{request}");
    assert!(
        request.ends_with("\r\n\r\n{\"path\":\"a\",\"timeout\":30}"),
        "{request}"
    );
    let change = result.unwrap();
    assert_eq!((change.status.as_str(), change.txid), ("started", 7));
}

#[test]
fn a_refusal_shows_the_daemons_text() {
    for (answer, message) in [
        (
            "HTTP/1.1 500 X\r\n\r\n{\"error\":\"boom\"}",
            "start failed: boom",
        ),
        (
            "HTTP/1.1 404 X\r\n\r\nplain text\n",
            "start failed: plain text\n",
        ),
        (
            "HTTP/1.1 400 X\r\n\r\n{\"error\":\"\"}",
            "start failed: {\"error\":\"\"}",
        ),
        (
            "",
            "failed to connect to control socket: Post \"http://localhost/start\": EOF",
        ),
    ] {
        let (_, result) = asked(answer, start);
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}

#[test]
fn without_listener_the_cause_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none").to_string_lossy().into_owned();
    let client = Client {
        socket: socket.clone(),
        limit: Limit::Within(Duration::from_secs(5)),
    };
    assert_eq!(
        start(&client).unwrap_err().to_string(),
        format!(
            "failed to connect to control socket: Post \"http://localhost/start\": \
             dial unix {socket}: connect: no such file or directory"
        )
    );
    let over = Client {
        limit: Limit::Over,
        ..client
    };
    assert!(
        start(&over)
            .unwrap_err()
            .to_string()
            .ends_with("i/o timeout")
    );
}

#[test]
fn a_silent_daemon_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let limit = Limit::Within(Duration::from_millis(50));
    let client = Client {
        socket: path.to_string_lossy().into_owned(),
        limit,
    };
    let message = start(&client).unwrap_err().to_string();
    assert!(message.contains("context deadline exceeded"), "{message}");
}
