//! S3 in memory: enough of it for the backend, with verified signatures, a log of all requests, and
//! faults as told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use litestream_storage::S3Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::bucket::Bucket;
use crate::place::{BUCKET, settings};
use crate::sigv4;

pub(crate) const SECRET: &str = "secret of the fake";

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it was sent, encoded.
    pub(crate) path: String,
    /// As it was sent, encoded.
    pub(crate) query: String,
    /// Names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A parameter, decoded; empty when it has no value.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then(|| decode(value))
        })
    }

    /// The name of the object, decoded.
    pub(crate) fn name(&self) -> String {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        decode(path.split_once('/').map_or("", |(_, name)| name))
    }

    /// `GET /bkt/key?query`, for logs.
    pub(crate) fn line(&self) -> String {
        format!("{} {}?{}", self.method, self.path, self.query)
    }
}

/// An answer to be sent.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>"
        );
        Self {
            body: body.into_bytes(),
            ..Self::of(status)
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How a request goes wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This answer, and no effect.
    Instead(Answer),
    /// This answer after the effect.
    After(Answer),
    /// The connection is closed without an answer, before or after the effect.
    Hangup { after_effect: bool },
    /// The body of the answer stops after so many bytes, and the connection is closed.
    Cut(usize),
    /// The connection is closed after so many bytes of the body of the request.
    Deaf(usize),
}

type Rule = Box<dyn FnMut(&Request, usize) -> Option<Fault> + Send>;

/// The server; goes with the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    bucket: Mutex<Bucket>,
    log: Mutex<Vec<Request>>,
    rule: Mutex<Option<Rule>>,
    problems: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let fake = Self {
            endpoint: format!("http://{address}"),
            shared: Arc::new(Shared {
                bucket: Mutex::default(),
                log: Mutex::default(),
                rule: Mutex::default(),
                problems: Mutex::default(),
            }),
        };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = serving.clone();
                tokio::spawn(async move { fake.serve(BufReader::new(stream)).await });
            }
        });
        fake
    }

    pub(crate) fn settings(&self) -> S3Settings {
        settings(self.endpoint.clone(), "id", SECRET)
    }

    pub(crate) fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.shared.bucket.lock().expect("not poisoned")
    }

    /// What was asked since the last time.
    pub(crate) fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.log.lock().expect("not poisoned"))
    }

    /// Faults by request and its number, from 1.
    pub(crate) fn when(&self, rule: impl FnMut(&Request, usize) -> Option<Fault> + Send + 'static) {
        self.take_log();
        *self.shared.rule.lock().expect("not poisoned") = Some(Box::new(rule));
    }

    /// Panics when a request was not as it should be.
    pub(crate) fn check(&self) {
        let problems = self.shared.problems.lock().expect("not poisoned");
        assert!(problems.is_empty(), "{problems:#?}");
    }

    async fn serve(&self, mut stream: BufReader<TcpStream>) {
        while let Some(mut request) = read_head(&mut stream).await {
            let length = request
                .header("content-length")
                .and_then(|text| text.parse().ok());
            let length: usize = length.unwrap_or(0);
            let number = {
                let mut log = self.shared.log.lock().expect("not poisoned");
                log.push(request.clone());
                log.len()
            };
            let fault = {
                let mut rule = self.shared.rule.lock().expect("not poisoned");
                rule.as_mut().and_then(|rule| rule(&request, number))
            };
            let wanted = match fault {
                Some(Fault::Deaf(most)) => most.min(length),
                _ => length,
            };
            request.body = vec![0; wanted];
            if stream.read_exact(&mut request.body).await.is_err() {
                return;
            }
            let cut = match fault {
                Some(Fault::Cut(most)) => Some(most),
                _ => None,
            };
            let answer = match fault {
                Some(
                    Fault::Deaf(_)
                    | Fault::Hangup {
                        after_effect: false,
                    },
                ) => return,
                Some(Fault::Instead(answer)) => answer,
                Some(Fault::After(answer)) => {
                    self.answer(&request);
                    answer
                }
                Some(Fault::Hangup { after_effect: true }) => {
                    self.answer(&request);
                    return;
                }
                None | Some(Fault::Cut(_)) => self.answer(&request),
            };
            if !write(&mut stream, &request, answer, cut).await {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Some(problem) = sigv4::fault(request, SECRET) {
            let mut problems = self.shared.problems.lock().expect("not poisoned");
            problems.push(format!("{}: {problem}", request.line()));
            return Answer::error(403, "SignatureDoesNotMatch");
        }
        if !request.path.starts_with(&format!("/{BUCKET}")) {
            return Answer::error(404, "NoSuchBucket");
        }
        self.bucket().answer(request)
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("a head in ASCII");
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    })
}

/// Writes an answer; false when the connection ends with it.
async fn write(
    stream: &mut BufReader<TcpStream>,
    request: &Request,
    answer: Answer,
    cut: Option<usize>,
) -> bool {
    let mut head = format!("HTTP/1.1 {} Told\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &[*name, ": ", value, "\r\n"].concat();
    }
    let is_head = request.method == "HEAD";
    if !answer
        .headers
        .iter()
        .any(|(name, _)| *name == "content-length")
    {
        let length = answer.body.len().to_string();
        head += &["content-length: ", &length, "\r\n"].concat();
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if !is_head {
        let most = cut.unwrap_or(usize::MAX).min(answer.body.len());
        bytes.extend_from_slice(&answer.body[..most]);
    }
    stream.write_all(&bytes).await.is_ok() && cut.is_none()
}

/// Text without percent-encoding.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            plain.push(u8::from_str_radix(&text[at + 1..at + 3], 16).expect("hex"));
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(plain).expect("UTF-8")
}
