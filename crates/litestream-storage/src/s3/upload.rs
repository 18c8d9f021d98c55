//! Put: one request for what fits into a part, a multipart upload for the rest.
//!
//! Invariant: no more than `concurrency + 1` parts of one body are in memory.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;

use super::error::named;
use super::read::{etag as etag_of, timestamp_text};
use super::{S3Store, TIMESTAMP, with_customer_key};
use crate::{Body, Condition, Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result};

/// Most parts that an upload may have.
pub(super) const MAX_PARTS: u64 = 10_000;

impl S3Store {
    pub(super) async fn upload(
        &self,
        key: Key,
        body: Body,
        options: PutOptions,
    ) -> Result<ObjectMeta> {
        // The wrapper cannot send a stream again; what of it is in memory can be sent from here. With
        // a condition it would not be known who fulfilled it first.
        let once_only = matches!(body, Body::Stream(_)) && options.condition == Condition::None;
        let expected = body.size().or(options.size_hint);
        let part_size = part_size(self.settings.part_size, expected);
        let mut parts = Parts::new(body.into_stream(), part_size);
        let first = parts
            .next()
            .await
            .map_err(|error| named(error, Some(&key)))?
            .unwrap_or_default();
        if parts.is_over() && once_only {
            let call = || self.put_whole(&key, first.clone(), &options);
            self.retrying.persist(call).await
        } else if parts.is_over() {
            self.put_whole(&key, first, &options).await
        } else {
            self.put_parts(&key, first, parts, &options).await
        }
    }

    async fn put_whole(
        &self,
        key: &Key,
        content: Bytes,
        options: &PutOptions,
    ) -> Result<ObjectMeta> {
        let client = self.client(Operation::Put, Some(key)).await?;
        let size = content.len() as u64;
        let settings = &self.settings;
        let (absent, matching) = condition(&options.condition);
        let request = client
            .put_object()
            .bucket(&settings.bucket)
            .key(self.name(key))
            .content_type("application/octet-stream")
            .set_metadata(metadata(options))
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(
                settings
                    .encryption
                    .kms_key()
                    .map(|_| ServerSideEncryption::AwsKms),
            )
            .set_ssekms_key_id(settings.encryption.kms_key().map(str::to_owned))
            .set_if_none_match(absent)
            .set_if_match(matching)
            .body(ByteStream::from(content));
        let answer = with_customer_key!(request, settings)
            .send()
            .await
            .map_err(|failure| {
                let error = self.failed(failure, Operation::Put, Some(key));
                refused(error, &options.condition)
            })?;
        self.stored(key, size, answer.e_tag(), options)
    }

    /// What was stored, once the service has said so.
    pub(super) fn stored(
        &self,
        key: &Key,
        size: u64,
        etag: Option<&str>,
        options: &PutOptions,
    ) -> Result<ObjectMeta> {
        let Some(etag) = etag.map(etag_of) else {
            let error = Error::new(ErrorKind::Io, Operation::Put);
            let error = error.with_detail("upload failed: no ETag returned");
            return Err(named(error, Some(key)));
        };
        Ok(ObjectMeta {
            key: key.clone(),
            size,
            modified: self.retrying.clock.now_ms(),
            timestamp: options.timestamp,
            etag: Some(etag),
        })
    }
}

/// The metadata of a new object.
pub(super) fn metadata(options: &PutOptions) -> Option<std::collections::HashMap<String, String>> {
    let text = timestamp_text(options.timestamp?)?;
    Some([(TIMESTAMP.to_owned(), text)].into())
}

/// The headers of a condition: `If-None-Match` and `If-Match`.
pub(super) fn condition(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::None => (None, None),
        Condition::IfAbsent => (Some("*".to_owned()), None),
        Condition::IfMatch(etag) => (None, Some(etag.clone())),
    }
}

