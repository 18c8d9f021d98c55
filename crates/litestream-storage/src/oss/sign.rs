//! Signatures of version 4.
//!
//! The signed text has the method, the path with the bucket, the query sorted, the signed headers
//! sorted, and no hash of the body: `UNSIGNED-PAYLOAD`, as the service recommends over TLS. A CRC64
//! of the whole object is compared afterwards.

use http::request::Parts;
use ring::{digest, hmac};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// What a signature is made with.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) region: &'a str,
    pub(super) bucket: &'a str,
}

impl Signer<'_> {
    /// The value of the `Authorization` header. `path` is that of the object below the bucket,
    /// encoded, with its leading slash; `moment` the value of `x-oss-date`, `20261122T042847Z`. All
    /// other headers must be there already.
    pub(super) fn sign(&self, request: &Parts, path: &str, moment: &str) -> String {
        let day = moment.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/oss/aliyun_v4_request", self.region);
        let canonical = self.canonical(request, path);
        let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
        let text = format!("{ALGORITHM}\n{moment}\n{scope}\n{}", hex(hash.as_ref()));
        let mut key = format!("aliyun_v4{}", self.secret_key).into_bytes();
        for part in [day, self.region, "oss", "aliyun_v4_request"] {
            key = code(&key, part);
        }
        let signature = hex(&code(&key, &text));
        format!(
            "{ALGORITHM} Credential={}/{scope},Signature={signature}",
            self.access_key
        )
    }

    fn canonical(&self, request: &Parts, path: &str) -> String {
        let mut query: Vec<&str> = request
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.strip_suffix('=').unwrap_or(parameter))
            .collect();
        query.sort_by_key(|parameter| parameter.split_once('=').unwrap_or((*parameter, "")));
        let mut headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
            .filter(|(name, _)| {
                matches!(*name, "content-type" | "content-md5") || name.starts_with("x-oss-")
            })
            .collect();
        headers.sort_unstable();
        let headers: String = headers
            .into_iter()
            .flat_map(|(name, value)| [name, ":", value, "\n"])
            .collect();
        let method = &request.method;
        let bucket = self.bucket;
        let query = query.join("&");
        format!("{method}\n/{bucket}{path}\n{query}\n{headers}\n\nUNSIGNED-PAYLOAD")
    }
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_signed_text_has_everything_in_order() {
        let (parts, ()) = Request::put("http://127.0.0.1:1/bkt/a/b%20c?uploadId=x&partNumber=1&a=")
            .header("x-oss-date", "20261122T042847Z")
            .header("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
            .header("content-type", "text/plain")
            .header("range", "bytes=0-")
            .body(())
            .expect("a request")
            .into_parts();
        let signer = Signer {
            access_key: "AK",
            secret_key: "SK",
            region: "cn-x",
            bucket: "bkt",
        };
        assert_eq!(
            signer.canonical(&parts, "/a/b%20c"),
            "PUT\n/bkt/a/b%20c\na&partNumber=1&uploadId=x\ncontent-type:text/plain\n\
             x-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20261122T042847Z\n\n\n\
             UNSIGNED-PAYLOAD"
        );
        let signature = signer.sign(&parts, "/a/b%20c", "20261122T042847Z");
        let prefix =
            "OSS4-HMAC-SHA256 Credential=AK/20261122/cn-x/oss/aliyun_v4_request,Signature=";
        assert_eq!(signature.len(), prefix.len() + 64);
        assert!(signature.starts_with(prefix));
    }
}
