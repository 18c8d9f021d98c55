//! Percent encoding.

use std::fmt::Write;

use crate::quote::quoted;

/// Resolves `%XX`; anything that is not followed by two hex digits is an error.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape: String = rest[at..].chars().take(3).collect();
        let value = (escape.len() == 3)
            .then(|| {
                escape
                    .get(1..)
                    .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            })
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .ok_or_else(|| format!("invalid URL escape {}", quoted(&escape)))?;
        bytes.push(value);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "URL is not UTF-8 after decoding".to_owned())
}

/// Resolves `%XX` and `+`; `None` when malformed.
pub(super) fn unescape_query(text: &str) -> Option<String> {
    unescape(&text.replace('+', " ")).ok()
}

/// True for the ASCII bytes that a host name may hold.
pub(super) fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"%".contains(&byte)
}

/// Encodes a path as it stands in a URL.
pub fn escape_path(path: &str) -> String {
    escape(path, b"-_.~$&+,/:;=@")
}

/// Encodes a fragment as it stands in a URL.
pub fn escape_fragment(fragment: &str) -> String {
    escape(fragment, b"-_.~$&+,/:;=?@!()*")
}

fn escape(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
