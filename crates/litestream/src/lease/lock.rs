//! The object `lock.json`: read, written and deleted under conditions, each within a limit of time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use litestream_storage as storage;
use litestream_storage::{
    ByteRange, Clock, Condition, ErrorKind, Key, ObjectStore, Operation, PutOptions,
};

use super::record::Record;
use super::{Conditional, conditional_writes};

/// Its key, beside the levels.
pub(super) const KEY: &str = "lock.json";

/// No lease is longer: what is there instead is not read into memory.
const MOST_BYTES: u64 = 64 << 10;

/// What is there.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Lease {
        record: Record,
        etag: String,
    },
    /// Something that cannot be read, and why.
    Foreign(String),
}

/// What a conditional write came to.
#[derive(Debug)]
pub(super) enum Written {
    /// It is there, in this version.
    Done(String),
    /// Another was first.
    Refused,
    /// The store cannot do that.
    Unsupported(String),
    /// It is there or not.
    Unknown(storage::Error),
}

#[derive(Debug)]
pub(super) struct LockFile {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
}

impl LockFile {
    pub(super) fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    pub(super) fn kind(&self) -> &'static str {
        self.store.kind()
    }

    pub(super) async fn read(&self, limit: Duration) -> storage::Result<Found> {
        let read = async {
            let object = self
                .store
                .get(Key::from(KEY), ByteRange::new(0, MOST_BYTES))
                .await?;
            let etag = object.meta.etag.clone();
            Ok((etag, object.into_bytes().await?))
        };
        match self.within(limit, Operation::Get, read).await {
            Ok((Some(etag), content)) => Ok(match Record::decode(&content) {
                Ok(record) => Found::Lease { record, etag },
                Err(reason) => Found::Foreign(format!("{KEY} is no lease: {reason}")),
            }),
            Ok((None, _)) => Ok(Found::Foreign(format!(
                "the store tells no version (etag) of {KEY}"
            ))),
            Err(error) if error.is_not_found() => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes `record` in place of the version `etag`, or where nothing is.
    pub(super) async fn write(
        &self,
        record: &Record,
        etag: Option<&str>,
        limit: Duration,
    ) -> Written {
        let options = PutOptions {
            condition: etag.map_or(Condition::IfAbsent, |etag| {
                Condition::IfMatch(etag.to_owned())
            }),
            ..PutOptions::default()
        };
        let body = Bytes::from(record.encode()).into();
        let put = self.store.put(Key::from(KEY), body, options);
        match self.within(limit, Operation::Put, put).await {
            Ok(meta) => match meta.etag {
                Some(etag) => Written::Done(etag),
                None => self.version_of(record, limit).await,
            },
            Err(error) => match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed | ErrorKind::NotFound => {
                    Written::Refused
                }
                ErrorKind::Unsupported => Written::Unsupported(error.to_string()),
                _ => Written::Unknown(error),
            },
        }
    }

    /// The version under which `record`, just written, is stored.
    async fn version_of(&self, record: &Record, limit: Duration) -> Written {
        match self.read(limit).await {
            Ok(Found::Lease {
                record: found,
                etag,
            }) if found == *record => Written::Done(etag),
            Ok(Found::Foreign(reason)) => Written::Unsupported(reason),
            Ok(_) => Written::Refused,
            Err(error) => Written::Unknown(error),
        }
    }

    pub(super) async fn delete(&self, etag: &str, limit: Duration) -> storage::Result<()> {
        let delete = self.store.delete_if(Key::from(KEY), etag.to_owned());
        self.within(limit, Operation::Delete, delete).await
    }

    pub(super) async fn probe(&self, key: Key, limit: Duration) -> storage::Result<Conditional> {
        let probe = conditional_writes(&*self.store, key);
        self.within(limit, Operation::Put, probe).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        operation: Operation,
        call: impl Future<Output = storage::Result<T>>,
    ) -> storage::Result<T> {
        tokio::select! {
            result = call => result,
            () = self.clock.sleep(limit) => Err(storage::Error::new(ErrorKind::Timeout, operation)
                .with_backend(self.store.kind())
                .with_key(&Key::from(KEY))
                .with_detail(format!("no answer in {} ms", limit.as_millis()))),
        }
    }
}
