//! Get and head.
//!
//! Invariant: a body has exactly the bytes of the range that lie in the object, or ends with an
//! error; a service that ignores the range costs time, not correctness.

use std::collections::HashMap;
use std::pin::Pin;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat, SdkBody};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body::Body as _;

use super::error::named;
use super::{S3Store, TIMESTAMP, with_customer_key};
use crate::http::HttpError;
use crate::{ByteRange, CHUNK_SIZE, Error, ErrorKind, Key, Object, ObjectMeta, Operation, Result};

impl S3Store {
    pub(super) async fn open(&self, key: Key, range: ByteRange) -> Result<Object> {
        if range.len == Some(0) {
            let meta = self.metadata(&key, Operation::Get).await?;
            return Ok(empty(meta));
        }
        let client = self.client(Operation::Get, Some(&key)).await?;
        let request = client
            .get_object()
            .bucket(&self.settings.bucket)
            .key(self.name(&key))
            .set_range(header(range));
        let answer = match with_customer_key!(request, self.settings).send().await {
            Ok(answer) => answer,
            Err(failure) => {
                let behind_the_end = matches!(&failure, aws_sdk_s3::error::SdkError::ServiceError(refused)
                        if refused.raw().status().as_u16() == 416);
                if behind_the_end {
                    let meta = self.metadata(&key, Operation::Get).await?;
                    return Ok(empty(meta));
                }
                return Err(self.failed(failure, Operation::Get, Some(&key)));
            }
        };
        let length = answer
            .content_length()
            .and_then(|len| u64::try_from(len).ok());
        let found = answer.content_range().and_then(Found::parse);
        let (size, skip) = match (found, length) {
            (Some(found), _) if found.first == range.offset => (found.size, 0),
            // The whole object: nothing else was asked for, or the range was ignored.
            (None, Some(size)) => (size, range.offset),
            _ => {
                let text = answer.content_range().unwrap_or("no length");
                let detail = format!("asked for {range:?}, got {text}");
                return Err(corrupt(&key, detail));
            }
        };
        self.ranges
            .answered(range, size, answer.content_range().is_some());
        let meta = ObjectMeta {
            key: key.clone(),
            size,
            modified: millis(answer.last_modified()),
            timestamp: timestamp(answer.metadata()),
            etag: answer.e_tag().map(etag),
        };
        let reading = Reading {
            body: answer.body.into_inner(),
            key,
            skip: skip.min(size),
            left: range.len_in(size),
            rest: Bytes::new(),
        };
        let body = stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Object {
            meta,
            body: body.boxed(),
        })
    }

    pub(super) async fn look(&self, key: Key) -> Result<ObjectMeta> {
        self.metadata(&key, Operation::Head).await
    }

    /// The metadata of an object, on behalf of `operation`.
    pub(super) async fn metadata(&self, key: &Key, operation: Operation) -> Result<ObjectMeta> {
        let client = self.client(operation, Some(key)).await?;
        let request = client
            .head_object()
            .bucket(&self.settings.bucket)
            .key(self.name(key));
        let answer = with_customer_key!(request, self.settings)
            .send()
            .await
            .map_err(|failure| self.failed(failure, operation, Some(key)))?;
        let size = answer
            .content_length()
            .and_then(|len| u64::try_from(len).ok());
        Ok(ObjectMeta {
            key: key.clone(),
            size: size.ok_or_else(|| corrupt(key, "no length".to_owned()))?,
            modified: millis(answer.last_modified()),
            timestamp: timestamp(answer.metadata()),
            etag: answer.e_tag().map(etag),
        })
    }
}

fn corrupt(key: &Key, detail: String) -> Error {
    let error = Error::new(ErrorKind::Corrupt, Operation::Get).with_detail(detail);
    named(error, Some(key))
}

fn empty(meta: ObjectMeta) -> Object {
    Object {
        meta,
        body: stream::empty().boxed(),
    }
}

/// The header of a range; none for the whole object, which may be empty and then has no range.
fn header(range: ByteRange) -> Option<String> {
    // Services read it as a signed number; what they send too much is cut off here.
    let end = range
        .len
        .and_then(|len| range.offset.checked_add(len))
        .filter(|end| i64::try_from(*end).is_ok());
    match (range.offset, end) {
        (0, None) => None,
        (offset, None) => Some(format!("bytes={offset}-")),
        (offset, Some(end)) => Some(format!("bytes={offset}-{}", end.saturating_sub(1))),
    }
}

/// What part of the object an answer holds.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    first: u64,
    size: u64,
}

impl Found {
    /// From `bytes FIRST-LAST/SIZE`.
    fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some(Self {
            first: first.parse().ok()?,
            size: size.parse().ok()?,
        })
    }
}

