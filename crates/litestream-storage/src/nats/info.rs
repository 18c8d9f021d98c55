//! The description of an object, as JSON in the message of its name.
//!
//! Invariant: what is not known is ignored, what is missing has a default, and nothing that a
//! description says is trusted before the bytes have shown it.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::stream::Stream;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::connect::{Bucket, service};
use crate::{Error, ErrorKind, Key, ObjectMeta, Operation, Result};

/// Header that holds the timestamp of an object.
const TIMESTAMP: &str = "Litestream-Timestamp";
/// The modification time in the JSON is not used by anybody: readers show when the message was
/// stored.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Info {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
    #[serde(default)]
    bucket: String,
    #[serde(default)]
    pub(super) nuid: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    mtime: String,
    #[serde(default)]
    chunks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_chunk_size: Option<u64>,
}

/// A description where it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) info: Info,
    /// Number of its message, which conditions are tied to.
    pub(super) sequence: u64,
    /// When the server stored it, in Unix milliseconds.
    pub(super) stored: i64,
}

impl Info {
    /// The description of a new object.
    pub(super) fn new(bucket: &Bucket, name: String, timestamp: Option<i64>) -> Self {
        let headers = timestamp
            .and_then(text)
            .map(|text| BTreeMap::from([(TIMESTAMP.to_owned(), vec![text])]));
        Self {
            name,
            headers,
            options: Some(Options {
                link: None,
                max_chunk_size: Some(bucket.chunk as u64),
            }),
            bucket: bucket.name.clone(),
            nuid: nuid::next().to_string(),
            size: 0,
            mtime: NO_TIME.to_owned(),
            chunks: 0,
            digest: None,
            deleted: false,
        }
    }

    /// Completes it when everything is stored.
    pub(super) fn complete(&mut self, size: u64, chunks: u64, digest: &[u8]) {
        self.size = size;
        self.chunks = chunks;
        self.digest = Some(digest_text(digest));
    }

    /// The mark that stays of a deleted object.
    pub(super) fn into_deleted(self) -> Self {
        Self {
            size: 0,
            chunks: 0,
            digest: None,
            deleted: true,
            mtime: NO_TIME.to_owned(),
            ..self
        }
    }

    /// Whether there is an object: neither a mark of a deleted one nor a link.
    pub(super) fn is_object(&self) -> bool {
        let link = self
            .options
            .as_ref()
            .and_then(|options| options.link.as_ref());
        !self.deleted && link.is_none()
    }

    fn timestamp(&self) -> Option<i64> {
        let headers = self.headers.as_ref()?;
        // Names of headers differ in case only between clients.
        let (_, values) = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(TIMESTAMP))?;
        let time = OffsetDateTime::parse(values.first()?, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
    }
}

impl Found {
    pub(super) fn meta(&self, key: Key) -> ObjectMeta {
        ObjectMeta {
            key,
            size: self.info.size,
            modified: self.stored,
            timestamp: self.info.timestamp(),
            etag: Some(self.info.nuid.clone()),
        }
    }
}

/// The form of a digest in a description.
pub(super) fn digest_text(digest: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(digest))
}

/// Unix milliseconds as RFC 3339, the fraction as short as it goes.
fn text(ms: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    time.format(&Rfc3339).ok()
}

pub(super) fn ms(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default()
}

impl Bucket {
    /// The subject that holds the description of the object `name`.
    pub(super) fn subject(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.name, URL_SAFE.encode(name))
    }

    /// The subject that holds the chunks of the version `nuid`.
    pub(super) fn chunks(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.name)
    }

    /// The last description of `name`, be it the mark of a deleted object.
    pub(super) async fn last(&self, operation: Operation, name: &str) -> Result<Option<Found>> {
        let stream: &Stream = &self.stream;
        let message = match stream
            .get_last_raw_message_by_subject(&self.subject(name))
            .await
        {
            Ok(message) => message,
            Err(source) => {
                let kind = match source.kind() {
                    LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                    LastRawMessageErrorKind::JetStream(error) => service(error.error_code()),
                    LastRawMessageErrorKind::InvalidSubject => ErrorKind::Invalid,
                    // No answer: the time is over, or the server is gone for now.
                    LastRawMessageErrorKind::Other => ErrorKind::Unavailable { retry_after: None },
                };
                return Err(Error::new(kind, operation)
                    .with_detail(format!("look up {name:?}"))
                    .with_source(source));
            }
        };
        let info = parse(operation, name, &message.payload)?;
        Ok(Some(Found {
            info,
            sequence: message.sequence,
            stored: ms(message.time),
        }))
    }
}

/// Reads a description; `name` is for its error.
pub(super) fn parse(operation: Operation, name: &str, json: &[u8]) -> Result<Info> {
    serde_json::from_slice(json).map_err(|source| {
        Error::new(ErrorKind::Corrupt, operation)
            .with_detail(format!(
                "the description of {name:?} is not what it should be"
            ))
            .with_source(source)
    })
}

#[cfg(test)]
mod tests {
    use super::{Info, parse, text};
    use crate::Operation;

    fn info(json: &str) -> Info {
        parse(Operation::Get, "name", json.as_bytes()).expect(json)
    }

    #[test]
    fn times_are_written_as_the_reference_does() {
        let pairs = [
            (1_795_321_727_800, "2026-11-22T04:28:47.8Z"),
            (1_795_322_085_030, "2026-11-22T04:34:45.03Z"),
            (1_795_321_625_345, "2026-11-22T04:27:05.345Z"),
            (1_795_321_730_000, "2026-11-22T04:28:50Z"),
        ];
        for (ms, expected) in pairs {
            assert_eq!(text(ms).as_deref(), Some(expected));
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        let pairs = [
            ("2026-11-22T04:28:47.8Z", Some(1_795_321_727_800)),
            (
                "2026-11-22T05:28:47.800000001+01:00",
                Some(1_795_321_727_800),
            ),
            ("2026-11-22T04:28:50Z", Some(1_795_321_730_000)),
            ("yesterday", None),
        ];
        for (text, expected) in pairs {
            let json = format!(r#"{{"name":"n","headers":{{"litestream-timestamp":["{text}"]}}}}"#);
            assert_eq!(info(&json).timestamp(), expected, "{text}");
        }
        assert_eq!(info(r#"{"name":"n"}"#).timestamp(), None);
        assert_eq!(info(r#"{"name":"n","headers":null}"#).timestamp(), None);
    }

    #[test]
    fn marks_and_links_are_no_objects() {
        assert!(info(r#"{"name":"n","nuid":"x"}"#).is_object());
        assert!(!info(r#"{"name":"n","deleted":true}"#).is_object());
        let link = r#"{"name":"n","options":{"link":{"bucket":"b","name":"o"}}}"#;
        assert!(!info(link).is_object());
    }

    #[test]
    fn broken_descriptions_are_errors() {
        for json in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"name":1}"#,
            r#"{"name":"n","size":-1}"#,
        ] {
            parse(Operation::List, "name", json.as_bytes()).expect_err(json);
        }
    }
}
