//! Reading the messages of a subject, from the first on.
//!
//! Invariant: every wait is bounded; messages are asked for in batches, so that a slow reader
//! holds no more than two batches in memory; no end is answered while a message is missing that
//! the server has, or has sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use futures_util::{FutureExt as _, StreamExt as _};

use super::connect::Bucket;
use crate::{Error, ErrorKind, Operation, Result};

/// Empty batches in a row while the server says that there is more.
const ROUNDS: u32 = 10;

/// After how long the server forgets a reader that it hears nothing from.
const FORGOTTEN: Duration = Duration::from_mins(2);

/// A reader of one subject, or of those that a pattern matches.
pub(super) struct Messages {
    bucket: Arc<Bucket>,
    consumer: Consumer<pull::Config>,
    operation: Operation,
    /// Messages per request.
    batch: usize,
    ready: VecDeque<Message>,
    /// Messages that have come, as the server counts them.
    received: u64,
    /// Set when the server had no more.
    ended: bool,
}

impl Messages {
    pub(super) async fn open(
        bucket: Arc<Bucket>,
        operation: Operation,
        subject: String,
        batch: usize,
    ) -> Result<Self> {
        let config = pull::Config {
            description: Some("litestream".to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            filter_subject: subject,
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = bucket.stream.create_consumer(config).await;
        let consumer = consumer.map_err(|source| {
            Error::new(ErrorKind::Unavailable { retry_after: None }, operation)
                .with_detail(format!("begin to read the object store {:?}", bucket.name))
                .with_source(source)
        })?;
        let ended = consumer.cached_info().num_pending == 0;
        Ok(Self {
            bucket,
            consumer,
            operation,
            batch,
            ready: VecDeque::new(),
            received: 0,
            ended,
        })
    }

    /// The next message; `None` when there are none at this moment.
    pub(super) async fn next(&mut self) -> Result<Option<Message>> {
        let mut rounds = 0;
        while self.ready.is_empty() && !self.ended {
            rounds += 1;
            self.fetch(rounds == ROUNDS).await?;
        }
        let message = self.ready.pop_front();
        if let Some(message) = &message
            && self.ready.is_empty()
            && self.info(message)?.pending == 0
        {
            self.ended = true;
        }
        Ok(message)
    }

    /// Where a message was in the stream.
    pub(super) fn info<'a>(
        &self,
        message: &'a Message,
    ) -> Result<async_nats::jetstream::message::Info<'a>> {
        message.info().map_err(|source| {
            Error::new(ErrorKind::Corrupt, self.operation)
                .with_detail("a message without its place in the stream")
                .with_source(source)
        })
    }

    /// One batch; an empty one that is the `last` is the end or an error.
    async fn fetch(&mut self, last: bool) -> Result<()> {
        let limit = self.bucket.timeout;
        let broken = |source: async_nats::Error| {
            Error::new(ErrorKind::Io, self.operation)
                .with_detail(format!("read the object store {:?}", self.bucket.name))
                .with_source(source)
        };
        let request = self.consumer.fetch().max_messages(self.batch).messages();
        let mut batch = within(limit, self.operation, request)
            .await?
            .map_err(|source| broken(source.into()))?;
        while let Some(message) = within(limit, self.operation, batch.next()).await? {
            let message = message.map_err(broken)?;
            let number = self.info(&message)?.consumer_sequence;
            if number != self.received + 1 {
                return Err(self.lost(number.saturating_sub(1)));
            }
            self.received = number;
            self.ready.push_back(message);
        }
        if self.ready.is_empty() {
            self.end(last).await?;
        }
        Ok(())
    }

    /// An empty batch is the end, or a request that was given up on the way: the server knows.
    async fn end(&mut self, last: bool) -> Result<()> {
        let asked = self.consumer.get_info();
        let info = within(self.bucket.timeout, self.operation, asked).await?;
        let info = info.map_err(|source| {
            Error::new(ErrorKind::Io, self.operation)
                .with_detail(format!("read the object store {:?}", self.bucket.name))
                .with_source(source)
        })?;
        let sent = info.delivered.consumer_sequence;
        // What is pending may have been written since; it comes with the next batch.
        if sent != self.received || last && info.num_pending > 0 {
            return Err(self.lost(sent + info.num_pending));
        }
        self.ended = info.num_pending == 0;
        Ok(())
    }

    /// The error of messages that did not come, of `there` so far.
    fn lost(&self, there: u64) -> Error {
        Error::new(ErrorKind::Io, self.operation).with_detail(format!(
            "read the object store {:?}: {} messages came of {there}",
            self.bucket.name, self.received
        ))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // The server would forget the reader by itself, but has a limit of them.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let bucket = Arc::clone(&self.bucket);
            let name = self.consumer.cached_info().name.clone();
            runtime.spawn(async move {
                drop(bucket.stream.delete_consumer(&name).await);
            });
        }
    }
}

/// Waits for at most `limit`.
async fn within<T>(
    limit: Duration,
    operation: Operation,
    work: impl Future<Output = T> + Send,
) -> Result<T> {
    let waited = tokio::time::timeout(limit, work).boxed().await;
    waited.map_err(|_| {
        Error::new(ErrorKind::Timeout, operation)
            .with_detail(format!("no message in {} ms", limit.as_millis()))
    })
}