/// A body on its way.
struct Reading {
    body: SdkBody,
    key: Key,
    /// Bytes before the range, sent by a service that ignores ranges.
    skip: u64,
    left: u64,
    /// What came and is not handed out yet.
    rest: Bytes,
}

impl Reading {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.left > 0 {
            if self.rest.is_empty() {
                self.rest = self.receive().await?;
                let skip = self.skip.min(self.rest.len() as u64);
                let _skipped = self.rest.split_to(skip as usize);
                self.skip -= skip;
                if self.rest.is_empty() && skip > 0 {
                    // However much there is to pass over, it does not stand still.
                    return Ok(Some(Bytes::new()));
                }
                continue;
            }
            let most = self.left.min(CHUNK_SIZE as u64) as usize;
            let chunk = self.rest.split_to(self.rest.len().min(most));
            self.left -= chunk.len() as u64;
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Bytes> {
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match next {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(data);
                    }
                }
                Some(Err(error)) => {
                    let error = match error.downcast::<HttpError>() {
                        Ok(http) => http.into_error(Operation::Get),
                        Err(error) => Error::new(ErrorKind::Io, Operation::Get).with_source(error),
                    };
                    return Err(named(error, Some(&self.key)));
                }
                None => {
                    let detail = format!("the body ended {} bytes early", self.left);
                    let error = Error::new(ErrorKind::Io, Operation::Get).with_detail(detail);
                    return Err(named(error, Some(&self.key)));
                }
            }
        }
    }
}

/// Unix milliseconds of a time that the service gave; without one, the epoch.
pub(super) fn millis(time: Option<&DateTime>) -> i64 {
    time.and_then(|time| time.to_millis().ok()).unwrap_or(0)
}

/// The version of an object, always in quotes: some services leave them out now and then.
pub(super) fn etag(text: &str) -> String {
    if text.ends_with('"') {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

/// The timestamp in the metadata of an object; one that cannot be read counts as none.
fn timestamp(metadata: Option<&HashMap<String, String>>) -> Option<i64> {
    let text = metadata?.get(TIMESTAMP)?;
    let time = DateTime::from_str(text, DateTimeFormat::DateTimeWithOffset).ok()?;
    time.to_millis().ok()
}

/// The text of a timestamp: RFC 3339 in UTC, without zeros at the end of the fraction.
pub(super) fn timestamp_text(millis: i64) -> Option<String> {
    let time = DateTime::from_millis(millis);
    time.fmt(DateTimeFormat::DateTime).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Found, etag, header, timestamp, timestamp_text};
    use crate::ByteRange;

    #[test]
    fn ranges_as_the_service_wants_them() {
        assert_eq!(header(ByteRange::ALL), None);
        assert_eq!(header(ByteRange::from(5)).as_deref(), Some("bytes=5-"));
        assert_eq!(header(ByteRange::new(0, 1)).as_deref(), Some("bytes=0-0"));
        assert_eq!(header(ByteRange::new(5, 10)).as_deref(), Some("bytes=5-14"));
        let endless = ByteRange::new(5, u64::MAX);
        assert_eq!(header(endless).as_deref(), Some("bytes=5-"));
        let found = Found::parse("bytes 5-14/100");
        assert_eq!(
            found,
            Some(Found {
                first: 5,
                size: 100
            })
        );
        assert_eq!(Found::parse("bytes */100"), None);
    }

    #[test]
    fn etags_have_quotes() {
        for text in ["\"abc\"", "abc"] {
            assert_eq!(etag(text), "\"abc\"");
        }
        assert_eq!(etag("W/\"abc\""), "W/\"abc\"");
    }

    #[test]
    fn timestamps_are_those_of_existing_replicas() {
        for (millis, text) in [
            (1_795_321_727_800, "2026-11-22T04:28:47.8Z"),
            (1_795_321_730_000, "2026-11-22T04:28:50Z"),
            (1_795_321_625_345, "2026-11-22T04:27:05.345Z"),
        ] {
            assert_eq!(timestamp_text(millis).as_deref(), Some(text));
            let metadata = HashMap::from([("litestream-timestamp".to_owned(), text.to_owned())]);
            assert_eq!(timestamp(Some(&metadata)), Some(millis));
        }
        for (text, millis) in [
            ("2026-11-22T06:28:47.8+02:00", Some(1_795_321_727_800)),
            ("2026-11-22T04:28:47.800123456Z", Some(1_795_321_727_800)),
            ("yesterday", None),
        ] {
            let metadata = HashMap::from([("litestream-timestamp".to_owned(), text.to_owned())]);
            assert_eq!(timestamp(Some(&metadata)), millis, "{text}");
        }
    }
}
