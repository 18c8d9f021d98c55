//! Requests and answers in the log, for people who ask for them.
//!
//! Invariant: nothing that opens a door is logged: no signature, token, or key of the customer.
//! Requests for credentials are never logged at all.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use http::{HeaderMap, header};

/// Longest content that is shown; longer ones and those that are no text are counted only.
const MOST_SHOWN: usize = 16 << 10;

/// What of the requests is logged, at level INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
pub struct S3Debug {
    /// What was signed, by whom.
    pub signing: bool,
    /// Method, address and headers of requests.
    pub request: bool,
    /// Their content as well, when it is a short text.
    pub request_body: bool,
    /// Status and headers of answers.
    pub response: bool,
    /// Their content as well, when it is a short text. Holds it in memory.
    pub response_body: bool,
    /// Requests that failed in a way that may be tried again.
    pub retries: bool,
}

impl S3Debug {
    /// Turns on what a list of words with commas between says, in any case; answers the words
    /// that mean nothing.
    pub fn parse(list: &str) -> (Self, Vec<&str>) {
        let mut debug = Self::default();
        let mut unknown = Vec::new();
        for word in list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word.to_ascii_lowercase().as_str() {
                "signing" => debug.signing = true,
                "request" => debug.request = true,
                "request-with-body" => (debug.request, debug.request_body) = (true, true),
                "response" => debug.response = true,
                "response-with-body" => (debug.response, debug.response_body) = (true, true),
                "retries" => debug.retries = true,
                "all" => {
                    debug = Self {
                        signing: true,
                        request: true,
                        request_body: true,
                        response: true,
                        response_body: true,
                        retries: true,
                    }
                }
                _ => unknown.push(word),
            }
        }
        (debug, unknown)
    }

    /// Tells of a request that is about to be sent.
    pub(super) fn sending(self, request: &HttpRequest) {
        let headers = |wanted: fn(&str) -> bool| {
            let shown = request.headers().iter().filter(|(name, _)| wanted(name));
            texts(shown.map(|(name, value)| (name, value.to_owned())))
        };
        if self.signing {
            let signed = headers(|name| {
                let name = name.to_ascii_lowercase();
                matches!(
                    &*name,
                    "authorization" | "x-amz-content-sha256" | "x-amz-date"
                )
            });
            tracing::info!(
                method = request.method(),
                url = request.uri(),
                signed,
                "s3 signing"
            );
        }
        if self.request {
            let body = request.body().bytes().filter(|_| self.request_body);
            tracing::info!(
                method = request.method(),
                url = request.uri(),
                headers = headers(|_| true),
                body = body.map(shown),
                "s3 request"
            );
        }
    }

    /// Tells of an answer.
    pub(super) fn answered(self, status: u16, headers: &HeaderMap, body: Option<&Bytes>) {
        if self.response {
            let headers = texts(headers.iter().map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str(), value.into_owned())
            }));
            let body = body.map(|body| shown(body));
            tracing::info!(status, headers, body, "s3 response");
        }
        if self.retries && matches!(status, 408 | 429 | 500..=599) {
            tracing::info!(status, "s3 request failed, may be tried again");
        }
    }

    /// Tells of a request without an answer.
    pub(super) fn failed(self, error: &crate::http::HttpError) {
        if self.response || self.retries {
            tracing::info!(%error, "s3 request failed, may be tried again");
        }
    }

    /// Whether the content of an answer is to be read before it is handed on.
    pub(super) fn wants_body(self, headers: &HeaderMap) -> bool {
        let length = headers.get(header::CONTENT_LENGTH);
        let length: Option<usize> = length
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok());
        self.response_body && length.is_some_and(|length| length <= MOST_SHOWN)
    }

    pub(super) const fn most_shown() -> usize {
        MOST_SHOWN
    }
}

/// A content, or how long it is.
fn shown(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if body.len() <= MOST_SHOWN => text.to_owned(),
        _ => format!("{} bytes", body.len()),
    }
}

/// Headers as text, without what opens doors.
fn texts<'a>(headers: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut texts: Vec<String> = headers
        .map(|(name, value)| {
            let value = redacted(name, value);
            format!("{name}: {value}")
        })
        .collect();
    texts.sort();
    texts.join("; ")
}

fn redacted(name: &str, value: String) -> String {
    const SECRETS: [&str; 5] = [
        "x-amz-security-token",
        "x-amz-server-side-encryption-customer-key",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ];
    let name = name.to_ascii_lowercase();
    if SECRETS.contains(&&*name) {
        return "REDACTED".to_owned();
    }
    if name == "authorization" {
        let open = value.split("Signature=").next().unwrap_or_default();
        return format!("{open}Signature=REDACTED");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{S3Debug, redacted, shown};

    #[test]
    fn words_turn_on_what_they_say() {
        let (none, unknown) = S3Debug::parse(" , ");
        assert_eq!((none, unknown.len()), (S3Debug::default(), 0));
        let (some, unknown) = S3Debug::parse("Signing, response-with-body,nonsense,REQUESTS");
        assert!(some.signing && some.response && some.response_body);
        assert!(!some.request && !some.request_body && !some.retries);
        assert_eq!(unknown, ["nonsense", "REQUESTS"]);
        let (all, _) = S3Debug::parse("all");
        assert!(all.signing && all.request_body && all.response_body && all.retries);
    }

    #[test]
    fn what_opens_doors_is_not_shown() {
        let authorization = "AWS4-HMAC-SHA256 Credential=K/2026/r/s3/aws4_request, \
                             SignedHeaders=host, Signature=0123";
        let open = redacted("Authorization", authorization.into());
        assert!(
            open.contains("Credential=K/") && !open.contains("0123"),
            "{open}"
        );
        for name in [
            "X-Amz-Security-Token",
            "x-amz-server-side-encryption-customer-key",
        ] {
            assert_eq!(redacted(name, "secret".into()), "REDACTED");
        }
        assert_eq!(redacted("etag", "\"1\"".into()), "\"1\"");
        assert_eq!(shown(b"<Error/>"), "<Error/>");
        assert_eq!(shown(&[0xff; 3]), "3 bytes");
    }
}
