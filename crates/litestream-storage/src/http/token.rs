//! Bearer tokens: fetched when needed, kept until shortly before they expire.
//!
//! Invariant: one fetch at a time; whoever comes meanwhile waits for it and takes its token.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::reply::{self, Complaint};
use super::{HttpClient, encode_component};
use crate::{Error, ErrorKind, Operation, Result};

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_mins(4);

/// A token as it was issued.
pub(crate) struct Token {
    pub(crate) text: String,
    /// From now on.
    pub(crate) lifetime: Duration,
}

/// The token of a store.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Option<Kept>>);

struct Kept {
    value: HeaderValue,
    until: Instant,
}

impl Tokens {
    /// The value of the `Authorization` header, and whether it was kept from before.
    pub(crate) async fn get(
        &self,
        fetch: impl Future<Output = Result<Token>>,
    ) -> Result<(HeaderValue, bool)> {
        let mut kept = self.0.lock().await;
        if let Some(Kept { value, until }) = &*kept
            && Instant::now() < *until
        {
            return Ok((value.clone(), true));
        }
        let token = fetch.await?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.text)).map_err(|_| {
            Error::new(ErrorKind::Denied, Operation::Get).with_detail("the token is no text")
        })?;
        value.set_sensitive(true);
        // A token that lives less than the margin serves this call only.
        let until = Instant::now() + token.lifetime.saturating_sub(MARGIN);
        *kept = Some(Kept {
            value: value.clone(),
            until,
        });
        Ok((value, false))
    }

    /// Forgets a token that was refused, unless a newer one is there.
    pub(crate) async fn forget(&self, refused: &HeaderValue) {
        let mut kept = self.0.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.value == *refused) {
            *kept = None;
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// An answer with `access_token` and `expires_in`, as most issuers give.
pub(crate) fn oauth(operation: Operation, answer: &Value) -> Result<Token> {
    let text = answer.get("access_token").and_then(Value::as_str);
    // Some issuers write the number as text.
    let seconds = answer.get("expires_in").and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    match text {
        Some(text) => Ok(Token {
            text: text.to_owned(),
            lifetime: Duration::from_secs(seconds.unwrap_or(3600)),
        }),
        None => Err(denied(operation, "the answer holds no access_token")),
    }
}

/// Credentials that cannot work as they are.
pub(crate) fn denied(operation: Operation, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Denied, operation).with_detail(format!("credentials: {what}"))
}

/// Sends a request to an issuer and reads its JSON.
pub(crate) async fn ask(
    client: &HttpClient,
    operation: Operation,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<Value> {
    let request = request.map_err(|error| denied(operation, error))?;
    let issuer = request.uri().clone();
    let response = client.send(request).await.map_err(|error| {
        let cause = format!("credentials: cannot ask {issuer}");
        error.into_error(operation).with_detail(cause)
    })?;
    if !response.status().is_success() {
        let error = reply::failure(operation, response, complaint).await;
        // What an issuer does not find or understand are the credentials.
        return Err(match error.kind() {
            ErrorKind::Invalid | ErrorKind::NotFound => error.with_kind(ErrorKind::Denied),
            _ => error,
        });
    }
    let answer = reply::collect(operation, response).await?;
    serde_json::from_slice(&answer)
        .map_err(|error| denied(operation, format!("the answer of {issuer}: {error}")))
}

fn complaint(_: &http::HeaderMap, body: &[u8]) -> Complaint {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Complaint {
        code: text("error"),
        message: text("error_description").or_else(|| {
            let whole = String::from_utf8_lossy(body);
            Some(format!("credentials refused: {whole}"))
        }),
    }
}

/// A form, as issuers want it.
pub(crate) fn form(url: &str, fields: &[(&str, &str)]) -> http::Result<Request<Full<Bytes>>> {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode_component(value)))
        .collect();
    Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(Full::from(fields.join("&")))
}
