//! Requests of the SDK over the HTTP client that all backends share.

use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use http::{HeaderName, HeaderValue, header};

use super::debug::S3Debug;
use super::settings::{S3Settings, S3SettingsError, in_the_clear};
use crate::http::HttpClient;

/// Header of Tigris that asks for answers as of the newest write.
const CONSISTENT: HeaderName = HeaderName::from_static("x-tigris-consistent");

/// See the module.
#[derive(Debug, Clone)]
struct Wire {
    http: HttpClient,
    consistent: bool,
    /// Requests hold a key that nobody may read on the way.
    confidential: bool,
    debug: S3Debug,
    /// Limit until the head of the answer, of those that ask a machine that may not be there.
    limit: Option<Duration>,
}

/// What the SDK sends its requests with: those to the bucket of `settings`, or without any, to
/// others.
pub(super) fn client(http: HttpClient, settings: Option<&S3Settings>) -> SharedHttpClient {
    let consistent = settings.is_some_and(|settings| settings.consistent);
    let confidential =
        settings.is_some_and(|settings| settings.encryption.customer_key().is_some());
    let debug = settings.map_or_else(S3Debug::default, |settings| settings.debug);
    http_client_fn(move |settings, _| {
        let (connect, read) = (settings.connect_timeout(), settings.read_timeout());
        SharedHttpConnector::new(Wire {
            http: http.clone(),
            consistent,
            confidential,
            debug,
            limit: read.map(|read| read + connect.unwrap_or_default()),
        })
    })
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(limit) = wire.limit else {
                return wire.send(request).await;
            };
            match tokio::time::timeout(limit, wire.send(request)).await {
                Ok(answer) => answer,
                Err(late) => Err(ConnectorError::timeout(late.into())),
            }
        })
    }
}

impl Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        if self.confidential {
            ensure_confidential(request.uri())?;
        }
        self.debug.sending(&request);
        let mut request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let headers = request.headers_mut();
        // Both are left out of signatures: intermediaries may change them.
        if let Some(theirs) = headers.get(header::USER_AGENT) {
            let own = [b"litestream ", theirs.as_bytes()].concat();
            if let Ok(own) = HeaderValue::from_bytes(&own) {
                headers.insert(header::USER_AGENT, own);
            }
        }
        if self.consistent {
            headers.insert(CONSISTENT, HeaderValue::from_static("true"));
        }
        // The kind is decided from the error itself, see `error`.
        let response = self.http.send(request).await.map_err(|error| {
            self.debug.failed(&error);
            ConnectorError::other(error.into(), None)
        })?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if self.debug.wants_body(&head.headers) {
            let most = S3Debug::most_shown();
            let body = body.collect_at_most(most).await;
            let body = body.map_err(|error| ConnectorError::other(error.into(), None))?;
            self.debug.answered(status, &head.headers, Some(&body));
            let response = http::Response::from_parts(head, SdkBody::from(body));
            return HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None));
        }
        self.debug.answered(status, &head.headers, None);
        let response = http::Response::from_parts(head, body);
        HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
            .map_err(|error| ConnectorError::other(error.into(), None))
    }
}

/// The address that counts: environment and profiles may name another than the settings do.
fn ensure_confidential(address: &str) -> Result<(), ConnectorError> {
    let clear = address
        .parse()
        .map_err(|error: http::uri::InvalidUri| ConnectorError::user(error.into()))?;
    match in_the_clear(&clear) {
        None => Ok(()),
        Some(host) => Err(ConnectorError::user(
            S3SettingsError::CustomerKeyInTheClear(host.to_owned()).into(),
        )),
    }
}
