//! The heartbeat's receiver: a URL that is asked with GET.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use litestream::Heartbeat;
use litestream_storage::HttpClient;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A redirection is followed so often.
const MOST_HOPS: usize = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Receiver {
    client: HttpClient,
    url: Uri,
    /// `user:password` of the URL.
    login: Option<String>,
    shown: String,
}

impl Receiver {
    /// The receiver at `url`; `None` when that is no URL.
    pub(crate) fn new(client: HttpClient, url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login.to_owned()), host),
            None => (None, authority),
        };
        let path = path.split('#').next().unwrap_or_default();
        let url: Uri = format!("{scheme}://{host}{path}").parse().ok()?;
        url.host()?;
        Some(Self {
            client,
            shown: url.to_string(),
            url,
            login,
        })
    }

    async fn ask(&self) -> Result<(), String> {
        let mut url = self.url.clone();
        for _ in 0..MOST_HOPS {
            let mut request = Request::get(url.clone());
            // Not for another host that we are sent to.
            if let Some(login) = self
                .login
                .as_ref()
                .filter(|_| url.host() == self.url.host())
            {
                request =
                    request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(login)));
            }
            let request = request
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let response = self
                .client
                .send(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            let target = response.headers().get(LOCATION);
            match target.filter(|_| status.is_redirection()) {
                Some(target) => url = moved(&url, target.to_str().unwrap_or_default())?,
                None => return Err(format!("unexpected status code: {}", status.as_u16())),
            }
        }
        Err(format!("stopped after {MOST_HOPS} redirects"))
    }
}

/// Where a redirection leads.
fn moved(from: &Uri, target: &str) -> Result<Uri, String> {
    let absolute = if target.contains("://") {
        target.to_owned()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{}://{rest}", from.scheme_str().unwrap_or("http"))
    } else if target.starts_with('/') {
        let authority = from.authority().map_or("", |authority| authority.as_str());
        format!(
            "{}://{authority}{target}",
            from.scheme_str().unwrap_or("http")
        )
    } else {
        return Err(format!("redirected to {target:?}, which is no URL"));
    };
    let url: Result<Uri, _> = absolute.parse();
    url.map_err(|error| format!("redirected to {target:?}: {error}"))
}

impl Heartbeat for Receiver {
    fn address(&self) -> &str {
        &self.shown
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), String>> {
        self.ask().boxed()
    }
}

#[cfg(test)]
mod tests {
    use litestream_storage::HttpSettings;

    use super::*;

    fn receiver(url: &str) -> Option<Receiver> {
        let client = HttpClient::new(HttpSettings::default()).expect("a client");
        Receiver::new(client, url)
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        let with_login = receiver("https://me:secret@ping.example/uuid?x=1#top").expect("a URL");
        assert_eq!(with_login.address(), "https://ping.example/uuid?x=1");
        assert_eq!(with_login.login.as_deref(), Some("me:secret"));
        let bare = receiver("http://ping.example").expect("a URL");
        assert_eq!(bare.address(), "http://ping.example/");
        assert!(receiver("http://").is_none());
        assert!(receiver("http://a b/").is_none());
    }

    #[test]
    fn redirections_lead_somewhere() {
        let from: Uri = "http://a:1/x/y".parse().expect("a URL");
        let to = |target| moved(&from, target).map(|url| url.to_string());
        assert_eq!(to("https://b/z").as_deref(), Ok("https://b/z"));
        assert_eq!(to("//b/z").as_deref(), Ok("http://b/z"));
        assert_eq!(to("/z?q").as_deref(), Ok("http://a:1/z?q"));
        assert!(to("z").is_err());
    }

    /// Answers one request with this status line.
    fn answering(status: &'static str) -> (u16, std::thread::JoinHandle<()>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answered = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).expect("a request");
            let answer = format!("{status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream
                .write_all(answer.as_bytes())
                .expect("the answer goes");
        });
        (port, answered)
    }

    #[tokio::test]
    async fn only_a_2xx_is_a_success() {
        for (status, outcome) in [
            ("HTTP/1.1 200 OK", Ok(())),
            ("HTTP/1.1 299 Fine", Ok(())),
            (
                "HTTP/1.1 304 Not Modified",
                Err("unexpected status code: 304"),
            ),
            ("HTTP/1.1 404 Not Found", Err("unexpected status code: 404")),
            ("HTTP/1.1 500 Oh", Err("unexpected status code: 500")),
        ] {
            let (port, answered) = answering(status);
            let receiver = receiver(&format!("http://127.0.0.1:{port}/beat")).expect("a URL");
            let beat = receiver.beat().await;
            assert_eq!(
                beat.as_ref().map_err(String::as_str),
                outcome.as_ref().map_err(|text| *text)
            );
            answered.join().expect("the receiver ends");
        }
    }

    /// A port that was somebody's a moment ago, and is nobody's now.
    #[tokio::test]
    async fn where_nobody_listens_a_beat_fails() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let receiver = receiver(&format!("http://127.0.0.1:{port}/beat")).expect("a URL");
        let error = receiver.beat().await.expect_err("nobody listens");
        assert!(!error.is_empty());
    }
}
