//! Listings: pages of XML from a true lower bound, and one more request per object for timestamps.

use std::sync::Arc;

use futures_util::future;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use http::Method;

use super::service::Service;
use super::{finish, read};
use crate::http::paging::{Cursor, pages};
use crate::http::percent::decode;
use crate::http::reply::nonsense;
use crate::http::xml::Node;
use crate::moment::parse_rfc3339;
use crate::{Error, Key, ListOptions, ObjectMeta, Operation, Result, encode_component};

/// Most objects per page that the service gives.
const PAGE: usize = 1000;

/// Requests for timestamps in flight.
const HEADS: usize = 32;

pub(super) fn list(
    service: &Arc<Service>,
    prefix: &str,
    options: ListOptions,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let cursor = Cursor {
        prefix: service.name(prefix),
        after: options.start_after.map(|key| service.name(key.as_str())),
        page: None,
    };
    let asked = Arc::clone(service);
    let listing = pages(cursor, move |cursor| {
        let service = Arc::clone(&asked);
        async move {
            let page = page(&service, cursor).await;
            page.map_err(|error| finish(error, None))
        }
    });
    if !options.timestamps {
        return listing;
    }
    let service = Arc::clone(service);
    listing
        .map(move |listed| {
            let service = Arc::clone(&service);
            async move {
                let listed = listed?;
                match read::head(&service, Operation::List, &listed.key).await {
                    Ok(meta) => Ok(Some(meta)),
                    // Deleted since it was listed.
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(finish(error, Some(&listed.key))),
                }
            }
        })
        .buffered(HEADS)
        .try_filter_map(future::ok)
        .boxed()
}

async fn page(service: &Service, cursor: Cursor) -> Result<(Vec<ObjectMeta>, Option<Cursor>)> {
    let mut query = format!(
        "list-type=2&encoding-type=url&max-keys={PAGE}&prefix={}",
        encode_component(&cursor.prefix)
    );
    if let Some(after) = cursor
        .after
        .as_ref()
        .filter(|after| **after >= cursor.prefix)
    {
        query.push_str("&start-after=");
        query.push_str(&encode_component(after));
    }
    if let Some(token) = &cursor.page {
        query.push_str("&continuation-token=");
        query.push_str(&encode_component(token));
    }
    let request = service.bucket(Method::GET, &query);
    let tree = service.ask(Operation::List, request).await?;
    if tree.name != "ListBucketResult" {
        return Err(wrong(&format!("it is a {:?}", tree.name)));
    }
    let is_encoded = tree.text_of("EncodingType") == Some("url");
    let mut metas = Vec::new();
    for item in tree.all("Contents") {
        let name = item.text_of("Key").ok_or_else(|| wrong("no Key"))?;
        let name = if is_encoded {
            decode(name)
        } else {
            name.to_owned()
        };
        if let Some(key) = cursor.key(&name, &service.settings.prefix) {
            metas.push(meta(item, key)?);
        }
    }
    if tree.text_of("IsTruncated") != Some("true") {
        return Ok((metas, None));
    }
    let next = cursor.next(tree.text_of("NextContinuationToken"));
    let next = next?.ok_or_else(|| wrong("no NextContinuationToken"))?;
    Ok((metas, Some(next)))
}

fn wrong(what: &str) -> Error {
    nonsense(Operation::List, format!("page of a listing: {what}"))
}

fn meta(item: &Node, key: Key) -> Result<ObjectMeta> {
    let size = item.text_of("Size").unwrap_or_default();
    Ok(ObjectMeta {
        key,
        size: size.parse().map_err(|_| wrong(&format!("Size {size:?}")))?,
        modified: item
            .text_of("LastModified")
            .and_then(parse_rfc3339)
            .unwrap_or(0),
        timestamp: None,
        etag: item.text_of("ETag").map(str::to_owned),
    })
}
