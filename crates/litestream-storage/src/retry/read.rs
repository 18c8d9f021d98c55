//! Bodies and listings that go on where they broke.
//!
//! Invariant: what a caller reads is one version of the object, each byte once, in order; what it
//! lists comes in order, each key once.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};

use super::{Budget, Shared};
use crate::{
    ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, ObjectStore, Operation,
    Result,
};

pub(super) async fn get<S: ObjectStore>(
    shared: &Arc<Shared<S>>,
    key: Key,
    range: ByteRange,
) -> Result<Object> {
    let mut budget = Budget::default();
    let Object { meta, body } = loop {
        match open(&**shared, &key, range).await {
            Ok(object) => break object,
            Err(error) => shared.again(&mut budget, error).await?,
        }
    };
    let reading = Reading {
        shared: Arc::clone(shared),
        meta: meta.clone(),
        offset: range.offset,
        left: range.len_in(meta.size),
        body: Some(body),
        budget: Budget::default(),
    };
    let body = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.chunk().await?.map(|chunk| (chunk, reading)))
    });
    Ok(Object {
        meta,
        body: body.boxed(),
    })
}

async fn open<S: ObjectStore>(shared: &Shared<S>, key: &Key, range: ByteRange) -> Result<Object> {
    let call = shared.inner.get(key.clone(), range);
    shared
        .within(
            shared.retrying.policy.stall,
            Operation::Get,
            Some(key),
            call,
        )
        .await
}

/// A body being read.
struct Reading<S> {
    shared: Arc<Shared<S>>,
    /// Of the version that is read.
    meta: ObjectMeta,
    /// Where the next byte is in the object.
    offset: u64,
    left: u64,
    /// `None` after it broke.
    body: Option<BoxStream<'static, Result<Bytes>>>,
    budget: Budget,
}

impl<S: ObjectStore> Reading<S> {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.left > 0 {
            match self.next().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    self.offset += chunk.len() as u64;
                    self.left -= chunk.len() as u64;
                    let bytes = chunk.len() as u64;
                    self.budget.advance(&self.shared.retrying.policy, bytes);
                    return Ok(Some(chunk));
                }
                Err(error) => {
                    self.body = None;
                    self.shared.again(&mut self.budget, error).await?;
                }
            }
        }
        Ok(None)
    }

    async fn next(&mut self) -> Result<Bytes> {
        let key = &self.meta.key;
        if self.body.is_none() {
            let range = ByteRange::new(self.offset, self.left);
            let object = open(&*self.shared, key, range).await?;
            if !same_version(&self.meta, &object.meta) {
                return Err(self.error(ErrorKind::PreconditionFailed).with_detail(format!(
                    "the object changed while it was read, at offset {}: expected {:?}, found {:?}",
                    self.offset, self.meta, object.meta
                )));
            }
            self.body = Some(object.body);
        }
        let body = self.body.as_mut().expect("opened above");
        let next = async {
            match body.next().await {
                Some(Ok(chunk)) => Ok(Some(chunk)),
                Some(Err(error)) => Err(error),
                None => Ok(None),
            }
        };
        let limit = self.shared.retrying.policy.stall;
        match self
            .shared
            .within(limit, Operation::Get, Some(key), next)
            .await?
        {
            Some(chunk) if chunk.len() as u64 > self.left => {
                Err(self.error(ErrorKind::Corrupt).with_detail(format!(
                    "at offset {}: expected {} bytes, found at least {}",
                    self.offset,
                    self.left,
                    chunk.len()
                )))
            }
            Some(chunk) => Ok(chunk),
            None => Err(self.error(ErrorKind::Io).with_detail(format!(
                "the body ended at offset {}, {} bytes early",
                self.offset, self.left
            ))),
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.shared
            .error(kind, Operation::Get, Some(&self.meta.key))
    }
}

fn same_version(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    match (&a.etag, &b.etag) {
        (Some(a), Some(b)) => a == b,
        _ => a.size == b.size && a.modified == b.modified,
    }
}

pub(super) fn list<S: ObjectStore>(
    shared: &Shared<S>,
    prefix: String,
    options: ListOptions,
) -> BoxStream<'_, Result<ObjectMeta>> {
    let listing = Listing {
        shared,
        prefix,
        options,
        inner: None,
        last: None,
        budget: Budget::default(),
    };
    stream::try_unfold(listing, |mut listing| async move {
        Ok(listing.item().await?.map(|item| (item, listing)))
    })
    .boxed()
}

/// A listing being read.
struct Listing<'a, S> {
    shared: &'a Shared<S>,
    prefix: String,
    options: ListOptions,
    /// `None` at the beginning and after it broke.
    inner: Option<BoxStream<'a, Result<ObjectMeta>>>,
    /// The key that was answered last.
    last: Option<Key>,
    budget: Budget,
}

impl<S: ObjectStore> Listing<'_, S> {
    async fn item(&mut self) -> Result<Option<ObjectMeta>> {
        loop {
            match self.next().await {
                Ok(Some(meta)) => {
                    self.last = Some(meta.key.clone());
                    self.budget.refill();
                    return Ok(Some(meta));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.inner = None;
                    self.shared.again(&mut self.budget, error).await?;
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        let inner = self.inner.get_or_insert_with(|| {
            let mut options = self.options.clone();
            if let Some(last) = &self.last {
                options.start_after = Some(last.clone());
            }
            self.shared.inner.list(self.prefix.clone(), options)
        });
        // Most items are there already: no timer for those.
        let item = if let Some(item) = inner.next().now_or_never() {
            item.transpose()?
        } else {
            let next = async { inner.next().await.transpose() };
            self.shared
                .within(
                    self.shared.retrying.policy.stall,
                    Operation::List,
                    None,
                    next,
                )
                .await?
        };
        match (item, &self.last) {
            // Going on after the last key is right only in an ordered listing.
            (Some(meta), Some(last)) if meta.key <= *last => {
                let error = self
                    .shared
                    .error(ErrorKind::Corrupt, Operation::List, Some(&meta.key));
                Err(error.with_detail(format!("listed after {:?}, out of order", last.as_str())))
            }
            (item, _) => Ok(item),
        }
    }
}
