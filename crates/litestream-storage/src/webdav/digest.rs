//! The arithmetic of Digest authentication, RFC 7616 and its predecessors.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// The hash that a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha256,
}

impl Hash {
    fn hex(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// What a server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    /// As the server wrote it, for the answer.
    pub(super) algorithm: Option<String>,
    pub(super) hash: Hash,
    /// Whether the session variant is wanted.
    pub(super) session: bool,
    /// Whether the server knows quality of protection, `auth`.
    pub(super) auth: bool,
}

/// Who answers, about which request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) method: &'a str,
    /// The target as it is sent.
    pub(super) target: &'a str,
    /// How often the nonce was used, this time included.
    pub(super) count: u32,
    /// Our own random text.
    pub(super) client_nonce: &'a str,
}

impl Question {
    /// The value of the header `Authorization`.
    pub(super) fn answer(&self, request: Request<'_>) -> String {
        let Request {
            user,
            password,
            method,
            target,
            count,
            client_nonce,
        } = request;
        let Self { realm, nonce, .. } = self;
        let mut secret = self.hash.hex(&format!("{user}:{realm}:{password}"));
        if self.session {
            secret = self.hash.hex(&format!("{secret}:{nonce}:{client_nonce}"));
        }
        let what = self.hash.hex(&format!("{method}:{target}"));
        let response = if self.auth {
            self.hash.hex(&format!(
                "{secret}:{nonce}:{count:08x}:{client_nonce}:auth:{what}"
            ))
        } else {
            self.hash.hex(&format!("{secret}:{nonce}:{what}"))
        };
        let mut header = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce),
            quoted(target)
        );
        if let Some(algorithm) = &self.algorithm {
            let _ = write!(header, ", algorithm={algorithm}");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(header, ", opaque={}", quoted(opaque));
        }
        if self.auth {
            let _ = write!(header, ", qop=auth, nc={count:08x}");
        }
        if self.auth || self.session {
            let _ = write!(header, ", cnonce={}", quoted(client_nonce));
        }
        header
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Hash, Question, Request};

    /// The example of RFC 7616, section 3.9.1.
    fn example(hash: Hash, algorithm: &str) -> String {
        let question = Question {
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
            algorithm: Some(algorithm.into()),
            hash,
            session: false,
            auth: true,
        };
        question.answer(Request {
            user: "Mufasa",
            password: "Circle of Life",
            method: "GET",
            target: "/dir/index.html",
            count: 1,
            client_nonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        })
    }

    #[test]
    fn the_examples_of_the_standard() {
        let answer = example(Hash::Md5, "MD5");
        assert!(
            answer.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""),
            "{answer}"
        );
        let answer = example(Hash::Sha256, "SHA-256");
        let response = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(
            answer.contains(&format!("response=\"{response}\"")),
            "{answer}"
        );
        assert!(
            answer.contains("algorithm=SHA-256, opaque=\"FQhe"),
            "{answer}"
        );
        assert!(
            answer.contains("qop=auth, nc=00000001, cnonce=\"f2/"),
            "{answer}"
        );
    }

    #[test]
    fn the_old_form_without_quality() {
        // The example of RFC 2069 with its erratum.
        let question = Question {
            realm: "testrealm@host.com".into(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
            opaque: None,
            algorithm: None,
            hash: Hash::Md5,
            session: false,
            auth: false,
        };
        let answer = question.answer(Request {
            user: "Mufasa",
            password: "CircleOfLife",
            method: "GET",
            target: "/dir/index.html",
            count: 1,
            client_nonce: "x",
        });
        assert!(
            answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""),
            "{answer}"
        );
        assert!(!answer.contains("qop"), "{answer}");
    }
}
