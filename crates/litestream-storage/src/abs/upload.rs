//! Uploads: one request for what fits into one block, else blocks and the list of them.
//!
//! Invariant: the list, which makes the object appear, is sent only when the whole body was read
//! without error and every block is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use http::{Method, Response, header, request};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::TIMESTAMP;
use super::service::Service;
use crate::http::reply;
use crate::http::xml;
use crate::moment::rfc3339;
use crate::parts::{Part, Parts};
use crate::{
    Body, Condition, Error, ErrorKind, HttpBody, Key, ObjectMeta, Operation, PutOptions, Result,
    encode_component,
};

/// Most blocks of one object.
const MOST_BLOCKS: u64 = 50_000;

/// Bytes of a block's name, before base64. All names of one blob must have one length, also those
/// that an earlier upload by another program left; this is that of other writers of replicas.
const NAME: usize = 64;

/// Uploads `body` as `key`.
pub(super) async fn put(
    service: &Service,
    key: &Key,
    body: Body,
    options: &PutOptions,
) -> Result<ObjectMeta> {
    if let Condition::IfMatch(etag) = &options.condition
        && !etag.starts_with('"')
    {
        return Err(Error::new(ErrorKind::PreconditionFailed, Operation::Put)
            .with_detail(format!("expected etag {etag:?}, which no object has")));
    }
    let upload = Upload {
        service,
        key,
        options,
    };
    // The wrapper cannot send a stream again; what of it is in memory can be sent from here. With
    // a condition only the names of blocks tell who fulfilled it first.
    let once_only = matches!(body, Body::Stream(_));
    let has_condition = options.condition != Condition::None;
    let known = body.size().or(options.size_hint).unwrap_or(0);
    let least = usize::try_from(known.div_ceil(MOST_BLOCKS)).unwrap_or(usize::MAX);
    let block_size = service.settings.block_size.max(least).max(1);
    let mut parts = Parts::new(body);
    let first = parts.next(block_size).await?;
    let retrying = &service.retrying;
    let is_short = first.data.len() <= retrying.policy.replay_limit;
    if first.is_last && once_only && !has_condition {
        return retrying.persist(|| upload.whole(&first.data)).await;
    }
    if first.is_last && (is_short || !once_only) {
        return upload.whole(&first.data).await;
    }
    upload.blocks(first, parts, block_size).await
}

struct Upload<'a> {
    service: &'a Service,
    key: &'a Key,
    options: &'a PutOptions,
}

/// A block to be sent.
struct Block {
    name: String,
    data: Bytes,
}

