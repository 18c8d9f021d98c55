//! Requests to the service: addresses, authorization, errors, and what it says about objects.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;

use super::credentials::Issuer;
use super::{GsCredentials, GsSettings, KIND, TIMESTAMP};
use crate::http::reply::{self, Complaint};
use crate::http::token::Tokens;
use crate::moment::parse_rfc3339;
use crate::retry::Retrying;
use crate::{
    Error, ErrorKind, HttpBody, HttpClient, HttpError, Key, ObjectMeta, Operation, Result,
    encode_component,
};

/// A request before it is authorized; its body can be sent again.
pub(super) type Plain = http::Result<Request<Full<Bytes>>>;

/// The fields of an object that are asked for.
pub(super) const FIELDS: &str = "name,size,generation,timeCreated,metadata";

#[derive(Debug)]
pub(super) struct Service {
    pub(super) settings: GsSettings,
    http: HttpClient,
    direct: HttpClient,
    pub(super) retrying: Retrying,
    tokens: Tokens,
}

/// An object as the JSON interface describes it. Numbers are texts there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    generation: String,
    #[serde(default)]
    time_created: String,
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
    /// Checksum of the content, only in the answer of an upload.
    pub(super) crc32c: Option<String>,
}

impl Service {
    pub(super) fn new(
        settings: GsSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        let direct = http.direct()?;
        Ok(Self {
            settings,
            http,
            direct,
            retrying,
            tokens: Tokens::default(),
        })
    }

    /// The name of the object in the bucket.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    /// `https://HOST/storage/v1/b/BUCKET/o`
    pub(super) fn objects_url(&self) -> String {
        let GsSettings {
            endpoint, bucket, ..
        } = &self.settings;
        format!("{endpoint}/storage/v1/b/{}/o", encode_component(bucket))
    }

    /// A request about one object.
    pub(super) fn object_request(&self, method: Method, key: &Key, query: &str) -> Plain {
        let name = encode_component(&self.name(key.as_str()));
        let sign = if query.is_empty() { "" } else { "?" };
        let url = format!("{}/{name}{sign}{query}", self.objects_url());
        Request::builder()
            .method(method)
            .uri(url)
            .body(Full::default())
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn send(
        &self,
        operation: Operation,
        key: Option<&Key>,
        request: Plain,
    ) -> Result<Response<HttpBody>> {
        let response = self.exchange(operation, request).await;
        let response = response.map_err(|error| self.finish(error, key))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.finish(refused(operation, response).await, key))
    }

    /// Sends a request, with a token, and with a new one should a kept one be refused. Answers
    /// whatever comes.
    pub(super) async fn exchange(
        &self,
        operation: Operation,
        request: Plain,
    ) -> Result<Response<HttpBody>> {
        let request = request.map_err(|error| {
            Error::new(ErrorKind::Invalid, operation).with_detail(error.to_string())
        })?;
        if self.settings.credentials == GsCredentials::Anonymous {
            return self.raw(operation, request).await;
        }
        let (token, was_kept) = self.token(operation).await?;
        let response = self.authorized(operation, request.clone(), &token).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.tokens.forget(&token).await;
        if !was_kept {
            return Ok(response);
        }
        let (token, _) = self.token(operation).await?;
        self.authorized(operation, request, &token).await
    }

    async fn authorized(
        &self,
        operation: Operation,
        mut request: Request<Full<Bytes>>,
        token: &HeaderValue,
    ) -> Result<Response<HttpBody>> {
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, token.clone());
        self.raw(operation, request).await
    }

    async fn raw(
        &self,
        operation: Operation,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<HttpBody>> {
        let response = self.http.send(request).await;
        response.map_err(|error| error.into_error(operation))
    }

    async fn token(&self, operation: Operation) -> Result<(HeaderValue, bool)> {
        let issuer = Issuer {
            http: &self.http,
            direct: &self.direct,
            operation,
            now_ms: self.retrying.clock.now_ms(),
        };
        self.tokens
            .get(issuer.issue(&self.settings.credentials))
            .await
    }

    /// What is known of an object.
    pub(super) async fn head(&self, operation: Operation, key: &Key) -> Result<ObjectMeta> {
        let request = self.object_request(Method::GET, key, &format!("fields={FIELDS}"));
        let response = self.send(operation, Some(key), request).await?;
        let meta = match resource(operation, response).await {
            Ok(resource) => resource.meta(key.clone()),
            Err(error) => Err(error),
        };
        meta.map_err(|error| self.finish(error.with_operation(operation), Some(key)))
    }

    /// Completes an error.
    #[expect(clippy::unused_self, reason = "the same call on every service")]
    pub(super) fn finish(&self, error: Error, key: Option<&Key>) -> Error {
        let error = error.with_backend(KIND);
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }
}

/// Reads the description of an object.
pub(super) async fn resource(
    operation: Operation,
    response: Response<HttpBody>,
) -> Result<Resource> {
    let content = reply::collect(operation, response).await?;
    serde_json::from_slice(&content)
        .map_err(|error| reply::nonsense(operation, format!("description of an object: {error}")))
}

impl Resource {
    /// As the metadata of `key`.
    pub(super) fn meta(&self, key: Key) -> Result<ObjectMeta> {
        let size = self.size.parse().map_err(|_| {
            reply::nonsense(
                Operation::Head,
                format!("size of an object: {:?}", self.size),
            )
        })?;
        Ok(ObjectMeta {
            key,
            size,
            modified: parse_rfc3339(&self.time_created).unwrap_or(0),
            timestamp: self
                .metadata
                .get(TIMESTAMP)
                .and_then(|text| parse_rfc3339(text)),
            etag: Some(self.generation.clone()).filter(|text| !text.is_empty()),
        })
    }
}

/// The error of an answer that is no success.
pub(super) async fn refused(operation: Operation, response: Response<HttpBody>) -> Error {
    let status = response.status();
    let error = reply::failure(operation, response, complaint).await;
    // A conflict is another change of the same object at the same moment.
    if status == StatusCode::CONFLICT {
        return error.with_kind(ErrorKind::Unavailable { retry_after: None });
    }
    error
}

/// The JSON interface answers JSON; the plain one XML, of which the status says enough.
fn complaint(_: &HeaderMap, body: &[u8]) -> Complaint {
    #[derive(Deserialize)]
    struct Answer {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        message: Option<String>,
        #[serde(default)]
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        reason: Option<String>,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { error }) => Complaint {
            code: error.errors.into_iter().find_map(|error| error.reason),
            message: error.message,
        },
        Err(_) => Complaint {
            code: None,
            message: Some(String::from_utf8_lossy(body).into_owned()).filter(|m| !m.is_empty()),
        },
    }
}
