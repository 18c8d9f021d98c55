//! Workload identity federation: the token that another identity provider gave us.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use super::credentials::{Fields, Issuer};
use crate::http::reply;
use crate::{Result, blocking};

/// Most bytes of a token.
const MOST: u64 = 1 << 20;

/// Reads the token from the file or address that `credential_source` names.
pub(super) async fn token(issuer: &Issuer<'_>, fields: &Fields<'_>) -> Result<String> {
    let source = fields.value("credential_source")?;
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let content = if let Some(path) = text("file") {
        read(fields, path).await?
    } else if let (Some(url), None) = (text("url"), text("environment_id")) {
        fetch(issuer, fields, url, source.get("headers")).await?
    } else {
        return Err(fields.wrong(
            "only a file or a url is known as credential_source; let another tool write a file",
        ));
    };
    let format = |name: &str| source.pointer(&format!("/format/{name}"));
    if format("type").and_then(Value::as_str) != Some("json") {
        return String::from_utf8(content.to_vec())
            .map(|token| token.trim().to_owned())
            .map_err(|_| fields.wrong("the subject token is no text"));
    }
    let name = format("subject_token_field_name").and_then(Value::as_str);
    let value: Value = serde_json::from_slice(&content)
        .map_err(|error| fields.wrong(format!("the subject token: {error}")))?;
    name.and_then(|name| value.get(name)?.as_str())
        .map(str::to_owned)
        .ok_or_else(|| fields.wrong(format!("the subject token has no field {name:?}")))
}

async fn read(fields: &Fields<'_>, path: &str) -> Result<Bytes> {
    let owned = std::path::PathBuf::from(path);
    let content = blocking::run(fields.operation, move || {
        use std::io::Read as _;
        let mut content = Vec::new();
        Ok(std::fs::File::open(owned)
            .and_then(|file| file.take(MOST).read_to_end(&mut content))
            .map(|_| Bytes::from(content)))
    });
    content
        .await?
        .map_err(|error| fields.wrong(format!("read {path}: {error}")))
}

async fn fetch(
    issuer: &Issuer<'_>,
    fields: &Fields<'_>,
    url: &str,
    headers: Option<&Value>,
) -> Result<Bytes> {
    let mut request = Request::get(url);
    for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    let request = request.body(Full::<Bytes>::default());
    let request = request.map_err(|error| fields.wrong(format!("{url}: {error}")))?;
    let operation = fields.operation;
    let response = issuer.direct.send(request).await;
    let response = response.map_err(|error| error.into_error(operation))?;
    if !response.status().is_success() {
        return Err(fields.wrong(format!("{url} answers {}", response.status())));
    }
    reply::collect(operation, response).await
}
