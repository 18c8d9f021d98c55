//! Requests to the service: addresses, authorization and errors.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::Full;

use super::credentials::Issuer;
use super::sign::AccountKey;
use super::{AbsCredentials, AbsIdentity, AbsSettings, KIND};
use crate::http::reply::{self, Complaint};
use crate::http::token::Tokens;
use crate::http::xml;
use crate::retry::Retrying;
use crate::{
    Error, ErrorKind, HttpBody, HttpClient, HttpError, Key, Operation, Result, encode_component,
    moment,
};

/// Version of the interface that is spoken.
const VERSION: &str = "2023-11-03";

#[derive(Debug)]
pub(super) struct Service {
    pub(super) settings: AbsSettings,
    http: HttpClient,
    direct: HttpClient,
    pub(super) retrying: Retrying,
    proof: Proof,
}

/// How requests are authorized.
enum Proof {
    Key(AccountKey),
    Sas(String),
    Identity(AbsIdentity, Tokens),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Sas(_) => "Sas",
            Self::Identity(..) => "Identity",
        })
    }
}

impl Service {
    pub(super) fn new(
        settings: AbsSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        let proof = match &settings.credentials {
            AbsCredentials::AccountKey { account, key } => Proof::Key(
                AccountKey::new(account, key).map_err(|error| HttpError::Invalid(error.into()))?,
            ),
            AbsCredentials::Sas(query) => Proof::Sas(query.trim_start_matches('?').to_owned()),
            AbsCredentials::Identity(identity) => {
                Proof::Identity(identity.clone(), Tokens::default())
            }
        };
        let direct = http.direct()?;
        Ok(Self {
            settings,
            http,
            direct,
            retrying,
            proof,
        })
    }

    /// The name of the object in the container.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    /// A request to the container.
    pub(super) fn container(&self, query: &str) -> request::Builder {
        self.request(Method::GET, "", query)
    }

    /// A request about one object.
    pub(super) fn blob(&self, method: Method, key: &Key, query: &str) -> request::Builder {
        let name = encode_component(&self.name(key.as_str()));
        self.request(method, &format!("/{name}"), query)
    }

    fn request(&self, method: Method, path: &str, query: &str) -> request::Builder {
        let endpoint = self.settings.endpoint.trim_end_matches('/');
        let container = encode_component(&self.settings.container);
        let mut url = format!("{endpoint}/{container}{path}");
        let sas = match &self.proof {
            Proof::Sas(sas) => sas.as_str(),
            _ => "",
        };
        for (sign, part) in [
            ('?', query),
            (if query.is_empty() { '?' } else { '&' }, sas),
        ] {
            if !part.is_empty() {
                url.push(sign);
                url.push_str(part);
            }
        }
        Request::builder().method(method).uri(url)
    }

    /// Sends a request without a body; an answer that is no success is an error.
    pub(super) async fn send(
        &self,
        operation: Operation,
        request: request::Builder,
    ) -> Result<Response<HttpBody>> {
        self.send_with(operation, request, Bytes::new()).await
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn send_with(
        &self,
        operation: Operation,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<HttpBody>> {
        let response = self.exchange(operation, request, body).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(operation, response).await)
    }

    /// Sends a request, authorized, and once more with a new token should a kept one be refused.
    pub(super) async fn exchange(
        &self,
        operation: Operation,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<HttpBody>> {
        let length = body.len() as u64;
        let request = request
            .header("x-ms-version", VERSION)
            .header("x-ms-date", moment::http(self.retrying.clock.now_ms()))
            .body(Full::new(body))
            .map_err(|error| {
                Error::new(ErrorKind::Invalid, operation).with_detail(error.to_string())
            })?;
        let (identity, tokens) = match &self.proof {
            Proof::Sas(_) => return self.raw(operation, request).await,
            Proof::Key(key) => {
                let (mut head, body) = request.into_parts();
                let signature = HeaderValue::try_from(key.sign(&head, length)).map_err(|_| {
                    Error::new(ErrorKind::Invalid, operation)
                        .with_detail("the name of the account is no text for a header")
                })?;
                head.headers.insert(header::AUTHORIZATION, signature);
                return self.raw(operation, Request::from_parts(head, body)).await;
            }
            Proof::Identity(identity, tokens) => (identity, tokens),
        };
        let issuer = Issuer {
            http: &self.http,
            direct: &self.direct,
            operation,
            now_ms: self.retrying.clock.now_ms(),
        };
        let with = |token: &HeaderValue| {
            let mut request = request.clone();
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, token.clone());
            request
        };
        let (token, was_kept) = tokens.get(issuer.issue(identity)).await?;
        let response = self.raw(operation, with(&token)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        tokens.forget(&token).await;
        if !was_kept {
            return Ok(response);
        }
        let (token, _) = tokens.get(issuer.issue(identity)).await?;
        self.raw(operation, with(&token)).await
    }

    async fn raw(
        &self,
        operation: Operation,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<HttpBody>> {
        let response = self.http.send(request).await;
        response.map_err(|error| error.into_error(operation))
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

/// The error of an answer that is no success.
pub(super) async fn refused(operation: Operation, response: Response<HttpBody>) -> Error {
    let error = reply::failure(operation, response, complaint).await;
    let kind = match error.label() {
        "BlobAlreadyExists" => ErrorKind::AlreadyExists,
        // The container comes back with the same name, or another upload replaced our blocks.
        "ContainerBeingDeleted" => ErrorKind::Unavailable { retry_after: None },
        "InvalidBlockList" | "InvalidBlobOrBlock" => ErrorKind::Io,
        "ContainerNotFound" if matches!(operation, Operation::List | Operation::Put) => {
            ErrorKind::Invalid
        }
        _ => return error,
    };
    error.with_kind(kind)
}

fn complaint(headers: &HeaderMap, body: &[u8]) -> Complaint {
    let tree = xml::parse(body).unwrap_or_default();
    let code = reply::text(headers, "x-ms-error-code").or_else(|| tree.text_of("Code"));
    Complaint {
        code: code.map(str::to_owned),
        message: tree.text_of("Message").map(str::to_owned),
    }
}
