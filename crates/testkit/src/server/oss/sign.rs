//! Verifies signatures of version 4.

use sha2::{Digest as _, Sha256};

use super::super::hmac::{hex, hmac};
use super::super::stand_in::Asked;
use super::{OSS_ACCESS_KEY, OSS_REGION, OSS_SECRET_KEY};

/// Whether the request carries the signature of the one who knows the secret; why not.
pub(super) fn verify(asked: &Asked) -> Result<(), String> {
    let authorization = asked.header("authorization").ok_or("not signed")?;
    let fields = authorization
        .strip_prefix("OSS4-HMAC-SHA256 ")
        .ok_or("not version 4")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let moment = asked.header("x-oss-date").ok_or("no x-oss-date")?;
    let day = moment.get(..8).ok_or("x-oss-date too short")?;
    let scope = format!("{day}/{OSS_REGION}/oss/aliyun_v4_request");
    let credential = field("Credential").ok_or("no Credential")?;
    if credential != format!("{OSS_ACCESS_KEY}/{scope}") {
        return Err(format!("unknown credential {credential}"));
    }
    if asked.header("x-oss-content-sha256") != Some("UNSIGNED-PAYLOAD") {
        return Err("x-oss-content-sha256 is not UNSIGNED-PAYLOAD".into());
    }
    let additional = field("AdditionalHeaders").unwrap_or_default();
    let canonical = canonical(asked, additional);
    let text = format!(
        "OSS4-HMAC-SHA256\n{moment}\n{scope}\n{}",
        hex(&Sha256::digest(&canonical))
    );
    let mut key = format!("aliyun_v4{OSS_SECRET_KEY}").into_bytes();
    for part in [day, OSS_REGION, "oss", "aliyun_v4_request", &text] {
        key = hmac(&key, part.as_bytes());
    }
    let expected = hex(&key);
    if field("Signature") == Some(&expected) {
        Ok(())
    } else {
        Err(format!("expected {expected} over {canonical:?}"))
    }
}

fn canonical(asked: &Asked, additional: &str) -> String {
    let mut query: Vec<(&str, Option<&str>)> = asked
        .query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| match parameter.split_once('=') {
            Some((name, "")) => (name, None),
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        })
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.to_owned(),
        })
        .collect();
    let is_signed = |name: &str| {
        name.starts_with("x-oss-")
            || name == "content-type"
            || name == "content-md5"
            || additional.split(';').any(|known| known == name)
    };
    let mut headers: Vec<String> = asked
        .headers
        .iter()
        .filter(|(name, _)| is_signed(name))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    headers.sort_unstable();
    format!(
        "{}\n{}\n{}\n{}\n{additional}\nUNSIGNED-PAYLOAD",
        asked.method,
        asked.path,
        query.join("&"),
        headers.concat()
    )
}