/// The kind of a refusal depends on what was asked for.
pub(super) fn refused(error: Error, condition: &Condition) -> Error {
    match (condition, error.kind()) {
        (Condition::IfAbsent, ErrorKind::PreconditionFailed) => {
            error.with_kind(ErrorKind::AlreadyExists)
        }
        // There is no version to match.
        (Condition::IfMatch(_), ErrorKind::NotFound) => {
            error.with_kind(ErrorKind::PreconditionFailed)
        }
        // Answered to a put, it is about the bucket.
        (Condition::None | Condition::IfAbsent, ErrorKind::NotFound) => {
            error.with_kind(ErrorKind::Invalid)
        }
        _ => error,
    }
}

/// The size of the parts of a body that is `expected` bytes long: the configured one, unless that
/// made too many parts.
fn part_size(configured: u64, expected: Option<u64>) -> u64 {
    let least = expected.map_or(0, |size| size.div_ceil(MAX_PARTS));
    configured.max(least)
}

/// A body, cut into parts.
pub(super) struct Parts {
    source: BoxStream<'static, Result<Bytes>>,
    size: usize,
    kept: Vec<Bytes>,
    kept_len: usize,
    ended: bool,
}

impl Parts {
    pub(super) fn new(source: BoxStream<'static, Result<Bytes>>, size: u64) -> Self {
        Self {
            source,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            kept: Vec::new(),
            kept_len: 0,
            ended: false,
        }
    }

    /// The next part; only the last one is shorter than the others.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        // One byte more than a part tells that it is not the last.
        while !self.ended && self.kept_len <= self.size {
            match self.source.try_next().await? {
                Some(chunk) => {
                    self.kept_len += chunk.len();
                    self.kept.push(chunk);
                }
                None => self.ended = true,
            }
        }
        if self.kept_len == 0 {
            return Ok(None);
        }
        let len = self.kept_len.min(self.size);
        self.kept_len -= len;
        Ok(Some(take(&mut self.kept, len)))
    }

    /// Whether there is no further part.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.kept_len == 0
    }
}

/// Takes `len` bytes off the front of `chunks`, without copying when they are in one piece.
fn take(chunks: &mut Vec<Bytes>, len: usize) -> Bytes {
    if let [whole] = chunks.as_slice()
        && whole.len() == len
    {
        return chunks.pop().unwrap_or_default();
    }
    let mut part = BytesMut::with_capacity(len);
    let mut used = 0;
    for chunk in chunks.iter_mut() {
        let piece = chunk.split_to(chunk.len().min(len - part.len()));
        part.extend_from_slice(&piece);
        if !chunk.is_empty() {
            break;
        }
        used += 1;
    }
    chunks.drain(..used);
    part.freeze()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt as _, StreamExt as _, stream};

    use super::{Parts, part_size};
    use crate::Result;

    fn cut(chunks: &[&'static str], size: u64) -> Vec<String> {
        let source: Vec<Result<Bytes>> = chunks.iter().map(|text| Ok(Bytes::from(*text))).collect();
        let mut parts = Parts::new(stream::iter(source).boxed(), size);
        let mut found = Vec::new();
        loop {
            let next = parts.next().now_or_never().expect("all is there");
            let Some(part) = next.expect("readable") else {
                break;
            };
            found.push(String::from_utf8(part.to_vec()).expect("text"));
            if parts.is_over() {
                break;
            }
        }
        found
    }

    #[test]
    fn parts_have_one_size_but_the_last() {
        assert_eq!(cut(&[], 4), Vec::<String>::new());
        assert_eq!(cut(&["abc"], 4), ["abc"]);
        assert_eq!(cut(&["abcd"], 4), ["abcd"]);
        assert_eq!(cut(&["abcde"], 4), ["abcd", "e"]);
        assert_eq!(
            cut(&["a", "", "bc", "defgh", "i"], 4),
            ["abcd", "efgh", "i"]
        );
        assert_eq!(cut(&["abcdefghijkl"], 4), ["abcd", "efgh", "ijkl"]);
    }

    #[test]
    fn parts_grow_with_what_is_expected() {
        const MIB: u64 = 1 << 20;
        assert_eq!(part_size(5 * MIB, None), 5 * MIB);
        assert_eq!(part_size(5 * MIB, Some(50_000 * MIB)), 5 * MIB);
        assert_eq!(part_size(5 * MIB, Some(100_000 * MIB)), 10 * MIB);
    }
}
