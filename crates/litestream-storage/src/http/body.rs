//! Bodies on their way out and in, watched for progress.
//!
//! Invariant: no frame handed to the connection is larger than [`PIECE`], so that progress of a
//! slow upload shows well before the limit.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{BoxError, HttpError};

/// Largest frame of a request body.
const PIECE: usize = 64 << 10;

/// What is known of a request body on its way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Frames that the connection took.
    taken: AtomicU64,
    /// Whether the connection waits for the source.
    waiting: AtomicBool,
    /// Why the source failed.
    error: Mutex<Option<BoxError>>,
}

impl Progress {
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn error(&self) -> Option<BoxError> {
        self.error.lock().expect("never held in a panic").take()
    }

    fn fail(&self, error: BoxError) {
        *self.error.lock().expect("never held in a panic") = Some(error);
    }
}

/// A request body that reports its progress.
pub(super) struct RequestBody {
    source: UnsyncBoxBody<Bytes, BoxError>,
    /// What is left of the source's last frame.
    rest: Bytes,
    progress: Arc<Progress>,
}

/// The error given to the connection; the real one is kept in [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the body of the request failed")]
pub(super) struct SourceFailed;

impl RequestBody {
    pub(super) fn new<B>(source: B, progress: Arc<Progress>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            source: source.map_err(Into::into).boxed_unsync(),
            rest: Bytes::new(),
            progress,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = SourceFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        self.progress.taken.fetch_add(1, Ordering::Relaxed);
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.source).poll_frame(cx);
            let waits = polled.is_pending();
            self.progress.waiting.store(waits, Ordering::Relaxed);
            match ready!(polled) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    self.progress.fail(error);
                    return Poll::Ready(Some(Err(SourceFailed)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let len = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(len);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let source = self.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower().saturating_add(rest));
        if let Some(upper) = source.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// The body of a response. Fails when it ends early or nothing comes for too long.
#[derive(Debug)]
pub struct HttpBody {
    incoming: Incoming,
    host: String,
    limit: Duration,
    /// Runs while the reader waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody {
    pub(super) fn new(incoming: Incoming, host: String, limit: Duration) -> Self {
        Self {
            incoming,
            host,
            limit,
            timer: None,
        }
    }

    /// The data as a stream of chunks. Dropping it ends the transfer.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, HttpError>> {
        stream::unfold(self, |mut body| async move {
            loop {
                match body.frame().await? {
                    Err(error) => return Some((Err(error), body)),
                    Ok(frame) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Some((Ok(data), body)),
                        // Trailers say nothing that a store wants to know.
                        Err(_) => {}
                    },
                }
            }
        })
        .boxed()
    }

    /// The whole body in memory; fails when it is longer than `most` bytes.
    pub async fn collect_at_most(mut self, most: usize) -> Result<Bytes, HttpError> {
        let mut all = BytesMut::new();
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                if all.len() + data.len() > most {
                    let host = self.host;
                    return Err(HttpError::TooLong { host, most });
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(all.freeze())
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|source| HttpError::Broken {
                    host: self.host.clone(),
                    source: source.into(),
                })
            }));
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(HttpError::Stalled {
            host: self.host.clone(),
            limit,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
