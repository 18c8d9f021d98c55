//! Signature version 4 as a server checks it, written from its specification.

use sha2::{Digest as _, Sha256};
use testkit::server::hmac::{hex, hmac};

use crate::fake::Request;

/// Why the signature of a request with this secret is wrong; `None` when it is right.
pub(crate) fn fault(request: &Request, secret: &str) -> Option<String> {
    let Some(authorization) = request.header("authorization") else {
        return Some("no authorization".into());
    };
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        rest.split(',').next().map(str::trim)
    };
    let (Some(scope), Some(names), Some(signature)) = (
        field("Credential").and_then(|credential| credential.split_once('/')),
        field("SignedHeaders"),
        field("Signature"),
    ) else {
        return Some(format!("cannot read {authorization:?}"));
    };
    let scope = scope.1;
    let claimed = request.header("x-amz-content-sha256").unwrap_or_default();
    if claimed != "UNSIGNED-PAYLOAD" && claimed != hex(&Sha256::digest(&request.body)) {
        return Some(format!("content is not {claimed}"));
    }
    // What changes the meaning of a request must be signed.
    for name in request.headers.keys() {
        let matters = name.starts_with("x-amz-") && name != "x-amz-user-agent" || name == "host";
        if matters && !names.split(';').any(|signed| signed == name) {
            return Some(format!("header {name} is not signed"));
        }
    }
    let mut query: Vec<(&str, &str)> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let headers: Vec<String> = names
        .split(';')
        .map(|name| {
            let value = request.header(name).unwrap_or_default().trim();
            [name, ":", value, "\n"].concat()
        })
        .collect();
    let headers = headers.concat();
    // The path as it was sent: S3 normalises nothing.
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{claimed}",
        request.method,
        request.path,
        query.join("&"),
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        request.header("x-amz-date").unwrap_or_default(),
        hex(&Sha256::digest(canonical.as_bytes())),
    );
    let key = scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes())
        });
    let expected = hex(&hmac(&key, text.as_bytes()));
    (expected != signature)
        .then(|| format!("signature {signature}, expected {expected} of\n{canonical}"))
}
