//! Uploads: one request for what fits into one part, else parts and their completion.
//!
//! Invariant: the completion, which makes the object appear, is sent only when the whole body was
//! read without error and every part is stored. Otherwise the upload is aborted, also when it is
//! dropped, so that no parts are left to be paid for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::stream::{self, TryStreamExt as _};
use http::{HeaderMap, Method};

use super::TIMESTAMP;
use super::service::{Plain, Service, tree};
use crate::http::reply::{self, nonsense};
use crate::moment::rfc3339;
use crate::parts::{Part, Parts};
use crate::{
    Body, Condition, Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result,
    encode_component,
};

/// Most parts of one object.
const MOST_PARTS: u64 = 10_000;

/// Least bytes of a part but the last.
const LEAST_PART: u64 = 100 << 10;

/// Header with the checksum of a whole object.
const CRC64: &str = "x-oss-hash-crc64ecma";

/// Uploads `body` as `key`.
pub(super) async fn put(
    service: &Arc<Service>,
    key: &Key,
    body: Body,
    options: &PutOptions,
) -> Result<ObjectMeta> {
    if options.condition != Condition::None {
        let what = format!("put on the condition {:?}", options.condition);
        return Err(Error::new(ErrorKind::Unsupported, Operation::Put).with_detail(what));
    }
    let upload = Upload {
        service,
        key,
        options,
        crc: Mutex::new(Digest::new(CrcAlgorithm::Crc64Xz)),
        size: AtomicU64::new(0),
    };
    // The wrapper cannot send a stream again; what of it is in memory can be sent from here.
    let once_only = matches!(body, Body::Stream(_));
    let known = body.size().or(options.size_hint).unwrap_or(0);
    let part_size = service
        .settings
        .part_size
        .max(known.div_ceil(MOST_PARTS))
        .max(LEAST_PART);
    let part_size = usize::try_from(part_size).unwrap_or(usize::MAX / 2);
    let mut parts = Parts::new(body);
    let first = parts.next(part_size).await?;
    upload.count(&first.data);
    if first.is_last && once_only {
        let retrying = &service.retrying;
        return retrying.persist(|| upload.whole(&first.data)).await;
    }
    if first.is_last {
        return upload.whole(&first.data).await;
    }
    upload.in_parts(first, parts, part_size).await
}

struct Upload<'a> {
    service: &'a Arc<Service>,
    key: &'a Key,
    options: &'a PutOptions,
    /// Of what was read so far.
    crc: Mutex<Digest>,
    size: AtomicU64,
}

