//! Listings: pages of XML, metadata included.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use super::TIMESTAMP;
use super::service::Service;
use crate::http::paging::{Cursor, pages};
use crate::http::percent::decode;
use crate::http::reply::{self, nonsense};
use crate::http::xml::{self, Node};
use crate::moment::{parse_http, parse_rfc3339};
use crate::retry::Retrying;
use crate::{
    Error, Key, ListOptions, ObjectMeta, Operation, Result, RetryPolicy, encode_component,
};

/// How often one page is asked for before the listing breaks.
const PAGE_TRIES: u32 = 4;

pub(super) fn list(
    service: &Arc<Service>,
    prefix: &str,
    options: ListOptions,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let service = Arc::clone(service);
    let cursor = Cursor {
        prefix: service.name(prefix),
        after: options.start_after.map(|key| service.name(key.as_str())),
        page: None,
    };
    pages(cursor, move |cursor| {
        let service = Arc::clone(&service);
        async move {
            let page = steady_page(&service, &cursor).await;
            page.map_err(|error| service.finish(error, None))
        }
    })
}

/// A page, asked for a few times if need be: the service has no lower bound, so a listing that the
/// wrapper takes up again begins with the first page, and with many pages would hardly ever end.
async fn steady_page(
    service: &Service,
    cursor: &Cursor,
) -> Result<(Vec<ObjectMeta>, Option<Cursor>)> {
    let few = RetryPolicy {
        tries: PAGE_TRIES.min(service.retrying.policy.tries),
        ..service.retrying.policy.clone()
    };
    let few = Retrying {
        policy: few,
        ..service.retrying.clone()
    };
    let page = few.persist(|| page(service, cursor.clone())).await;
    // The wrapper has all its tries still.
    page.map_err(|error| error.with_tries(1))
}

async fn page(service: &Service, cursor: Cursor) -> Result<(Vec<ObjectMeta>, Option<Cursor>)> {
    let mut query = format!(
        "restype=container&comp=list&include=metadata&prefix={}",
        encode_component(&cursor.prefix)
    );
    if let Some(marker) = &cursor.page {
        query.push_str("&marker=");
        query.push_str(&encode_component(marker));
    }
    let response = service
        .send(Operation::List, service.container(&query))
        .await?;
    let content = reply::collect(Operation::List, response).await?;
    let tree = xml::parse(&content).map_err(|why| wrong(&why))?;
    let blobs = tree.child("Blobs").ok_or_else(|| wrong("no Blobs"))?;
    let mut metas = Vec::new();
    for blob in blobs.all("Blob") {
        let name = name(blob)?;
        if let Some(key) = cursor.key(&name, &service.settings.prefix) {
            metas.push(meta(blob, key)?);
        }
    }
    Ok((metas, cursor.next(tree.text_of("NextMarker"))?))
}

fn wrong(what: &str) -> Error {
    nonsense(Operation::List, format!("page of a listing: {what}"))
}

fn name(blob: &Node) -> Result<String> {
    let name = blob.child("Name").ok_or_else(|| wrong("no Name"))?;
    // Names with characters that XML cannot hold.
    Ok(if name.attribute("Encoded") == Some("true") {
        decode(&name.text)
    } else {
        name.text.clone()
    })
}

fn meta(blob: &Node, key: Key) -> Result<ObjectMeta> {
    let properties = blob
        .child("Properties")
        .ok_or_else(|| wrong("no Properties"))?;
    let size = properties.text_of("Content-Length").unwrap_or_default();
    let created = properties
        .text_of("Creation-Time")
        .or_else(|| properties.text_of("Last-Modified"));
    let timestamp = blob
        .child("Metadata")
        .and_then(|metadata| metadata.text_of(TIMESTAMP));
    Ok(ObjectMeta {
        key,
        size: size
            .parse()
            .map_err(|_| wrong(&format!("Content-Length {size:?}")))?,
        modified: created.map_or(0, parse_http),
        timestamp: timestamp.and_then(parse_rfc3339),
        etag: properties.text_of("Etag").map(quoted),
    })
}

/// Listings leave the quotes out that headers have.
fn quoted(etag: &str) -> String {
    if etag.starts_with('"') {
        etag.to_owned()
    } else {
        format!("\"{etag}\"")
    }
}
