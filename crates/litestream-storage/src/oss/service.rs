//! Requests to the service: addresses, signatures and errors.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, request};
use http_body_util::Full;

use super::OssSettings;
use super::sign::Signer;
use crate::http::reply::{self, Complaint, nonsense};
use crate::http::xml::{self, Node};
use crate::retry::Retrying;
use crate::{
    Error, ErrorKind, HttpBody, HttpClient, HttpError, Key, Operation, Result, encode_path, moment,
};

#[derive(Debug)]
pub(super) struct Service {
    pub(super) settings: OssSettings,
    http: HttpClient,
    pub(super) retrying: Retrying,
    /// Scheme, host and what comes before the name of an object; without a slash at the end.
    base: String,
}

/// A request before it is signed.
pub(super) struct Plain {
    pub(super) builder: request::Builder,
    pub(super) body: Bytes,
    /// Path of the object below the bucket.
    path: String,
}

impl Plain {
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Service {
    pub(super) fn new(
        settings: OssSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        let base = base(&settings).ok_or_else(|| {
            let text = format!(
                "endpoint {:?} is no address of a service",
                settings.endpoint
            );
            HttpError::Invalid(text.into())
        })?;
        Ok(Self {
            settings,
            http,
            retrying,
            base,
        })
    }

    /// The name of the object in the bucket.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    /// A request to the bucket.
    pub(super) fn bucket(&self, method: Method, query: &str) -> Plain {
        self.request(method, "/".to_owned(), query)
    }

    /// A request about one object.
    pub(super) fn object(&self, method: Method, key: &Key, query: &str) -> Plain {
        let path = format!("/{}", encode_path(&self.name(key.as_str())));
        self.request(method, path, query)
    }

    fn request(&self, method: Method, path: String, query: &str) -> Plain {
        let sign = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{sign}{query}", self.base);
        Plain {
            builder: Request::builder().method(method).uri(url),
            body: Bytes::new(),
            path,
        }
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn send(
        &self,
        operation: Operation,
        request: Plain,
    ) -> Result<Response<HttpBody>> {
        let response = self.exchange(operation, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(operation, response).await)
    }

    /// Sends a request and reads the tree it answers.
    pub(super) async fn ask(&self, operation: Operation, request: Plain) -> Result<Node> {
        let response = self.send(operation, request).await?;
        tree(operation, response).await
    }

    /// Signs and sends a request; answers whatever comes.
    pub(super) async fn exchange(
        &self,
        operation: Operation,
        request: Plain,
    ) -> Result<Response<HttpBody>> {
        let now = self.retrying.clock.now_ms();
        let moment = moment::compact(now);
        let settings = &self.settings;
        let mut builder = request
            .builder
            .header("x-oss-date", &moment)
            .header("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
        if let Some(token) = &settings.session_token {
            builder = builder.header("x-oss-security-token", token);
        }
        let invalid = |what: String| Error::new(ErrorKind::Invalid, operation).with_detail(what);
        let request_path = request.path;
        let whole = builder.body(Full::new(request.body));
        let (mut head, body) = whole
            .map_err(|error| invalid(error.to_string()))?
            .into_parts();
        let signer = Signer {
            access_key: &settings.access_key,
            secret_key: &settings.secret_key,
            region: &settings.region,
            bucket: &settings.bucket,
        };
        let signature = HeaderValue::try_from(signer.sign(&head, &request_path, &moment))
            .map_err(|_| invalid("the access key is no text for a header".into()))?;
        head.headers.insert(header::AUTHORIZATION, signature);
        let response = self.http.send(Request::from_parts(head, body)).await;
        response.map_err(|error| error.into_error(operation))
    }
}

/// Where the bucket is: part of the host, or of the path when the host is an IP address.
fn base(settings: &OssSettings) -> Option<String> {
    let endpoint: Uri = settings.endpoint.parse().ok()?;
    let scheme = endpoint.scheme_str()?;
    let authority = endpoint.authority()?;
    let host = authority.host().trim_matches(['[', ']']);
    let bucket = &settings.bucket;
    Some(if host.parse::<IpAddr>().is_ok() {
        format!("{scheme}://{authority}/{bucket}")
    } else {
        format!("{scheme}://{bucket}.{authority}")
    })
}

/// Reads an answer in XML.
pub(super) async fn tree(operation: Operation, response: Response<HttpBody>) -> Result<Node> {
    let content = reply::collect(operation, response).await?;
    xml::parse(&content).map_err(|why| nonsense(operation, format!("answer: {why}")))
}

/// The error of an answer that is no success.
pub(super) async fn refused(operation: Operation, response: Response<HttpBody>) -> Error {
    let error = reply::failure(operation, response, complaint).await;
    let kind = match error.label() {
        "NoSuchBucket" => ErrorKind::Invalid,
        "RequestTimeout" => ErrorKind::Timeout,
        _ => return error,
    };
    error.with_kind(kind)
}

fn complaint(_: &HeaderMap, body: &[u8]) -> Complaint {
    let tree = xml::parse(body).unwrap_or_default();
    Complaint {
        code: tree.text_of("Code").map(str::to_owned),
        message: tree.text_of("Message").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_of(endpoint: &str) -> Option<String> {
        base(&OssSettings {
            bucket: "bkt".into(),
            prefix: String::new(),
            region: "cn-x".into(),
            endpoint: endpoint.into(),
            access_key: String::new(),
            secret_key: String::new(),
            session_token: None,
            part_size: 1,
            concurrency: 1,
        })
    }

    #[test]
    fn the_bucket_is_in_the_host_unless_that_is_an_address() {
        for (endpoint, expected) in [
            (
                "https://oss-cn-x-internal.aliyuncs.com",
                "https://bkt.oss-cn-x-internal.aliyuncs.com",
            ),
            ("http://localhost:9000/", "http://bkt.localhost:9000"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/bkt"),
            ("http://[::1]:9000", "http://[::1]:9000/bkt"),
        ] {
            assert_eq!(base_of(endpoint).as_deref(), Some(expected));
        }
        assert_eq!(base_of("no address"), None);
        assert_eq!(base_of("/path"), None);
    }
}