impl Upload<'_> {
    fn count(&self, data: &[u8]) {
        self.crc.lock().expect("never held in a panic").update(data);
        self.size.fetch_add(data.len() as u64, Ordering::Relaxed);
    }

    /// Bytes read so far.
    fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Checksum of what was read so far.
    fn checksum(&self) -> u64 {
        self.crc.lock().expect("never held in a panic").finalize()
    }

    fn described(&self, request: Plain) -> Plain {
        let request = request.header("content-type", "application/octet-stream");
        match self.options.timestamp {
            Some(timestamp) => request.header(TIMESTAMP, &rfc3339(timestamp)),
            None => request,
        }
    }

    async fn whole(&self, content: &Bytes) -> Result<ObjectMeta> {
        let request = self.service.object(Method::PUT, self.key, "");
        let request = self.described(request).body(content.clone());
        let response = self.service.send(Operation::Put, request).await;
        let response = response.map_err(|error| match error.kind() {
            // It is the bucket.
            ErrorKind::NotFound => error.with_kind(ErrorKind::Invalid),
            _ => error,
        })?;
        let etag = reply::text(response.headers(), "etag").map(str::to_owned);
        self.stored(response.headers(), etag)
    }

    /// The object as the service got it, which must be as we read it.
    fn stored(&self, headers: &HeaderMap, etag: Option<String>) -> Result<ObjectMeta> {
        let etag = etag.filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| nonsense(Operation::Put, "the answer has no ETag"))?;
        let ours = self.checksum();
        if let Some(theirs) = reply::number(headers, CRC64)
            && theirs != ours
        {
            return Err(Error::new(ErrorKind::Corrupt, Operation::Put)
                .with_detail(format!("CRC64: sent {ours}, stored {theirs}")));
        }
        Ok(ObjectMeta {
            key: self.key.clone(),
            size: self.size(),
            modified: reply::text(headers, "date").map_or(0, crate::moment::parse_http),
            timestamp: self.options.timestamp,
            etag: Some(etag),
        })
    }

    /// Sends parts, some at a time, and completes the upload; aborts it when something fails.
    async fn in_parts(&self, first: Part, parts: Parts, part_size: usize) -> Result<ObjectMeta> {
        let begun = self.service.retrying.persist(|| {
            let begin = self.service.object(Method::POST, self.key, "uploads");
            self.service.ask(Operation::Put, self.described(begin))
        });
        let tree = begun.await?;
        let Some(id) = tree.text_of("UploadId").filter(|id| !id.is_empty()) else {
            return Err(nonsense(Operation::Put, "the answer has no UploadId"));
        };
        let mut begun = Begun {
            service: Arc::clone(self.service),
            key: self.key.clone(),
            upload: format!("uploadId={}", encode_component(id)),
            is_over: false,
        };
        let sent = self.send_parts(&begun.upload, first, parts, part_size);
        let result = sent.await;
        // Somebody else completed or aborted the upload; the whole may be sent anew.
        let result = result.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_kind(ErrorKind::Io),
            _ => error,
        });
        match &result {
            Ok(_) => begun.is_over = true,
            // Waited for, so that a process that ends with this error leaves nothing behind.
            Err(_) => begun.abort().await,
        }
        result
    }

    async fn send_parts(
        &self,
        upload: &str,
        first: Part,
        parts: Parts,
        part_size: usize,
    ) -> Result<ObjectMeta> {
        let next_number = AtomicU32::new(1);
        let etags = Mutex::new(Vec::new());
        let state = Some((Some(first), parts));
        let numbered = stream::try_unfold(state, |state| async {
            let Some((part, mut parts)) = state else {
                return Ok::<_, Error>(None);
            };
            let part = if let Some(first) = part {
                first
            } else {
                let part = parts.next(part_size).await?;
                self.count(&part.data);
                part
            };
            let number = next_number.fetch_add(1, Ordering::Relaxed);
            let next = (!part.is_last).then_some((None, parts));
            Ok(Some(((number, part.data), next)))
        });
        let etags_there = &etags;
        numbered
            .try_for_each_concurrent(
                self.service.settings.concurrency.max(1),
                |(number, data)| async move {
                    let etag = self.send_part(upload, number, data).await?;
                    let mut etags = etags_there.lock().expect("never held in a panic");
                    etags.push((number, etag));
                    Ok(())
                },
            )
            .await?;
        let mut etags = etags.into_inner().expect("never held in a panic");
        etags.sort_unstable();
        self.complete(upload, &etags).await
    }

    /// Sends a part, again if need be.
    async fn send_part(&self, upload: &str, number: u32, data: Bytes) -> Result<String> {
        let query = format!("partNumber={number}&{upload}");
        let sent = self.service.retrying.persist(|| {
            let request = self.service.object(Method::PUT, self.key, &query);
            self.service
                .send(Operation::Put, request.body(data.clone()))
        });
        let response = sent.await?;
        let etag = reply::text(response.headers(), "etag").map(str::to_owned);
        etag.ok_or_else(|| nonsense(Operation::Put, format!("part {number} has no ETag")))
    }

    async fn complete(&self, upload: &str, etags: &[(u32, String)]) -> Result<ObjectMeta> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for (number, etag) in etags {
            let etag = crate::http::xml::escape(etag);
            body.push_str(&part_entry(*number, &etag));
        }
        body.push_str("</CompleteMultipartUpload>");
        let body = Bytes::from(body);
        let mut tries = self.service.retrying.tries();
        let mut is_unknown = false;
        loop {
            let error = match self.try_complete(upload, &body).await {
                Ok(meta) => return Ok(meta),
                Err(error) => error,
            };
            if error.is_not_found() {
                // The try whose answer was lost may have completed it. If not, the upload does not
                // come back.
                let ours = if is_unknown {
                    self.service.retrying.persist(|| self.completed()).await?
                } else {
                    None
                };
                return ours.ok_or(error);
            }
            tries.again(error).await?;
            is_unknown = true;
        }
    }

    async fn try_complete(&self, upload: &str, body: &Bytes) -> Result<ObjectMeta> {
        let request = self.service.object(Method::POST, self.key, upload);
        let request = request
            .header("content-type", "application/xml")
            .body(body.clone());
        let response = self.service.send(Operation::Put, request).await?;
        let headers = response.headers().clone();
        let tree = tree(Operation::Put, response).await?;
        self.stored(&headers, tree.text_of("ETag").map(str::to_owned))
    }

    /// The object, if it is certain that it has our content: by its checksum.
    async fn completed(&self) -> Result<Option<ObjectMeta>> {
        let request = self.service.object(Method::HEAD, self.key, "");
        let response = match self.service.send(Operation::Put, request).await {
            Ok(response) => response,
            Err(missing) if missing.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let headers = response.headers();
        let time = reply::text(headers, TIMESTAMP).and_then(crate::moment::parse_rfc3339);
        let is_ours = reply::number(headers, "content-length") == Some(self.size())
            && reply::number(headers, CRC64) == Some(self.checksum())
            && time == self.options.timestamp;
        let etag = reply::text(headers, "etag").map(str::to_owned);
        is_ours.then(|| self.stored(headers, etag)).transpose()
    }
}

/// An upload in parts; aborted when dropped before it is over.
struct Begun {
    service: Arc<Service>,
    key: Key,
    /// The part of the query that names it.
    upload: String,
    is_over: bool,
}

impl Begun {
    fn aborting(&self) -> impl Future<Output = ()> + Send + use<> {
        let service = Arc::clone(&self.service);
        let (key, upload) = (self.key.clone(), self.upload.clone());
        async move {
            let aborted = service.retrying.abort(&key, || {
                let request = service.object(Method::DELETE, &key, &upload);
                service.send(Operation::Put, request)
            });
            aborted.await;
        }
    }

    async fn abort(&mut self) {
        self.aborting().await;
        // Not before: who waits for it may go away.
        self.is_over = true;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without a runtime there is nobody to send anything.
        if !self.is_over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.aborting());
        }
    }
}

fn part_entry(number: u32, etag: &str) -> String {
    format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
}
