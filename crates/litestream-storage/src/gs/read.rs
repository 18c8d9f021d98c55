//! Downloads: content and metadata in one request.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;

use super::TIMESTAMP;
use super::service::{Service, refused};
use crate::http::reply;
use crate::moment::parse_rfc3339;
use crate::{ByteRange, Key, Object, ObjectMeta, Operation, Result, encode_component};

pub(super) async fn get(service: &Arc<Service>, key: &Key, range: ByteRange) -> Result<Object> {
    if range.is_nothing() {
        return empty(service, key).await;
    }
    let url = format!(
        "{}/{}/{}",
        service.settings.endpoint,
        encode_component(&service.settings.bucket),
        encode_component(&service.name(key.as_str()))
    );
    let mut request = Request::get(url);
    if range != ByteRange::ALL {
        request = request.header(header::RANGE, range.header());
    }
    let response = service
        .exchange(Operation::Get, request.body(Full::default()))
        .await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return empty(service, key).await;
    }
    if !response.status().is_success() {
        return Err(refused(Operation::Get, response).await);
    }
    let (head, body) = response.into_parts();
    let size = reply::size_of_ranged(&head, range)?;
    let mut meta = meta(&head.headers, key, size);
    // Downloads of some servers do not tell of metadata.
    if meta.timestamp.is_none() || meta.etag.is_none() {
        let described = service.head(Operation::Get, key).await?;
        if meta.etag.is_none() || described.etag == meta.etag {
            meta = described;
        }
    }
    let len = range.len_in(meta.size);
    let (key, service) = (key.clone(), Arc::clone(service));
    let body = reply::content(body, len, move |error| service.finish(error, Some(&key)));
    Ok(Object { meta, body })
}

/// No content, and what the object is.
async fn empty(service: &Service, key: &Key) -> Result<Object> {
    Ok(Object {
        meta: service.head(Operation::Get, key).await?,
        body: stream::empty().boxed(),
    })
}

fn meta(headers: &HeaderMap, key: &Key, size: u64) -> ObjectMeta {
    let timestamp = reply::text(headers, &format!("x-goog-meta-{TIMESTAMP}"));
    ObjectMeta {
        key: key.clone(),
        size,
        modified: reply::last_modified(headers),
        timestamp: timestamp.and_then(parse_rfc3339),
        etag: reply::text(headers, "x-goog-generation").map(str::to_owned),
    }
}
