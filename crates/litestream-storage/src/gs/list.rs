//! Listings: pages of descriptions, from a lower bound on.
//!
//! The bound of the service includes itself; ours does not, so one name may be dropped.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::Request;
use http_body_util::Full;
use serde::Deserialize;

use super::service::{FIELDS, Resource, Service};
use crate::http::reply;
use crate::{Key, ListOptions, ObjectMeta, Operation, Result, encode_component};

/// Most objects per page that the service gives.
const PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: Vec<Resource>,
    next_page_token: Option<String>,
}

/// Where a listing stands.
struct Cursor {
    /// Prefix of names, with that of the store.
    prefix: String,
    /// Only names after this one.
    after: Option<String>,
    /// Of the next page; `None` at first.
    page: Option<String>,
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
    stream::unfold(Some(cursor), move |cursor| {
        let service = Arc::clone(&service);
        async move {
            let cursor = cursor?;
            match page(&service, cursor).await {
                Ok((metas, next)) => Some((stream::iter(metas.into_iter().map(Ok)).boxed(), next)),
                Err(error) => {
                    let error = service.finish(error, None);
                    Some((stream::once(async { Err(error) }).boxed(), None))
                }
            }
        }
    })
    .flatten()
    .boxed()
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
        let is_wanted = item.name.starts_with(&cursor.prefix)
            && cursor.after.as_ref().is_none_or(|after| item.name > *after);
        // What is not below the prefix of the store was not asked for.
        let Some(key) = item.name.strip_prefix(&service.settings.prefix) else {
            continue;
        };
        if is_wanted {
            metas.push(
                item.meta(Key::new(key))
                    .map_err(|error| error.with_operation(Operation::List))?,
            );
        }
    }
    let next = page.next_page_token.filter(|token| !token.is_empty());
    let next = next.map(|token| Cursor {
        page: Some(token),
        ..cursor
    });
    Ok((metas, next))
}
