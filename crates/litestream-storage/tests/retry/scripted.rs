//! A store that answers from a script.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, ObjectStore,
    Operation, PutOptions, Result,
};

/// A store that answers deletes, listings and gets from a script.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    /// For each delete, which keys fail how.
    pub(crate) deletes: Mutex<VecDeque<Vec<(&'static str, ErrorKind)>>>,
    pub(crate) asked: Mutex<Vec<Vec<String>>>,
    pub(crate) listed: Vec<&'static str>,
    /// Whether bodies stop answering after their first half, once.
    pub(crate) stuck: Mutex<bool>,
    /// So many empty chunks come first, each after 20 seconds.
    pub(crate) passed_over: usize,
}

impl Scripted {
    fn meta(key: &str) -> ObjectMeta {
        ObjectMeta {
            key: key.into(),
            size: 4,
            modified: 0,
            timestamp: None,
            etag: None,
        }
    }
}

impl ObjectStore for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn reads_parts(&self) -> bool {
        true
    }

    fn put(&self, _: Key, _: Body, _: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        unreachable!("not in the script")
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        let content = Bytes::from_static(b"abcd").slice(range.offset as usize..);
        let stuck = std::mem::take(&mut *self.stuck.lock().expect("no panics while locked"));
        let body = if stuck {
            let half = content.slice(..2);
            stream::once(async { Ok(half) })
                .chain(stream::pending())
                .boxed()
        } else {
            stream::once(async { Ok(content) }).boxed()
        };
        let empty = stream::repeat(Bytes::new()).take(self.passed_over);
        let empty = empty.then(|empty| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok(empty)
        });
        let body = empty.chain(body).boxed();
        let meta = Self::meta(key.as_str());
        async { Ok(Object { meta, body }) }.boxed()
    }

    fn head(&self, _: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        unreachable!("not in the script")
    }

    fn list(&self, _: String, _: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        stream::iter(self.listed.iter().map(|key| Ok(Self::meta(key)))).boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        let keys = keys.iter().map(Key::to_string).collect();
        self.asked
            .lock()
            .expect("no panics while locked")
            .push(keys);
        let failing = self
            .deletes
            .lock()
            .expect("no panics while locked")
            .pop_front();
        let failing = failing.into_iter().flatten();
        let failures = failing
            .map(|(key, kind)| (Key::from(key), Error::new(kind, Operation::Delete)))
            .collect();
        async { Ok(failures) }.boxed()
    }
}

/// A store that takes the whole body, and then has it on the way for that long.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(crate) sending: Duration,
}

impl ObjectStore for Staging {
    fn kind(&self) -> &'static str {
        "staging"
    }

    fn reads_parts(&self) -> bool {
        true
    }

    fn put(&self, key: Key, body: Body, _: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let chunks: Vec<Bytes> = body.into_stream().try_collect().await?;
            tokio::time::sleep(self.sending).await;
            Ok(ObjectMeta {
                size: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
                ..Scripted::meta(key.as_str())
            })
        }
        .boxed()
    }

    fn get(&self, _: Key, _: ByteRange) -> BoxFuture<'_, Result<Object>> {
        unreachable!("it is put only")
    }

    fn head(&self, _: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        unreachable!("it is put only")
    }

    fn list(&self, _: String, _: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        unreachable!("it is put only")
    }

    fn delete(&self, _: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        unreachable!("it is put only")
    }
}
