//! From a response to what a store answers: errors by status, sizes and times from headers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, Response, StatusCode, response};

use super::{HttpBody, HttpError};
use crate::{ByteRange, CHUNK_SIZE, Error, ErrorKind, Operation, Result};

/// Most bytes of an answer that is no object: a page of a listing has about 1 MiB.
pub(crate) const MOST_TEXT: usize = 32 << 20;

/// Most bytes of an answer that says what went wrong.
const MOST_COMPLAINT: usize = 64 << 10;

/// Longest part of a service's own words that goes into an error.
const MOST_WORDS: usize = 300;

/// What a service says went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Its code, `SlowDown` for example.
    pub(crate) code: Option<String>,
    /// Its words.
    pub(crate) message: Option<String>,
}

/// The value of a header, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The value of a header, if it is a number.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// The size of the whole object: that of `Content-Range`, else of `Content-Length`.
fn whole_size(headers: &HeaderMap) -> Option<u64> {
    match text(headers, "content-range") {
        Some(range) => range.rsplit_once('/')?.1.trim().parse().ok(),
        None => number(headers, "content-length"),
    }
}

/// The size of the whole object of an answer that is to bring `range` of it.
///
/// Fails when the answer does not tell, or brings another part: a server may ignore ranges.
pub(crate) fn size_of_ranged(head: &response::Parts, range: ByteRange) -> Result<u64> {
    let Some(size) = whole_size(&head.headers) else {
        return Err(nonsense(Operation::Get, "the answer has no size"));
    };
    let start = range_start(&head.headers);
    // Without this status it is the whole object, whatever the headers say.
    let is_part = head.status == StatusCode::PARTIAL_CONTENT;
    if start != Some(range.offset) || (range.offset != 0 && !is_part) {
        let what = format!("asked for bytes from {}, got {start:?}", range.offset);
        return Err(nonsense(Operation::Get, what));
    }
    Ok(size)
}

/// Where the range of the answer begins: that of `Content-Range`, else 0.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    match text(headers, "content-range") {
        Some(range) => {
            let range = range.trim().strip_prefix("bytes")?.trim_start();
            range.split_once('-')?.0.trim().parse().ok()
        }
        None => Some(0),
    }
}

/// Unix milliseconds of `Last-Modified`, 0 when there is none.
pub(crate) fn last_modified(headers: &HeaderMap) -> i64 {
    text(headers, "last-modified").map_or(0, crate::moment::parse_http)
}

/// How long the service asks to wait; only the form in seconds is used in practice.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "retry-after").map(Duration::from_secs)
}

/// What a status means when nothing more is known.
pub(crate) fn kind_of(status: StatusCode, headers: &HeaderMap) -> ErrorKind {
    match status.as_u16() {
        404 | 410 => ErrorKind::NotFound,
        401 | 403 | 407 => ErrorKind::Denied,
        408 => ErrorKind::Timeout,
        412 => ErrorKind::PreconditionFailed,
        501 => ErrorKind::Unsupported,
        507 => ErrorKind::DiskFull,
        429 | 500..=599 => ErrorKind::Unavailable {
            retry_after: retry_after(headers),
        },
        _ => ErrorKind::Invalid,
    }
}

/// Reads the rest of a failed response; `read` finds the complaint in its body.
pub(crate) async fn failure(
    operation: Operation,
    response: Response<HttpBody>,
    read: impl FnOnce(&HeaderMap, &[u8]) -> Complaint,
) -> Error {
    let (head, body) = response.into_parts();
    // What cannot be read must not hide the status.
    let body = body
        .collect_at_most(MOST_COMPLAINT)
        .await
        .unwrap_or_default();
    let complaint = read(&head.headers, &body);
    let mut detail = format!("HTTP status {}", head.status.as_u16());
    if let Some(message) = complaint.message {
        let words: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
        detail.push_str(": ");
        detail.extend(words.chars().take(MOST_WORDS));
    }
    let error = Error::new(kind_of(head.status, &head.headers), operation).with_detail(detail);
    match complaint.code {
        Some(code) => error.with_code(code),
        None => error,
    }
}

/// The whole body of a response that holds no object.
pub(crate) async fn collect(operation: Operation, response: Response<HttpBody>) -> Result<Bytes> {
    let body = response.into_body().collect_at_most(MOST_TEXT).await;
    body.map_err(|error| error.into_error(operation))
}

/// The error of an answer that cannot be understood.
pub(crate) fn nonsense(operation: Operation, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, operation).with_detail(what.into())
}

/// The content of an object: exactly `len` bytes, in chunks of at most [`CHUNK_SIZE`].
///
/// `finish` completes errors with backend and key.
pub(crate) fn content(
    body: HttpBody,
    len: u64,
    finish: impl Fn(Error) -> Error + Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    let state = (body.into_stream(), Bytes::new(), len);
    stream::try_unfold(
        (state, finish),
        |((mut body, mut rest, left), finish)| async move {
            if rest.is_empty() {
                match body.next().await {
                    Some(Ok(chunk)) => rest = chunk,
                    Some(Err(error)) => return Err(finish(broken(error))),
                    None if left == 0 => return Ok(None),
                    None => {
                        let error = Error::new(ErrorKind::Io, Operation::Get);
                        let detail = format!("the body ended {left} bytes early");
                        return Err(finish(error.with_detail(detail)));
                    }
                }
            }
            let chunk = rest.split_to(rest.len().min(CHUNK_SIZE));
            let Some(left) = left.checked_sub(chunk.len() as u64) else {
                let what = "the body is longer than the range that was asked for";
                return Err(finish(nonsense(Operation::Get, what)));
            };
            Ok(Some((chunk, ((body, rest, left), finish))))
        },
    )
    .boxed()
}

fn broken(error: HttpError) -> Error {
    error.into_error(Operation::Get)
}
