//! URLs as replicas are named by: strict where a mistake would name another place.
//!
//! The scheme is lower case, the path decoded; of repeated query names the first one counts and
//! malformed pairs are dropped.

mod escape;
#[cfg(test)]
mod tests;

use crate::quote::quoted;
use escape::{is_host_byte, unescape, unescape_query};

pub use escape::{escape_fragment, escape_path};

/// A text that is no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {}: {cause}", quoted(url))]
pub struct UrlError {
    /// The text.
    pub url: String,
    /// What is wrong with it.
    pub cause: String,
}

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Url {
    /// Lower case; empty when there is none.
    pub scheme: String,
    /// User name, and password if given, decoded.
    pub user: Option<(String, Option<String>)>,
    /// Host and port as written.
    pub host: String,
    /// Path, decoded.
    pub path: String,
    /// What follows `SCHEME:` when that is no slash.
    pub opaque: String,
    /// Fragment, decoded.
    pub fragment: String,
    query: Vec<(String, String)>,
}

impl Url {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|cause| UrlError {
            url: text.to_owned(),
            cause,
        })
    }

    /// A URL of a scheme with a query only; used for forms that are no real URLs.
    pub fn of_query(scheme: &str, query: &str) -> Self {
        Self {
            scheme: scheme.into(),
            query: parse_query(query),
            ..Self::default()
        }
    }

    /// The first value of a query name, empty ones included.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url {
        scheme: scheme.to_ascii_lowercase(),
        query: parse_query(query),
        fragment: unescape(fragment)?,
        ..Url::default()
    };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|segment| segment.contains(':'))
        {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let has_authority = rest.starts_with("//") && (!scheme.is_empty() || !rest.starts_with("///"));
    let path = if has_authority {
        let end = rest[2..].find('/').map_or(rest.len(), |at| at + 2);
        parse_authority(&mut url, &rest[2..end])?;
        &rest[end..]
    } else {
        rest
    };
    url.path = unescape(path)?;
    Ok(url)
}

/// Splits off the scheme; none when the text does not begin with one.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn parse_authority(url: &mut Url, authority: &str) -> Result<(), String> {
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((user, host)) => {
            if !user
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b))
            {
                return Err("net/url: invalid userinfo".into());
            }
            url.user = Some(match user.split_once(':') {
                None => (unescape(user)?, None),
                Some((name, password)) => (unescape(name)?, Some(unescape(password)?)),
            });
            host
        }
    };
    url.host = parse_host(host)?;
    Ok(())
}

fn parse_host(host: &str) -> Result<String, String> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let end = bracketed.rfind(']').ok_or("missing ']' in host")?;
        check_port(&bracketed[end + 1..])?;
    } else if let Some(colon) = host.rfind(':') {
        check_port(&host[colon..])?;
    }
    if let Some(at) = host.find('%') {
        let escape: String = host[at..].chars().take(3).collect();
        return Err(format!("invalid URL escape {}", quoted(&escape)));
    }
    if let Some(wrong) = host
        .chars()
        .find(|c| c.is_ascii() && !is_host_byte(*c as u8))
    {
        return Err(format!(
            "invalid character {} in host name",
            quoted(&wrong.to_string())
        ));
    }
    Ok(host.to_owned())
}

/// A port is empty, or a colon and digits.
fn check_port(port: &str) -> Result<(), String> {
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if is_port {
        Ok(())
    } else {
        Err(format!("invalid port {} after host", quoted(port)))
    }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape_query(name)?, unescape_query(value)?))
        })
        .collect()
}

/// Decodes the value of a query parameter; a malformed one is taken as it stands.
pub(crate) fn decode_query(value: &str) -> String {
    unescape_query(value).unwrap_or_else(|| value.to_owned())
}
