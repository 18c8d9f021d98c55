//! Uploads: one request for what fits into one part, a resumable session for the rest.
//!
//! Invariant: an object appears only when its whole body was read without error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use http::{Request, Response, header};
use http_body_util::Full;
use serde_json::json;

use super::TIMESTAMP;
use super::service::{Resource, Service, refused, resource};
use super::session::Session;
use crate::http::reply;
use crate::moment::rfc3339;
use crate::parts::{Part, Parts};
use crate::{
    Body, Condition, Error, ErrorKind, HttpBody, Key, ObjectMeta, Operation, PutOptions, Result,
    encode_component,
};

/// Parts of a session are multiples of this.
const STEP: usize = 256 << 10;

/// How separators of description and content begin; see [`boundary`].
const BOUNDARY: &str = "litestream-part";

/// Uploads `body` as `key`.
pub(super) async fn put(
    service: &Service,
    key: &Key,
    body: Body,
    options: &PutOptions,
) -> Result<ObjectMeta> {
    let condition = match &options.condition {
        Condition::None => String::new(),
        Condition::IfAbsent => "&ifGenerationMatch=0".to_owned(),
        Condition::IfMatch(etag) if etag.parse::<u64>().is_ok_and(|etag| etag > 0) => {
            format!("&ifGenerationMatch={etag}")
        }
        Condition::IfMatch(etag) => {
            return Err(Error::new(ErrorKind::PreconditionFailed, Operation::Put)
                .with_detail(format!("expected etag {etag:?}, which no object has")));
        }
    };
    let mut upload = Upload {
        service,
        key,
        options,
        condition,
        crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
    };
    // The wrapper cannot send a stream again; what of it is in memory can be sent from here. With
    // a condition only a session tells who fulfilled it first.
    let once_only = matches!(body, Body::Stream(_));
    let has_condition = options.condition != Condition::None;
    let part_size = service.settings.part_size.max(STEP) / STEP * STEP;
    let mut parts = Parts::new(body);
    let first = parts.next(part_size).await?;
    upload.crc.update(&first.data);
    let retrying = &service.retrying;
    let is_short = first.data.len() <= retrying.policy.replay_limit;
    let resource = if first.is_last && once_only && !has_condition {
        retrying.persist(|| upload.whole(&first.data)).await?
    } else if first.is_last && (is_short || !once_only) {
        upload.whole(&first.data).await?
    } else {
        upload.session(first, parts, part_size).await?
    };
    upload.check(&resource)?;
    resource.meta(key.clone())
}

struct Upload<'a> {
    service: &'a Service,
    key: &'a Key,
    options: &'a PutOptions,
    condition: String,
    /// Of what was read so far.
    crc: Digest,
}

impl Upload<'_> {
    fn url(&self, kind: &str) -> String {
        let settings = &self.service.settings;
        format!(
            "{}/upload/storage/v1/b/{}/o?uploadType={kind}&name={}{}",
            settings.endpoint,
            encode_component(&settings.bucket),
            encode_component(&self.service.name(self.key.as_str())),
            self.condition,
        )
    }

    fn description(&self) -> String {
        let mut description = json!({
            "name": self.service.name(self.key.as_str()),
            "contentType": "application/octet-stream",
        });
        if let Some(timestamp) = self.options.timestamp {
            description["metadata"] = json!({ TIMESTAMP: rfc3339(timestamp) });
        }
        description.to_string()
    }

    /// Description and content in one request.
    async fn whole(&self, content: &Bytes) -> Result<Resource> {
        let boundary = boundary(content);
        let mut body = BytesMut::with_capacity(content.len() + 1000);
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n",
            self.description()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = Request::post(self.url("multipart"))
            .header(
                header::CONTENT_TYPE,
                format!("multipart/related; boundary={boundary}"),
            )
            .body(Full::new(body.freeze()));
        let response = self.service.exchange(Operation::Put, request).await?;
        self.stored(response).await
    }

    /// The answer of the request that makes the object appear.
    async fn stored(&self, response: Response<HttpBody>) -> Result<Resource> {
        if !response.status().is_success() {
            return Err(self.lost(refused(Operation::Put, response).await));
        }
        resource(Operation::Put, response).await
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
            // It is the bucket that was not found.
            (ErrorKind::NotFound, _) => error.with_kind(ErrorKind::Invalid),
            _ => error,
        }
    }

    /// Part by part. A session that fails is given up.
    async fn session(&mut self, first: Part, parts: Parts, part_size: usize) -> Result<Resource> {
        let begun = self.service.retrying.persist(|| self.begin()).await;
        let mut session = Session::new(self.service, begun?);
        let sent = self.send_parts(&mut session, first, parts, part_size).await;
        if sent.is_err() {
            session.cancel().await;
        }
        sent.map_err(|error| self.lost(error))
    }

    /// The address of a new session.
    async fn begin(&self) -> Result<String> {
        let request = Request::post(self.url("resumable"))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("x-upload-content-type", "application/octet-stream")
            .body(Full::from(self.description()));
        let response = self.service.exchange(Operation::Put, request).await?;
        if !response.status().is_success() {
            return Err(self.lost(refused(Operation::Put, response).await));
        }
        let session = reply::text(response.headers(), "location").map(str::to_owned);
        session.ok_or_else(|| reply::nonsense(Operation::Put, "the answer names no upload session"))
    }

    async fn send_parts(
        &mut self,
        session: &mut Session<'_>,
        mut part: Part,
        mut parts: Parts,
        part_size: usize,
    ) -> Result<Resource> {
        loop {
            if let Some(resource) = session.send(&part).await? {
                return Ok(resource);
            }
            part = parts.next(part_size).await?;
            self.crc.update(&part.data);
        }
    }

    /// The service must have got what we read.
    fn check(&self, resource: &Resource) -> Result<()> {
        let ours = (self.crc.finalize() as u32).to_be_bytes();
        let theirs = resource.crc32c.as_ref();
        let theirs = theirs.and_then(|text| STANDARD.decode(text).ok());
        match theirs {
            Some(theirs) if theirs != ours => Err(Error::new(ErrorKind::Corrupt, Operation::Put)
                .with_detail(format!(
                    "CRC32C: sent {}, stored {}",
                    STANDARD.encode(ours),
                    STANDARD.encode(theirs)
                ))),
            _ => Ok(()),
        }
    }
}

/// A separator that `content` does not hold.
fn boundary(content: &[u8]) -> String {
    let mut number = 0_u32;
    loop {
        let boundary = format!("{BOUNDARY}-{number:08x}");
        let is_inside = content
            .windows(boundary.len())
            .any(|window| window == boundary.as_bytes());
        if !is_inside {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}
