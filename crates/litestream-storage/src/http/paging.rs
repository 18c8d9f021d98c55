//! Listings that come in pages.

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::reply::nonsense;
use crate::{Key, ObjectMeta, Operation, Result};

/// Where a listing stands.
#[derive(Clone)]
pub(crate) struct Cursor {
    /// Prefix of names, with that of the store.
    pub(crate) prefix: String,
    /// Only names after this one.
    pub(crate) after: Option<String>,
    /// What the service calls the next page; `None` at first.
    pub(crate) page: Option<String>,
}

impl Cursor {
    /// The key of an object of the service, if it is wanted: a service may ignore the bound, and
    /// what is not below the prefix `store` of the store was not asked for.
    pub(crate) fn key(&self, name: &str, store: &str) -> Option<Key> {
        let key = name.strip_prefix(store)?;
        let is_wanted = name.starts_with(&self.prefix)
            && self
                .after
                .as_ref()
                .is_none_or(|after| name > after.as_str());
        is_wanted.then(|| Key::new(key))
    }

    /// Goes on with the page of this name, if there is one. A service that names the page that was
    /// just read would never come to an end.
    pub(crate) fn next(self, page: Option<&str>) -> Result<Option<Self>> {
        let Some(page) = page.filter(|page| !page.is_empty()) else {
            return Ok(None);
        };
        if self.page.as_deref() == Some(page) {
            let what = format!("the listing turns in circles at page {page:?}");
            return Err(nonsense(Operation::List, what));
        }
        Ok(Some(Self {
            page: Some(page.to_owned()),
            ..self
        }))
    }
}

/// The objects of all pages from `first` on. An error of `page` ends the listing.
pub(crate) fn pages<F>(
    first: Cursor,
    page: impl Fn(Cursor) -> F + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>>
where
    F: Future<Output = Result<(Vec<ObjectMeta>, Option<Cursor>)>> + Send + 'static,
{
    stream::try_unfold(Some(first), move |cursor| {
        let page = cursor.map(&page);
        async move {
            let Some(page) = page else { return Ok(None) };
            let (metas, next) = page.await?;
            Ok(Some((stream::iter(metas.into_iter().map(Ok)), next)))
        }
    })
    .try_flatten()
    .boxed()
}
