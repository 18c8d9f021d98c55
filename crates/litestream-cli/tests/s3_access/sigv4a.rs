//! Signature version 4A as a server checks it, written from its specification: as version 4, but signed
//! with a key on the curve P-256 that both sides derive from the secret, and for a set of regions.

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};
use testkit::server::hmac::{hex, hmac};
use testkit::server::stand_in::Asked;

const ALGORITHM: &str = "AWS4-ECDSA-P256-SHA256";

/// Why the signature of a request with this key and secret is wrong; `None` when it is right.
pub(crate) fn fault(asked: &Asked, key_id: &str, secret: &str) -> Option<String> {
    let authorization = asked.header("authorization").unwrap_or_default();
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        rest.split(',').next().map(str::trim)
    };
    let (Some((signer, scope)), Some(names), Some(signature)) = (
        field("Credential").and_then(|credential| credential.split_once('/')),
        field("SignedHeaders"),
        field("Signature"),
    ) else {
        return Some(format!("cannot read {authorization:?}"));
    };
    if signer != key_id || !authorization.starts_with(ALGORITHM) {
        return Some(format!("not signed so by {key_id}: {authorization}"));
    }
    let content = asked.header("x-amz-content-sha256").unwrap_or_default();
    if content != hex(&Sha256::digest(&asked.body)) {
        return Some(format!("content is not {content}"));
    }
    // What changes the meaning of a request must be signed.
    for (name, _) in &asked.headers {
        let matters = name.starts_with("x-amz-") || name == "host";
        if matters && !names.split(';').any(|signed| signed == name) {
            return Some(format!("header {name} is not signed"));
        }
    }
    let mut query: Vec<String> = asked
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| format!("{pair}{}", if pair.contains('=') { "" } else { "=" }))
        .collect();
    query.sort_unstable();
    let headers: Vec<String> = names
        .split(';')
        .map(|name| format!("{name}:{}\n", asked.header(name).unwrap_or_default().trim()))
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{}\n{names}\n{content}",
        asked.method,
        asked.path,
        query.join("&"),
        headers.concat(),
    );
    let text = format!(
        "{ALGORITHM}\n{}\n{scope}\n{}",
        asked.header("x-amz-date").unwrap_or_default(),
        hex(&Sha256::digest(&canonical)),
    );
    let signature = unhex(signature).and_then(|der| Signature::from_der(&der).ok());
    let verified = signature.is_some_and(|signature| {
        let key = key(key_id, secret);
        key.verifying_key()
            .verify(text.as_bytes(), &signature)
            .is_ok()
    });
    (!verified).then(|| format!("not a signature of\n{canonical}"))
}

/// The number that follows the first output of the derivation (NIST SP 800-108, counter mode). A
/// server would try the next output where that is not below the order of the curve: once in 2^32.
fn key(key_id: &str, secret: &str) -> SigningKey {
    let input = [
        &1_u32.to_be_bytes(),
        ALGORITHM.as_bytes(),
        &[0],
        key_id.as_bytes(),
        &[1],
        &256_u32.to_be_bytes(),
    ];
    let mut number = hmac(format!("AWS4A{secret}").as_bytes(), &input.concat());
    for digit in number.iter_mut().rev() {
        *digit = digit.wrapping_add(1);
        if *digit != 0 {
            break;
        }
    }
    SigningKey::from_slice(&number).expect("a number below the order")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    Some(
        digits?
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}
