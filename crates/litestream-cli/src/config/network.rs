//! How stores on the network are reached: what the environment says about proxies and trust.

use std::fmt;
use std::path::PathBuf;

use crate::env::Env;

/// Proxies and certificates, as the environment has them; empty text means not set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// `HTTP_PROXY`.
    pub http_proxy: String,
    /// `HTTPS_PROXY`.
    pub https_proxy: String,
    /// `NO_PROXY`: hosts that are reached directly.
    pub no_proxy: String,
    /// `SSL_CERT_FILE`: replaces the certificates of the system.
    pub cert_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: replaces the certificates of the system.
    pub cert_dir: Option<PathBuf>,
    /// `AWS_CA_BUNDLE`: certificates trusted besides, by S3 replicas.
    pub aws_ca_bundle: Option<PathBuf>,
}

impl Network {
    /// Reads the variables; those of proxies in capitals first, then in small letters.
    pub(crate) fn of(env: &Env) -> Self {
        let either = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let found = env.non_empty(name).or_else(|| env.non_empty(&lower));
            found.unwrap_or_default().to_owned()
        };
        let path = |name: &str| env.non_empty(name).map(PathBuf::from);
        Self {
            http_proxy: either("HTTP_PROXY"),
            https_proxy: either("HTTPS_PROXY"),
            no_proxy: either("NO_PROXY"),
            cert_file: path("SSL_CERT_FILE"),
            cert_dir: path("SSL_CERT_DIR"),
            aws_ca_bundle: path("AWS_CA_BUNDLE"),
        }
    }
}

impl fmt::Debug for Network {
    /// Without the proxies themselves: they may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("http_proxy", &!self.http_proxy.is_empty())
            .field("https_proxy", &!self.https_proxy.is_empty())
            .field("no_proxy", &self.no_proxy)
            .field("cert_file", &self.cert_file)
            .field("cert_dir", &self.cert_dir)
            .field("aws_ca_bundle", &self.aws_ca_bundle)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_are_the_second_choice() {
        let vars = [
            ("HTTPS_PROXY", "http://u:secret@a:1"),
            ("https_proxy", "http://b:1"),
            ("no_proxy", "internal"),
            ("SSL_CERT_DIR", ""),
            ("AWS_CA_BUNDLE", "/ca.pem"),
        ];
        let network = Network::of(&Env::of(&vars, "/", None, 1));
        assert_eq!(network.https_proxy, "http://u:secret@a:1");
        assert_eq!(network.no_proxy, "internal");
        assert_eq!(network.cert_dir, None);
        assert_eq!(network.aws_ca_bundle, Some(PathBuf::from("/ca.pem")));
        assert!(!format!("{network:?}").contains("secret"));
    }
}
