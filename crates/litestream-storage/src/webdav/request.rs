//! Sending a request, logging in on the way, and what a status means.
//!
//! Invariant: a request goes out with the target that was built from the key, byte for byte, and
//! at most twice: again only when the server asked who is there.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;

use super::login::Login;
use super::multistatus::{self, Properties};
use super::upload::Upload;
use super::{KIND, WebdavSettings};
use crate::{Error, ErrorKind, HttpBody, HttpClient, HttpError, Operation, Result, encode_path};

/// Most bytes of an answer about files: a folder of some 400 000.
const MOST_ANSWER: usize = 256 << 20;
/// Most bytes of an answer that says nothing.
const MOST_REST: usize = 64 << 10;
/// Longest pause that is passed on from a server.
const MOST_PAUSE: Duration = Duration::from_hours(1);

/// A server and who we are there.
#[derive(Debug)]
pub(super) struct Server {
    client: HttpClient,
    login: Login,
    /// `http://host:port`.
    origin: String,
    /// Path of the address, decoded as the user wrote it, without a trailing slash.
    base: String,
}

/// What a request carries.
pub(super) enum Content<'a> {
    Nothing,
    Xml(&'static str),
    Upload(&'a Upload),
}

impl Server {
    pub(super) fn new(settings: WebdavSettings, client: HttpClient) -> Result<Self> {
        let WebdavSettings {
            url,
            username,
            password,
            ..
        } = settings;
        let invalid = || {
            Error::new(ErrorKind::Invalid, Operation::Head)
                .with_backend(KIND)
                .with_detail(format!(
                    "{url:?} is no address like https://host or http://host:port/path"
                ))
        };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let scheme = uri
            .scheme_str()
            .filter(|word| matches!(*word, "http" | "https"));
        let (Some(scheme), Some(host)) = (scheme, uri.authority()) else {
            return Err(invalid());
        };
        // Whoever writes the user into the address means him.
        let (user, host) = match host.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host.as_str()),
        };
        if host.is_empty() || user.is_some() {
            return Err(invalid());
        }
        Ok(Self {
            client,
            login: Login::new(username, password),
            origin: format!("{scheme}://{host}"),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The target of `path` below the address: a path without the server.
    pub(super) fn target(&self, path: &str) -> String {
        format!("{}/{}", self.base, encode_path(path))
    }

    /// The whole address of `path`.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}{}", self.origin, self.target(path))
    }

    /// Sends a request about `path` and answers whatever the server says, but 401.
    pub(super) async fn send(
        &self,
        operation: Operation,
        method: &str,
        path: &str,
        headers: &[(HeaderName, String)],
        content: Content<'_>,
    ) -> Result<Response<HttpBody>> {
        let target = self.target(path);
        if self.login.must_ask() && !matches!(content, Content::Nothing) {
            // Before a body is sent in vain.
            self.ask(operation).await?;
        }
        for last in [false, true] {
            let sent = self.login.header(method, &target);
            let request = self.request(operation, method, &target, headers, sent.as_deref())?;
            let answer = match &content {
                Content::Nothing => self.client.send(request.map(|()| full(Bytes::new()))).await,
                Content::Xml(text) => {
                    let text = Bytes::from_static(text.as_bytes());
                    let mut request = request;
                    let headers = request.headers_mut();
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
                    self.client.send(request.map(|()| full(text))).await
                }
                Content::Upload(upload) => {
                    let mut request = request;
                    let headers = request.headers_mut();
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(upload.size()));
                    let body = upload.body()?;
                    self.client.send(request.map(|()| body)).await
                }
            };
            let answer = answer.map_err(|error| error.into_error(operation))?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            let again = self.login.asked(answer.headers(), sent.as_deref());
            if last || !again {
                return Err(self.refused(operation, answer).await);
            }
            rest(answer).await;
        }
        unreachable!("the last round returns")
    }

    /// Finds out whether and how the server wants to know who is there.
    async fn ask(&self, operation: Operation) -> Result<()> {
        let target = self.target("");
        let request = self.request(operation, "OPTIONS", &target, &[], None)?;
        let answer = self.client.send(request.map(|()| full(Bytes::new()))).await;
        let answer = answer.map_err(|error| error.into_error(operation))?;
        if answer.status() == StatusCode::UNAUTHORIZED && !self.login.asked(answer.headers(), None)
        {
            return Err(self.refused(operation, answer).await);
        }
        rest(answer).await;
        Ok(())
    }

    fn request(
        &self,
        operation: Operation,
        method: &str,
        target: &str,
        headers: &[(HeaderName, String)],
        authorization: Option<&str>,
    ) -> Result<Request<()>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.origin));
        for (name, value) in headers {
            request = request.header(name, value.as_str());
        }
        if let Some(authorization) = authorization {
            let value = HeaderValue::from_str(authorization).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            request = match value {
                Ok(value) => request.header(AUTHORIZATION, value),
                Err(_) => {
                    return Err(Error::new(ErrorKind::Invalid, operation)
                        .with_detail("user or password has characters that HTTP cannot send"));
                }
            };
        }
        request.body(()).map_err(|source| {
            Error::new(ErrorKind::Invalid, operation)
                .with_detail(format!("no request can be made for {target:?}"))
                .with_source(source)
        })
    }

    /// The properties of `path` (depth 0), or of what is directly in it too (depth 1). Nothing
    /// when there is nothing.
    pub(super) async fn properties(
        &self,
        operation: Operation,
        path: &str,
        depth: &'static str,
    ) -> Result<Vec<Properties>> {
        let headers = [(HeaderName::from_static("depth"), depth.to_owned())];
        let question = Content::Xml(multistatus::QUESTION);
        let answer = self
            .send(operation, "PROPFIND", path, &headers, question)
            .await?;
        match answer.status() {
            StatusCode::MULTI_STATUS => {
                let xml = answer.into_body().collect_at_most(MOST_ANSWER).await;
                let xml = xml.map_err(|error| error.into_error(operation))?;
                multistatus::parse(operation, &xml)
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                rest(answer).await;
                Ok(Vec::new())
            }
            _ => Err(self.failed(operation, "PROPFIND", answer).await),
        }
    }

    /// What is at `path`, unless there is nothing. Of a file always its length.
    pub(super) async fn find(
        &self,
        operation: Operation,
        path: &str,
    ) -> Result<Option<Properties>> {
        let found = self.properties(operation, path, "0").await?;
        match found.into_iter().next() {
            Some(found) => self.whole(operation, path, found).await,
            None => Ok(None),
        }
    }

    /// `found`, which is at `path`, with the length of a file if it lacks that: from another
    /// answer then. `None` when it is gone; fails when the server does not tell.
    pub(super) async fn whole(
        &self,
        operation: Operation,
        path: &str,
        found: Properties,
    ) -> Result<Option<Properties>> {
        if let Some(refused) = found.refused {
            return Err(refusal(operation, path, refused));
        }
        if found.collection || found.size.is_some() {
            return Ok(Some(found));
        }
        let headers = [(ACCEPT_ENCODING, "identity".to_owned())];
        let answer = self
            .send(operation, "HEAD", path, &headers, Content::Nothing)
            .await?;
        match answer.status() {
            status if status.is_success() => {
                let length = answer.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.trim().parse().ok());
                rest(answer).await;
                let Some(length) = length else {
                    return Err(Error::new(ErrorKind::Corrupt, operation)
                        .with_detail(format!("the server tells no length of {path}")));
                };
                Ok(Some(Properties {
                    size: Some(length),
                    ..found
                }))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                rest(answer).await;
                Ok(None)
            }
            _ => {
                let what = format!("HEAD {path}");
                Err(self.failed(operation, &what, answer).await)
            }
        }
    }

    async fn refused(&self, operation: Operation, answer: Response<HttpBody>) -> Error {
        let error = self.failed(operation, "login", answer).await;
        if self.login.must_ask() {
            error.with_detail("the server wants another login than Basic or Digest")
        } else {
            error
        }
    }

    /// The error that an answer means.
    pub(super) async fn failed(
        &self,
        operation: Operation,
        what: &str,
        answer: Response<HttpBody>,
    ) -> Error {
        let status = answer.status();
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|to| to.to_str().ok());
        let mut detail = format!("{what}: the server answers {status}");
        if status.is_redirection()
            && let Some(location) = location
        {
            detail = format!("{detail} and points to {location}: set that as webdav-url");
        }
        let error = Error::new(kind_of(status, answer.headers()), operation)
            .with_code(status.as_u16().to_string())
            .with_detail(detail);
        rest(answer).await;
        error
    }
}

