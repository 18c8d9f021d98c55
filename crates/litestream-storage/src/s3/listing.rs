//! List, page by page.
//!
//! Invariant: keys come in ascending order, each once, all above the bound; a service that does
//! not keep the order, or hands out the same page again, ends the listing with an error.

use std::collections::VecDeque;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object as Listed;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::error::named;
use super::read::{etag, millis};
use super::{S3Store, sign};
use crate::{Error, ErrorKind, Key, ListOptions, ObjectMeta, Operation, Result};

/// Objects whose metadata are asked for at a time.
const HEADS: usize = 50;

impl S3Store {
    pub(super) fn listing(
        &self,
        prefix: &str,
        options: &ListOptions,
    ) -> BoxStream<'_, Result<ObjectMeta>> {
        let walk = Walk {
            store: self,
            prefix: format!("{}{prefix}", self.settings.prefix),
            bound: options.start_after.as_ref().map(|key| self.name(key)),
            last: None,
            token: None,
            page: VecDeque::new(),
            ended: false,
        };
        let items = stream::try_unfold(walk, |mut walk| async move {
            Ok(walk.next().await?.map(|meta| (meta, walk)))
        });
        if !options.timestamps {
            return items.boxed();
        }
        items
            .map(move |item| async move {
                let listed = item?;
                match self.metadata(&listed.key, Operation::List).await {
                    Ok(meta) => Ok(Some(meta)),
                    // Deleted since it was listed.
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(HEADS)
            .try_filter_map(|found| async move { Ok(found) })
            // What was asked for ahead of an error is of no use to anybody.
            .scan(false, |failed, item| {
                let over = *failed;
                *failed = item.is_err();
                async move { (!over).then_some(item) }
            })
            .boxed()
    }
}

/// A listing on its way.
struct Walk<'a> {
    store: &'a S3Store,
    /// Of names in the bucket.
    prefix: String,
    bound: Option<String>,
    /// The last name handed out.
    last: Option<String>,
    token: Option<String>,
    page: VecDeque<Listed>,
    /// There are no more pages.
    ended: bool,
}

impl Walk<'_> {
    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                if let Some(meta) = self.take(listed)? {
                    return Ok(Some(meta));
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            let answer = self.fetch().await?;
            self.turn(answer)?;
        }
    }

    async fn fetch(&self) -> Result<ListObjectsV2Output> {
        let client = self.store.client(Operation::List, None).await?;
        let request = client
            .list_objects_v2()
            .bucket(&self.store.settings.bucket)
            .prefix(&self.prefix);
        let request = match &self.token {
            Some(token) => request.continuation_token(token),
            None => request.set_start_after(self.bound.clone()),
        };
        request
            .customize()
            .interceptor(sign::BARE_BUCKET)
            .send()
            .await
            .map_err(|failure| self.store.failed(failure, Operation::List, None))
    }

    fn turn(&mut self, answer: ListObjectsV2Output) -> Result<()> {
        let truncated = answer.is_truncated() == Some(true);
        let token = answer.next_continuation_token;
        if truncated && (token.is_none() || token == self.token) {
            return Err(corrupt(format!("no next page after {:?}", self.token)));
        }
        self.ended = !truncated;
        self.token = token;
        self.page = answer.contents.unwrap_or_default().into();
        Ok(())
    }

    /// The object, unless it is not above the bound.
    fn take(&mut self, listed: Listed) -> Result<Option<ObjectMeta>> {
        let Some(name) = listed.key else {
            return Err(corrupt("an object without key".to_owned()));
        };
        // A service may ignore the lower bound, but not its own order.
        if self.bound.as_ref().is_some_and(|bound| name <= *bound) {
            return Ok(None);
        }
        if self.last.as_ref().is_some_and(|last| name <= *last) {
            return Err(corrupt(format!("{name:?} listed behind {:?}", self.last)));
        }
        let Some(key) = name.strip_prefix(&self.store.settings.prefix) else {
            return Err(corrupt(format!("{name:?} listed below {:?}", self.prefix)));
        };
        let meta = ObjectMeta {
            key: Key::from(key),
            size: listed
                .size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            modified: millis(listed.last_modified.as_ref()),
            timestamp: None,
            etag: listed.e_tag.as_deref().map(etag),
        };
        self.last = Some(name);
        Ok(Some(meta))
    }
}

fn corrupt(detail: String) -> Error {
    let error = Error::new(ErrorKind::Corrupt, Operation::List).with_detail(detail);
    named(error, None)
}
