//! Signatures with the key of an account ("Shared Key").
//!
//! The signed text has the method, fixed headers in a fixed order, all `x-ms-` headers sorted, and
//! the resource: account, path as it is sent, and the query parameters, decoded and sorted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::request::Parts;
use ring::hmac;

use crate::http::percent::decode;
use crate::http::reply;

/// The key of an account.
#[derive(Clone)]
pub(super) struct AccountKey {
    account: String,
    key: hmac::Key,
}

impl AccountKey {
    /// Fails when `key` is not base64.
    pub(super) fn new(account: &str, key: &str) -> Result<Self, String> {
        let key = STANDARD
            .decode(key.trim())
            .map_err(|error| format!("the key of account {account:?}: {error}"))?;
        Ok(Self {
            account: account.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The value of the `Authorization` header of a request with a body of `length` bytes. All
    /// other headers must be there already.
    pub(super) fn sign(&self, request: &Parts, length: u64) -> String {
        let text = self.text(request, length);
        let signature = hmac::sign(&self.key, text.as_bytes());
        format!(
            "SharedKey {}:{}",
            self.account,
            STANDARD.encode(signature.as_ref())
        )
    }

    fn text(&self, request: &Parts, length: u64) -> String {
        let headers = &request.headers;
        let header = |name: &str| reply::text(headers, name).unwrap_or_default();
        // No length at all stands for zero.
        let length = if length == 0 {
            String::new()
        } else {
            length.to_string()
        };
        let fixed = [
            request.method.as_str(),
            header("content-encoding"),
            header("content-language"),
            &length,
            header("content-md5"),
            header("content-type"),
            // The time is in x-ms-date.
            "",
            header("if-modified-since"),
            header("if-match"),
            header("if-none-match"),
            header("if-unmodified-since"),
            header("range"),
        ];
        let mut text = fixed.join("\n");
        text.push('\n');
        text.push_str(&own_headers(headers));
        text.push_str(&self.resource(request));
        text
    }

    fn resource(&self, request: &Parts) -> String {
        let mut resource = format!("/{}{}", self.account, request.uri.path());
        let query = request.uri.query().unwrap_or_default();
        let mut parameters: Vec<(String, String)> = query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (decode(name).to_lowercase(), decode(value))
            })
            .collect();
        parameters.sort();
        for (name, value) in parameters {
            resource.extend(["\n", &name, ":", &value]);
        }
        resource
    }
}

fn own_headers(headers: &HeaderMap) -> String {
    let mut own: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
        .collect();
    own.sort_unstable();
    own.into_iter()
        .flat_map(|(name, value)| [name, ":", value, "\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_signed_text_has_everything_in_order() {
        let (parts, ()) =
            Request::put("http://127.0.0.1:1/acct/c/a%2Fb?comp=block&blockid=YQ%3D%3D")
                .header("x-ms-version", "2020-10-02")
                .header("x-ms-date", "Sun, 22 Nov 2026 04:28:47 GMT")
                .header("content-type", "application/octet-stream")
                .header("if-none-match", "*")
                .body(())
                .expect("a request")
                .into_parts();
        let key = AccountKey::new("acct", "a2V5").expect("base64");
        assert_eq!(
            key.text(&parts, 12),
            "PUT\n\n\n12\n\napplication/octet-stream\n\n\n\n*\n\n\n\
             x-ms-date:Sun, 22 Nov 2026 04:28:47 GMT\nx-ms-version:2020-10-02\n\
             /acct/acct/c/a%2Fb\nblockid:YQ==\ncomp:block"
        );
        assert!(key.text(&parts, 0).starts_with("PUT\n\n\n\n\n"));
    }

    #[test]
    fn keys_must_be_base64() {
        assert!(AccountKey::new("acct", "not base64!").is_err());
    }
}
