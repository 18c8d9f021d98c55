//! Listings: pages of descriptions, from a lower bound on.
//!
//! The bound of the service includes itself; ours does not, so one name may be dropped.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;

use super::service::{FIELDS, Resource, Service};
use crate::http::paging::{Cursor, pages};
use crate::http::reply;
use crate::{ListOptions, ObjectMeta, Operation, Result, encode_component};

/// Most objects per page that the service gives.
const PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: Vec<Resource>,
    next_page_token: Option<String>,
}

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
            let page = page(&service, cursor).await;
            page.map_err(|error| service.finish(error, None))
        }
    })
}

async fn page(service: &Service, cursor: Cursor) -> Result<(Vec<ObjectMeta>, Option<Cursor>)> {
    let mut query = format!(
        "prefix={}&maxResults={PAGE}&projection=noAcl&fields=nextPageToken,items({FIELDS})",
        encode_component(&cursor.prefix)
    );
    if let Some(after) = cursor
        .after
        .as_ref()
        .filter(|after| **after > cursor.prefix)
    {
        query.push_str("&startOffset=");
        query.push_str(&encode_component(after));
    }
    if let Some(page) = &cursor.page {
        query.push_str("&pageToken=");
        query.push_str(&encode_component(page));
    }
    let url = format!("{}?{query}", service.objects_url());
    let request = Request::get(url).body(Full::default());
    let response = service.send(Operation::List, None, request).await?;
    let content = reply::collect(Operation::List, response).await?;
    let page: Page = serde_json::from_slice(&content)
        .map_err(|error| reply::nonsense(Operation::List, format!("page of a listing: {error}")))?;
    let mut metas = Vec::with_capacity(page.items.len());
    for item in &page.items {
        if let Some(key) = cursor.key(&item.name, &service.settings.prefix) {
            metas.push(
                item.meta(key)
                    .map_err(|error| error.with_operation(Operation::List))?,
            );
        }
    }
    Ok((metas, cursor.next(page.next_page_token.as_deref())?))
}