impl Upload<'_> {
    /// Content and description in one request.
    async fn whole(&self, content: &Bytes) -> Result<ObjectMeta> {
        let request = self
            .service
            .blob(Method::PUT, self.key, "")
            .header("x-ms-blob-type", "BlockBlob")
            .header(header::CONTENT_TYPE, "application/octet-stream");
        let size = content.len() as u64;
        self.create(request, content.clone(), size).await
    }

    /// Sends the request that makes the object appear.
    async fn create(
        &self,
        mut request: request::Builder,
        body: Bytes,
        size: u64,
    ) -> Result<ObjectMeta> {
        request = match &self.options.condition {
            Condition::None => request,
            Condition::IfAbsent => request.header(header::IF_NONE_MATCH, "*"),
            Condition::IfMatch(etag) => request.header(header::IF_MATCH, etag),
        };
        if let Some(timestamp) = self.options.timestamp {
            request = request.header(format!("x-ms-meta-{TIMESTAMP}"), rfc3339(timestamp));
        }
        let response = self
            .service
            .send_with(Operation::Put, request, body)
            .await
            .map_err(|error| self.lost(error))?;
        Ok(self.stored(&response, size))
    }

    fn stored(&self, response: &Response<HttpBody>, size: u64) -> ObjectMeta {
        ObjectMeta {
            key: self.key.clone(),
            size,
            modified: reply::last_modified(response.headers()),
            timestamp: self.options.timestamp,
            etag: reply::text(response.headers(), "etag").map(str::to_owned),
        }
    }

    /// A failed precondition in the words of the condition.
    fn lost(&self, error: Error) -> Error {
        match (error.kind(), &self.options.condition) {
            (ErrorKind::PreconditionFailed, Condition::IfAbsent) => {
                error.with_kind(ErrorKind::AlreadyExists)
            }
            // A version of an object that is gone.
            (ErrorKind::NotFound, Condition::IfMatch(_)) => {
                error.with_kind(ErrorKind::PreconditionFailed)
            }
            _ => error,
        }
    }

    /// Sends blocks, some at a time, and commits the list of them.
    async fn blocks(&self, first: Part, parts: Parts, block_size: usize) -> Result<ObjectMeta> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| {
            Error::new(ErrorKind::Io, Operation::Put).with_detail("no random numbers")
        })?;
        // Of all blocks read so far; the stream below is the only one who adds.
        let names = std::sync::Mutex::new(Vec::new());
        let size = std::sync::atomic::AtomicU64::new(0);
        let state = Some((Some(first), parts));
        let blocks = stream::try_unfold(state, |state| async {
            let Some((part, mut parts)) = state else {
                return Ok::<_, Error>(None);
            };
            let part = match part {
                Some(part) => part,
                None => parts.next(block_size).await?,
            };
            let mut names = names.lock().expect("never held in a panic");
            let name = block_name(&random, names.len() as u32);
            names.push(name.clone());
            let len = part.data.len() as u64;
            size.fetch_add(len, std::sync::atomic::Ordering::Relaxed);
            let data = part.data;
            let next = (!part.is_last).then_some((None, parts));
            Ok(Some((Block { name, data }, next)))
        });
        blocks
            .try_for_each_concurrent(self.service.settings.concurrency.max(1), |block| {
                self.send(block)
            })
            .await?;
        let names = names.into_inner().expect("never held in a panic");
        self.commit(&names, size.into_inner()).await
    }

    /// Sends a block, again if need be.
    async fn send(&self, block: Block) -> Result<()> {
        let query = format!("comp=block&blockid={}", encode_component(&block.name));
        let sent = self.service.retrying.persist(|| {
            let request = self
                .service
                .blob(Method::PUT, self.key, &query)
                .header(header::CONTENT_TYPE, "application/octet-stream");
            self.service
                .send_with(Operation::Put, request, block.data.clone())
        });
        sent.await.map(drop)
    }

    /// Makes the object out of the blocks. After a try whose answer was lost a refusal may be our
    /// own doing, which the names of the blocks prove: nobody else has them.
    async fn commit(&self, names: &[String], size: u64) -> Result<ObjectMeta> {
        let list = Bytes::from(list_of(names));
        let mut tries = self.service.retrying.tries();
        let mut is_unknown = false;
        loop {
            let request = self
                .service
                .blob(Method::PUT, self.key, "comp=blocklist")
                .header("x-ms-blob-content-type", "application/octet-stream")
                .header(header::CONTENT_TYPE, "application/xml");
            let error = match self.create(request, list.clone(), size).await {
                Ok(meta) => return Ok(meta),
                Err(error) => error,
            };
            let is_refused = has_lost_blocks(&error)
                || matches!(
                    error.kind(),
                    ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed
                );
            if is_refused {
                let ours = if is_unknown {
                    let retrying = &self.service.retrying;
                    retrying.persist(|| self.committed(&names[0], size)).await?
                } else {
                    None
                };
                // Blocks that are gone do not come back; the whole may be sent anew.
                return ours.ok_or(error);
            }
            tries.again(error).await?;
            is_unknown = true;
        }
    }

    /// The object, if it is made of blocks the first of which is `name`.
    async fn committed(&self, name: &str, size: u64) -> Result<Option<ObjectMeta>> {
        let query = "comp=blocklist&blocklisttype=committed";
        let request = self.service.blob(Method::GET, self.key, query);
        let response = match self.service.send(Operation::Put, request).await {
            Ok(response) => response,
            Err(missing) if missing.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = self.stored(&response, size);
        let content = reply::collect(Operation::Put, response).await?;
        let tree = xml::parse(&content)
            .map_err(|why| reply::nonsense(Operation::Put, format!("list of blocks: {why}")))?;
        let first = tree
            .child("CommittedBlocks")
            .and_then(|blocks| blocks.child("Block")?.text_of("Name"));
        Ok((first == Some(name)).then_some(meta))
    }
}

/// Whether the service does not know the blocks (any more): another commit throws away all that
/// are not in it.
fn has_lost_blocks(error: &Error) -> bool {
    matches!(error.label(), "InvalidBlockList" | "InvalidBlobOrBlock")
}

/// A name that no other upload has.
fn block_name(random: &[u8; 16], number: u32) -> String {
    let mut name = [0; NAME];
    name[..16].copy_from_slice(random);
    name[16..20].copy_from_slice(&number.to_be_bytes());
    STANDARD.encode(name)
}

fn list_of(names: &[String]) -> String {
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for name in names {
        // Base64 has nothing that XML minds.
        list.push_str("<Latest>");
        list.push_str(name);
        list.push_str("</Latest>");
    }
    list.push_str("</BlockList>");
    list
}
