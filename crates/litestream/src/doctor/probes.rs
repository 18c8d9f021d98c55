//! Each probe: what is done, and what must come of it.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result,
};

use super::{Doctor, Probe, Seen, timeout};
use crate::lease::{Conditional, conditional_writes};

const CONTENT: &[u8] = b"litestream doctor: this object may be deleted";
/// Objects written for the listing.
const MANY: usize = 8;
const CHUNK: usize = 1 << 20;
/// A timestamp that no store makes up by itself: 2001-02-03T04:05:06.789Z.
const TIMESTAMP: i64 = 981_173_106_789;
/// Clocks that are no further apart agree; some stores tell whole seconds only.
const AGREED_MS: i64 = 2_000;

/// A store being examined.
pub(super) struct Patient<'a> {
    doctor: &'a Doctor,
    store: &'a dyn ObjectStore,
}

impl<'a> Patient<'a> {
    pub(super) fn new(doctor: &'a Doctor, store: &'a dyn ObjectStore) -> Self {
        Self { doctor, store }
    }

    pub(super) fn prefix(&self) -> String {
        format!("litestream-doctor-{}-", self.doctor.name)
    }

    /// A key of ours. No folder: some stores would keep it.
    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}{name}", self.prefix()))
    }

    pub(super) async fn attempt(&self, probe: Probe) -> Result<Seen> {
        match probe {
            Probe::List => self.list().await,
            Probe::Put => self.put().await,
            Probe::Get => self.get().await,
            Probe::Range => self.range().await,
            Probe::ListAfterWrite => self.list_after_write().await,
            Probe::Large => self.large().await,
            Probe::Timestamp => self.timestamp().await,
            Probe::Clock => self.clock().await,
            Probe::ConditionalPut => self.conditional_put().await,
            Probe::ConditionalDelete => self.conditional_delete().await,
            Probe::Delete => self.delete().await,
        }
    }

    async fn within<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.doctor.limit;
        tokio::select! {
            result = call => result,
            () = self.doctor.clock.sleep(limit) => Err(timeout(operation, limit)),
        }
    }

    async fn names(&self) -> Result<Vec<Key>> {
        let options = ListOptions::default();
        let listing = self.store.list(self.prefix(), options);
        let names = listing.map_ok(|meta| meta.key).try_collect();
        self.within(Operation::List, names).await
    }

    async fn write(&self, name: &str, options: PutOptions) -> Result<ObjectMeta> {
        let body = Bytes::from_static(CONTENT).into();
        let put = self.store.put(self.key(name), body, options);
        self.within(Operation::Put, put).await
    }

    async fn read(&self, name: &str, range: ByteRange) -> Result<Bytes> {
        let read = async {
            let object = self.store.get(self.key(name), range).await?;
            object.into_bytes().await
        };
        self.within(Operation::Get, read).await
    }

    async fn list(&self) -> Result<Seen> {
        let names = self.names().await?;
        Ok(match names.first() {
            None => Seen::Works("the store answers".to_owned()),
            Some(key) => Seen::Wrong(format!("shows {key} before anything was written")),
        })
    }

    async fn put(&self) -> Result<Seen> {
        self.write("small", PutOptions::default()).await?;
        Ok(Seen::Works(format!("{} bytes written", CONTENT.len())))
    }

    async fn get(&self) -> Result<Seen> {
        let content = self.read("small", ByteRange::ALL).await?;
        Ok(if content == CONTENT {
            Seen::Works("content is what was written".to_owned())
        } else {
            let (found, expected) = (content.len(), CONTENT.len());
            Seen::Wrong(format!(
                "other content than was written: {found} bytes, expected {expected}"
            ))
        })
    }

    async fn range(&self) -> Result<Seen> {
        let content = self.read("small", ByteRange::new(11, 6)).await?;
        Ok(if content == CONTENT[11..17] {
            Seen::Works("a part is read alone".to_owned())
        } else {
            let found = content.len();
            Seen::Wrong(format!("6 bytes asked for, {found} bytes came, or others"))
        })
    }

    async fn list_after_write(&self) -> Result<Seen> {
        let mut expected = Vec::with_capacity(MANY);
        for number in 0..MANY {
            let name = format!("list-{number}");
            self.write(&name, PutOptions::default()).await?;
            expected.push(self.key(&name));
            let mut listed = self.names().await?;
            listed.retain(|key| key.as_str().contains("-list-"));
            if listed != expected {
                let (found, expected) = (listed.len(), expected.len());
                return Ok(Seen::Wrong(format!(
                    "a listing after {expected} writes shows {found} objects, or in another order"
                )));
            }
        }
        // As replication lists: from a key on, which is not shown itself.
        let options = ListOptions {
            start_after: Some(self.key("list-3")),
            ..ListOptions::default()
        };
        let listing = self
            .store
            .list(self.key("list-").as_str().to_owned(), options);
        let names = listing.map_ok(|meta| meta.key).try_collect::<Vec<Key>>();
        let names = self.within(Operation::List, names).await?;
        Ok(if expected.get(4..) == Some(&names[..]) {
            Seen::Works(format!("{MANY} writes seen at once, in order"))
        } else {
            Seen::Wrong(format!(
                "a listing from the fifth object on shows {} objects",
                names.len()
            ))
        })
    }

    /// The bytes of the large object, piece by piece: each piece begins with its number.
    fn piece(at: u64, len: usize) -> Bytes {
        let mut piece = vec![at.wrapping_mul(151) as u8; len];
        for (to, from) in piece.iter_mut().zip(at.to_be_bytes()) {
            *to = from;
        }
        piece.into()
    }

    fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let large = self.doctor.large;
        let count = large.div_ceil(CHUNK as u64);
        (0..count).map(move |at| {
            let left = large - at * CHUNK as u64;
            Self::piece(at, left.min(CHUNK as u64) as usize)
        })
    }

    async fn large(&self) -> Result<Seen> {
        let body = Body::Stream(stream::iter(self.pieces().map(Ok)).boxed());
        let options = PutOptions {
            size_hint: Some(self.doctor.large),
            ..PutOptions::default()
        };
        let put = self.store.put(self.key("large"), body, options);
        // A slow line is no fault: each megabyte may take as long as a request.
        let times = u32::try_from(self.doctor.large.div_ceil(CHUNK as u64)).unwrap_or(u32::MAX);
        let limit = self.doctor.limit.saturating_mul(times.saturating_add(1));
        tokio::select! {
            put = put => drop(put?),
            () = self.doctor.clock.sleep(limit) => return Err(timeout(Operation::Put, limit)),
        }
        let get = self.store.get(self.key("large"), ByteRange::ALL);
        let mut body = self.within(Operation::Get, get).await?.body;
        let mut expected = self.pieces();
        let (mut rest, mut done) = (Bytes::new(), 0);
        while let Some(mut found) = self.within(Operation::Get, body.try_next()).await? {
            while !found.is_empty() {
                if rest.is_empty() {
                    rest = expected.next().unwrap_or_default();
                }
                let len = found.len().min(rest.len());
                if len == 0 || found.split_to(len) != rest.split_to(len) {
                    return Ok(Seen::Wrong(format!(
                        "other content than was written at byte {done}"
                    )));
                }
                done += len as u64;
            }
        }
        Ok(if done == self.doctor.large {
            Seen::Works(format!("{done} bytes written and read"))
        } else {
            Seen::Wrong(format!("{} bytes written, {done} read", self.doctor.large))
        })
    }

    async fn timestamp(&self) -> Result<Seen> {
        let options = PutOptions {
            timestamp: Some(TIMESTAMP),
            ..PutOptions::default()
        };
        self.write("timestamp", options).await?;
        let head = self.store.head(self.key("timestamp"));
        let found = self.within(Operation::Head, head).await?.timestamp;
        Ok(match found {
            Some(TIMESTAMP) => Seen::Works("kept to the millisecond".to_owned()),
            None => Seen::Missing("not kept".to_owned()),
            Some(other) => Seen::Wrong(format!("{other} ms came back for {TIMESTAMP} ms")),
        })
    }

    async fn clock(&self) -> Result<Seen> {
        let before = self.doctor.clock.now_ms();
        self.write("clock", PutOptions::default()).await?;
        let after = self.doctor.clock.now_ms();
        let head = self.store.head(self.key("clock"));
        let stored = self.within(Operation::Head, head).await?.modified;
        let apart = if stored < before {
            stored - before
        } else {
            (stored - after).max(0)
        };
        let text = format!("{:.1} s apart", apart.unsigned_abs() as f64 / 1000.0);
        Ok(if apart.abs() <= AGREED_MS {
            Seen::Works(text)
        } else if apart < 0 {
            Seen::Wrong(format!("{text}, the store's clock is behind ours"))
        } else {
            Seen::Wrong(format!("{text}, the store's clock is ahead of ours"))
        })
    }

    async fn conditional_put(&self) -> Result<Seen> {
        let probe = conditional_writes(self.store, self.key("conditional-put"));
        Ok(match self.within(Operation::Put, probe).await? {
            Conditional::Works => Seen::Works("honoured".to_owned()),
            Conditional::Missing(reason) => Seen::Missing(reason),
        })
    }

    async fn conditional_delete(&self) -> Result<Seen> {
        let name = "conditional-delete";
        let first = self.write(name, PutOptions::default()).await?.etag;
        let Some(first) = first else {
            return Ok(Seen::Missing("a put answers no version (etag)".to_owned()));
        };
        let body = Bytes::from_static(b"second").into();
        let put = self.store.put(self.key(name), body, PutOptions::default());
        let second = self.within(Operation::Put, put).await?.etag;
        let stale = self.store.delete_if(self.key(name), first);
        match self.within(Operation::Delete, stale).await {
            Ok(()) => return Ok(Seen::Missing("the condition is ignored".to_owned())),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error),
        }
        let etag = second.unwrap_or_default();
        let delete = self.store.delete_if(self.key(name), etag);
        self.within(Operation::Delete, delete).await?;
        self.gone(name, Seen::Works("honoured".to_owned())).await
    }

    async fn delete(&self) -> Result<Seen> {
        let failed = self.delete_keys(vec![self.key("small")]).await?;
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
        self.gone("small", Seen::Works("deleted, and gone".to_owned()))
            .await
    }

    /// `seen`, if the object is not there any more.
    async fn gone(&self, name: &str, seen: Seen) -> Result<Seen> {
        match self
            .within(Operation::Head, self.store.head(self.key(name)))
            .await
        {
            Err(error) if error.is_not_found() => Ok(seen),
            Err(error) => Err(error),
            Ok(_) => Ok(Seen::Wrong(
                "success, but the object is still there".to_owned(),
            )),
        }
    }

    async fn delete_keys(&self, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
        let delete = self.store.delete(keys);
        self.within(Operation::Delete, delete).await
    }

    /// Deletes everything that was written. Answers what is still there.
    pub(super) async fn clean_up(&self) -> Result<Vec<String>> {
        // All that there can be, should the store not list it.
        let mut keys: Vec<Key> = (0..MANY)
            .map(|number| self.key(&format!("list-{number}")))
            .collect();
        for name in [
            "small",
            "large",
            "timestamp",
            "clock",
            "conditional-put",
            "conditional-delete",
        ] {
            keys.push(self.key(name));
        }
        let failed = self.delete_keys(keys).await?;
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
        let left = self.names().await?;
        Ok(left.iter().map(|key| key.as_str().to_owned()).collect())
    }
}
