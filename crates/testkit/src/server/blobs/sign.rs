//! Verifies signatures with the key of the account.

use super::super::base64_of;
use super::super::hmac::hmac;
use super::super::stand_in::{Asked, decode};
use super::{BLOBS_ACCOUNT, BLOBS_KEY};

/// Headers whose values are signed, in this order, after the method.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Whether the request carries the signature of the one who knows the key; why not.
pub(super) fn verify(asked: &Asked) -> Result<(), String> {
    for name in ["x-ms-date", "x-ms-version"] {
        asked.header(name).ok_or(format!("no {name}"))?;
    }
    let authorization = asked.header("authorization").ok_or("not signed")?;
    let signature = authorization
        .strip_prefix(&format!("SharedKey {BLOBS_ACCOUNT}:"))
        .ok_or("not with the key of the account")?;
    let text = text(asked);
    let expected = base64_of(&hmac(&super::super::base64_to(BLOBS_KEY), text.as_bytes()));
    if signature == expected {
        Ok(())
    } else {
        Err(format!("expected {expected} over {text:?}"))
    }
}

fn text(asked: &Asked) -> String {
    let mut lines = vec![asked.method.clone()];
    for name in SIGNED {
        let value = asked.header(name).unwrap_or_default();
        let is_zero = name == "content-length" && value == "0";
        lines.push(if is_zero { "" } else { value }.to_owned());
    }
    let mut own: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    own.sort_unstable();
    lines.append(&mut own);
    lines.push(format!("/{BLOBS_ACCOUNT}{}", asked.path));
    let parameters = asked.query.split('&').filter(|pair| !pair.is_empty());
    let mut parameters: Vec<_> = parameters
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}:{}", decode(name).to_lowercase(), decode(value))
        })
        .collect();
    parameters.sort_unstable();
    lines.append(&mut parameters);
    lines.join("\n")
}
