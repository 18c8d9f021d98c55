//! Which requests go through a proxy.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::HttpError;

/// Proxies, in the form of the variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. They are
/// handed in: nothing here reads the environment.
///
/// A proxy is `[http|https|socks5|socks5h://][user:password@]host:port`; without a scheme it is an
/// HTTP proxy. HTTPS goes through an HTTP proxy by `CONNECT`. `localhost` and loopback addresses
/// are always reached directly.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpProxies {
    /// Proxy of `http` requests; empty: none.
    pub http: String,
    /// Proxy of `https` requests; empty: none.
    pub https: String,
    /// Hosts that are reached directly: names (with all below them), addresses, networks
    /// (`10.0.0.0/8`), separated by commas; `*` for all.
    pub direct: String,
}

impl HttpProxies {
    /// The matcher of these settings; refuses a proxy that would silently be ignored.
    pub(super) fn matcher(&self) -> Result<Matcher, HttpError> {
        let matcher = Matcher::builder()
            .http(self.http.as_str())
            .https(self.https.as_str())
            .no(self.direct.as_str())
            .build();
        // A proxy that cannot be used is not there in a matcher without exceptions.
        let all = Matcher::builder()
            .http(self.http.as_str())
            .https(self.https.as_str())
            .build();
        for (name, given, target) in [
            ("http", &self.http, "http://host.invalid"),
            ("https", &self.https, "https://host.invalid"),
        ] {
            let usable = all
                .intercept(&Uri::from_static(target))
                .is_some_and(|found| {
                    matches!(
                        found.uri().scheme_str(),
                        Some("http" | "https" | "socks5" | "socks5h")
                    )
                });
            if !given.is_empty() && !usable {
                return Err(HttpError::Invalid(
                    format!("the {name} proxy is no address of a proxy that can be used").into(),
                ));
            }
        }
        Ok(matcher)
    }
}

impl std::fmt::Debug for HttpProxies {
    /// Without the proxies themselves: they may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProxies")
            .field("http", &!self.http.is_empty())
            .field("https", &!self.https.is_empty())
            .field("direct", &self.direct)
            .finish()
    }
}

/// The proxy for `target`, if it is to be reached through one.
pub(super) fn proxy_of(matcher: &Matcher, target: &Uri) -> Option<Intercept> {
    let host = target.host()?.trim_matches(['[', ']']);
    let is_local = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if is_local {
        return None;
    }
    matcher.intercept(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(proxies: &HttpProxies, target: &'static str) -> Option<String> {
        let matcher = proxies.matcher().expect("usable");
        proxy_of(&matcher, &Uri::from_static(target)).map(|found| found.uri().to_string())
    }

    #[test]
    fn schemes_have_their_own_proxy_and_exceptions_none() {
        let proxies = HttpProxies {
            http: "plain:1".into(),
            https: "http://u:p@secure:2".into(),
            direct: "internal.example, 10.0.0.0/8".into(),
        };
        let http = Some("http://plain:1/".to_owned());
        let https = Some("http://secure:2/".to_owned());
        assert_eq!(proxy(&proxies, "http://a.example/"), http);
        assert_eq!(proxy(&proxies, "https://a.example/"), https);
        for direct in [
            "http://internal.example/",
            "https://bucket.internal.example/",
            "http://10.1.2.3:9000/",
            "http://localhost:9000/",
            "http://127.0.0.1:9000/",
            "http://[::1]:9000/",
        ] {
            assert_eq!(proxy(&proxies, direct), None, "{direct}");
        }
        assert_eq!(proxy(&HttpProxies::default(), "https://a.example/"), None);
    }

    #[test]
    fn useless_proxies_are_refused() {
        for wrong in ["ftp://host:1", "socks4://host:1", "http://", "a b"] {
            let proxies = HttpProxies {
                https: wrong.into(),
                ..HttpProxies::default()
            };
            assert!(proxies.matcher().is_err(), "{wrong}");
        }
    }
}