fn full(bytes: Bytes) -> Full<Bytes> {
    Full::new(bytes)
}

/// Reads what is left of an answer, so that its connection can be used again.
pub(super) async fn rest(answer: Response<HttpBody>) {
    let read: Result<Bytes, HttpError> = answer.into_body().collect_at_most(MOST_REST).await;
    drop(read);
}

/// The error of a file about which an answer says nothing but this status.
pub(super) fn refusal(operation: Operation, path: &str, status: u16) -> Error {
    let kind = StatusCode::from_u16(status)
        .map_or(ErrorKind::Io, |status| kind_of(status, &HeaderMap::new()));
    Error::new(kind, operation)
        .with_code(status.to_string())
        .with_detail(format!("the server answers {status} about {path}"))
}

fn kind_of(status: StatusCode, headers: &HeaderMap) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        405 | 501 => ErrorKind::Unsupported,
        412 => ErrorKind::PreconditionFailed,
        507 => ErrorKind::DiskFull,
        408 | 423 | 425 | 429 | 500 | 502..=504 => ErrorKind::Unavailable {
            retry_after: pause(headers),
        },
        505..=599 => ErrorKind::Unavailable { retry_after: None },
        409 => ErrorKind::Io,
        _ => ErrorKind::Invalid,
    }
}

fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let now = crate::clock::unix_ms(std::time::SystemTime::now());
        let until = multistatus::date(text)?.checked_sub(now)?;
        Duration::from_millis(u64::try_from(until).ok()?)
    };
    Some(pause.min(MOST_PAUSE))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::pause;

    #[test]
    fn pauses_are_numbers_or_dates() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            pause(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("999999999999"), Some(Duration::from_hours(1)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(
            of("Sun, 06 Nov 2094 08:49:37 GMT"),
            Some(Duration::from_hours(1))
        );
        assert_eq!(of("soon"), None);
        assert_eq!(pause(&HeaderMap::new()), None);
    }
}
