//! One HTTP/1.1 request over a Unix socket, within a time limit.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use super::Limit;
use crate::os_error;

/// An answer larger than this is refused.
const MAX_RESPONSE: u64 = 64 << 20;

/// A request: `POST` when there is a body, else `GET`.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path of the endpoint.
    pub path: &'static str,
    /// JSON.
    pub body: Option<String>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The socket path is empty.
    #[error("dial unix: missing address")]
    NoAddress,
    /// Nobody listens.
    #[error("dial unix {socket}: connect: {cause}")]
    Connect {
        /// The socket.
        socket: String,
        /// The system's reason.
        cause: String,
    },
    /// The time limit was over before the connection stood.
    #[error("dial unix {0}: i/o timeout")]
    TimeoutConnecting(String),
    /// The time limit was over before the answer came.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    TimeoutWaiting,
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// The daemon closed the connection without an answer.
    #[error("EOF")]
    Closed,
    /// The answer is no HTTP.
    #[error("malformed HTTP response: {0}")]
    Malformed(String),
}

/// Sends a request and waits for the answer, at most as long as `limit` says.
///
/// The exchange runs on its own thread: connecting to a Unix socket whose queue is full blocks
/// without a limit of its own. The thread ends with the process.
pub(super) fn exchange(
    socket: &str,
    limit: Limit,
    request: Request,
) -> Result<Response, ExchangeError> {
    if socket.is_empty() {
        return Err(ExchangeError::NoAddress);
    }
    if limit == Limit::Over {
        return Err(ExchangeError::TimeoutConnecting(socket.to_owned()));
    }
    let (connected, is_connected) = mpsc::channel();
    let (done, result) = mpsc::channel();
    let path = socket.to_owned();
    std::thread::spawn(move || {
        let outcome = connect(&path).and_then(|stream| {
            // The receiver is gone when the time limit is over.
            let _ = connected.send(());
            converse(stream, &request)
        });
        let _ = done.send(outcome);
    });
    let received = match limit {
        Limit::Within(limit) => result.recv_timeout(limit).map_err(|_| ()),
        _ => result.recv().map_err(|_| ()),
    };
    received.unwrap_or_else(|()| {
        Err(if is_connected.try_recv().is_ok() {
            ExchangeError::TimeoutWaiting
        } else {
            ExchangeError::TimeoutConnecting(socket.to_owned())
        })
    })
}

fn connect(socket: &str) -> Result<UnixStream, ExchangeError> {
    UnixStream::connect(socket).map_err(|error| ExchangeError::Connect {
        socket: socket.to_owned(),
        cause: match error.kind() {
            std::io::ErrorKind::InvalidInput => "invalid argument".into(),
            _ => os_error::cause(&error),
        },
    })
}

fn converse(mut stream: UnixStream, request: &Request) -> Result<Response, ExchangeError> {
    let broken = |error: std::io::Error| ExchangeError::Broken(os_error::cause(&error));
    let path = request.path;
    let head = match &request.body {
        None => format!("GET {path} HTTP/1.1\r\n"),
        Some(body) => format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    let body = request.body.as_deref().unwrap_or_default();
    let text = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).map_err(broken)?;
    let mut bytes = Vec::new();
    stream
        .take(MAX_RESPONSE)
        .read_to_end(&mut bytes)
        .map_err(broken)?;
    if bytes.is_empty() {
        return Err(ExchangeError::Closed);
    }
    parse_response(&bytes)
}

/// Splits a whole answer into status and body.
pub(super) fn parse_response(bytes: &[u8]) -> Result<Response, ExchangeError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let malformed = |cause: &str| ExchangeError::Malformed(cause.to_owned());
    let parsed = response
        .parse(bytes)
        .map_err(|error| malformed(&error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else {
        return Err(malformed("headers cut off"));
    };
    let status = response.code.ok_or_else(|| malformed("no status"))?;
    let header = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let rest = &bytes[head..];
    let body = if header("Transfer-Encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        unchunk(rest).ok_or_else(|| malformed("chunks cut off"))?
    } else if let Some(length) = header("Content-Length") {
        let length: usize = length
            .trim()
            .parse()
            .map_err(|_| malformed("Content-Length"))?;
        rest.get(..length)
            .ok_or_else(|| malformed("body cut off"))?
            .to_vec()
    } else {
        rest.to_vec()
    };
    Ok(Response { status, body })
}

/// Joins the chunks of a body; `None` when they are damaged.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((head, length)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return None;
        };
        if length == 0 {
            return Some(body);
        }
        let end = head.checked_add(usize::try_from(length).ok()?)?;
        body.extend_from_slice(rest.get(head..end)?);
        rest = rest.get(end..)?.strip_prefix(b"\r\n")?;
    }
}
