//! Downloads and metadata.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode, header};

use super::TIMESTAMP;
use super::service::{Service, refused};
use crate::http::reply::{self, nonsense};
use crate::moment::{parse_http, parse_rfc3339};
use crate::{ByteRange, Key, Object, ObjectMeta, Operation, Result};

pub(super) async fn head(service: &Service, operation: Operation, key: &Key) -> Result<ObjectMeta> {
    let request = service.blob(Method::HEAD, key, "");
    let response = service.send(operation, request).await?;
    let size = reply::number(response.headers(), "content-length");
    let size = size.ok_or_else(|| nonsense(operation, "the answer has no size"))?;
    Ok(meta(response.headers(), key, size))
}

pub(super) async fn get(service: &Arc<Service>, key: &Key, range: ByteRange) -> Result<Object> {
    if range.is_nothing() {
        return empty(service, key).await;
    }
    let mut request = service.blob(Method::GET, key, "");
    if range != ByteRange::ALL {
        request = request.header(header::RANGE, range.header());
    }
    let response = service
        .exchange(Operation::Get, request, Bytes::new())
        .await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return empty(service, key).await;
    }
    if !response.status().is_success() {
        return Err(refused(Operation::Get, response).await);
    }
    let (head, body) = response.into_parts();
    let size = reply::size_of_ranged(&head, range)?;
    let meta = meta(&head.headers, key, size);
    let len = range.len_in(size);
    let (key, service) = (key.clone(), Arc::clone(service));
    let body = reply::content(body, len, move |error| service.finish(error, Some(&key)));
    Ok(Object { meta, body })
}

/// No content, and what the object is.
async fn empty(service: &Service, key: &Key) -> Result<Object> {
    Ok(Object {
        meta: head(service, Operation::Get, key).await?,
        body: stream::empty().boxed(),
    })
}

fn meta(headers: &HeaderMap, key: &Key, size: u64) -> ObjectMeta {
    let timestamp = reply::text(headers, &format!("x-ms-meta-{TIMESTAMP}"));
    let created = reply::text(headers, "x-ms-creation-time");
    ObjectMeta {
        key: key.clone(),
        size,
        modified: created.map_or_else(|| reply::last_modified(headers), parse_http),
        timestamp: timestamp.and_then(parse_rfc3339),
        etag: reply::text(headers, "etag").map(str::to_owned),
    }
}
