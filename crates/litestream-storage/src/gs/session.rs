//! Resumable sessions: a body part by part, each going on where the service says it is.
//!
//! Invariants: the last request of a session, which makes the object appear, is sent only when the
//! whole body was read without error and all before it is stored. A part that fails goes on from
//! what the service has of it; a session that fails is given up.

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;

use super::service::{Resource, Service, refused, resource};
use crate::http::reply;
use crate::parts::Part;
use crate::{Error, ErrorKind, HttpBody, Operation, Result};

/// An upload in parts.
pub(super) struct Session<'a> {
    service: &'a Service,
    url: String,
    /// How much the service has for certain: all parts before the next one.
    offset: u64,
}

/// What the service says about a session.
enum Said {
    /// It has so many bytes.
    Taken(u64),
    /// It has all of them, and the object is there.
    Stored(Resource),
}

impl<'a> Session<'a> {
    pub(super) fn new(service: &'a Service, url: String) -> Self {
        Self {
            service,
            url,
            offset: 0,
        }
    }

    /// Sends one part, in as many requests as it takes; answers the object after the last part.
    ///
    /// After a request that failed the service is asked what it has, so that nothing is sent
    /// twice, and an object whose answer was lost is found. Whatever advances the session gives it
    /// all its tries back.
    pub(super) async fn send(&mut self, part: &Part) -> Result<Option<Resource>> {
        let end = self.offset + part.data.len() as u64;
        let mut tries = self.service.retrying.tries();
        let mut at = self.offset;
        let mut is_known = true;
        loop {
            let said = if is_known {
                self.send_from(part, at).await
            } else {
                self.ask(part).await
            };
            match said {
                Ok(Said::Stored(stored)) if part.is_last => return Ok(Some(stored)),
                Ok(Said::Stored(_)) => {
                    let what = "the upload ended before its last part";
                    return Err(reply::nonsense(Operation::Put, what));
                }
                Ok(Said::Taken(taken)) if taken < self.offset || taken > end => {
                    return Err(self.stuck(end, taken));
                }
                Ok(Said::Taken(taken)) if taken == end && !part.is_last => {
                    self.offset = end;
                    return Ok(None);
                }
                Ok(Said::Taken(taken)) => {
                    if taken > at {
                        tries.advance(taken - at);
                    } else if is_known {
                        tries.again(self.stuck(end, taken)).await?;
                    }
                    (at, is_known) = (taken, true);
                }
                // Nothing goes on in a session that is gone; another one may be begun.
                Err(error) if is_gone(&error) => return Err(error.with_kind(ErrorKind::Io)),
                Err(error) => {
                    tries.again(error).await?;
                    is_known = false;
                }
            }
        }
    }

    /// Gives the session up, so that nothing is left of it. It ends by itself after a week, so an
    /// error here changes nothing.
    pub(super) async fn cancel(&self) {
        let request = Request::delete(&self.url).body(Full::default());
        let _ = self.service.exchange(Operation::Put, request).await;
    }

    /// Sends what the service lacks of `part`, of which it has everything before `at`.
    async fn send_from(&self, part: &Part, at: u64) -> Result<Said> {
        let data = part.data.slice((at - self.offset) as usize..);
        let total = self.total(part);
        let range = match data.len() as u64 {
            0 => format!("bytes */{total}"),
            len => format!("bytes {at}-{}/{total}", at + len - 1),
        };
        self.request(range, data).await
    }

    /// Asks what the service has.
    async fn ask(&self, part: &Part) -> Result<Said> {
        self.request(format!("bytes */{}", self.total(part)), bytes::Bytes::new())
            .await
    }

    /// The size of the object, once it is known.
    fn total(&self, part: &Part) -> String {
        if part.is_last {
            (self.offset + part.data.len() as u64).to_string()
        } else {
            "*".to_owned()
        }
    }

    async fn request(&self, range: String, data: bytes::Bytes) -> Result<Said> {
        let request = Request::put(&self.url)
            .header(header::CONTENT_RANGE, range)
            .body(Full::new(data));
        let response = self.service.exchange(Operation::Put, request).await?;
        match response.status() {
            StatusCode::PERMANENT_REDIRECT => Ok(Said::Taken(taken(&response))),
            status if status.is_success() => {
                Ok(Said::Stored(resource(Operation::Put, response).await?))
            }
            _ => Err(refused(Operation::Put, response).await),
        }
    }

    fn stuck(&self, end: u64, taken: u64) -> Error {
        let what = format!("sent bytes {}-{end}, the service has {taken}", self.offset);
        Error::new(ErrorKind::Io, Operation::Put).with_detail(what)
    }
}

/// Answered about a session, it is the session that was not found.
fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// How many bytes of the session the service has.
fn taken(response: &Response<HttpBody>) -> u64 {
    reply::text(response.headers(), "range")
        .and_then(|range| range.rsplit_once('-')?.1.trim().parse::<u64>().ok())
        .map_or(0, |last| last + 1)
}
