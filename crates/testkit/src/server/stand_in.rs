//! A small HTTP server inside the test process, for services that have no server to install.
//!
//! One thread per connection, standard library only. What it answers is the business of a
//! handler; it can be told to misbehave.

mod date;
mod misdeed;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

pub use self::date::{http_date, iso_date};
pub use self::misdeed::{Misdeed, Rule};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method.
    pub method: String,
    /// Path as it was sent, not decoded.
    pub path: String,
    /// Query as it was sent, without `?`.
    pub query: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The decoded value of a parameter of the query; empty when it has none.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|parameter| {
            let (known, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (known == name).then(|| decode(&value.replace('+', " ")))
        })
    }
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Status.
    pub status: u16,
    /// Headers but the length.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Hang up after so many bytes of the body, of the length that was said. A body that ends
    /// before is an answer as any other: a connection that closes behind a whole answer would make
    /// the next request fail, which nobody asked for.
    pub cut_after: Option<usize>,
}

impl Said {
    /// An answer without body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Adds a body.
    #[must_use]
    pub fn with(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What a server answers instead of its handler. The body of the request has not come yet.
pub type Fault = Box<dyn FnMut(&Asked) -> Option<Said> + Send>;

type Handler = dyn Fn(&Asked) -> Said + Send + Sync;

/// A server; ends when dropped.
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    rule: Mutex<Option<Rule>>,
    asked: Mutex<Vec<String>>,
    has_ended: AtomicBool,
}

impl StandIn {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(handler: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            rule: Mutex::new(None),
            asked: Mutex::new(Vec::new()),
            has_ended: AtomicBool::new(false),
        });
        let there = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if there.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&there);
                std::thread::spawn(move || {
                    // A client that hangs up in the middle is its own business.
                    let _ = shared.serve(&stream);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `fault` see every request first; `None` ends the misbehaviour.
    ///
    /// # Panics
    /// When a fault panicked before.
    pub fn misbehave(&self, fault: Option<Fault>) {
        let Some(mut fault) = fault else {
            return self.behave();
        };
        self.when(move |asked| fault(asked).map(Misdeed::Instead));
    }

    /// Lets requests go wrong as `rule` says, from now on.
    ///
    /// # Panics
    /// When a rule panicked before.
    pub fn when(&self, rule: impl FnMut(&Asked) -> Option<Misdeed> + Send + 'static) {
        *self.shared.rule.lock().expect("no rule panicked") = Some(Box::new(rule));
    }

    /// Ends all misbehaviour.
    ///
    /// # Panics
    /// When a rule panicked before.
    pub fn behave(&self) {
        *self.shared.rule.lock().expect("no rule panicked") = None;
    }

    /// The first lines of all requests so far.
    ///
    /// # Panics
    /// Never: nothing panics while it is held.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("nothing panics").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        // Wakes the listening thread.
        drop(TcpStream::connect(self.address));
    }
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandIn")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(mut asked) = read_head(&mut reader)? {
            let target = match asked.query.as_str() {
                "" => asked.path.clone(),
                query => format!("{}?{query}", asked.path),
            };
            let line = format!("{} {target}", asked.method);
            self.asked.lock().expect("nothing panics").push(line);
            let misdeed = match &mut *self.rule.lock().expect("no rule panicked") {
                Some(rule) => rule(&asked),
                None => None,
            };
            let most = misdeed.as_ref().map_or(usize::MAX, Misdeed::most);
            let is_whole = read_body(&mut reader, stream, &mut asked, most)?;
            let said = match misdeed {
                None => (self.handler)(&asked),
                Some(Misdeed::Instead(said)) => said,
                Some(Misdeed::After(said)) => {
                    (self.handler)(&asked);
                    said
                }
                Some(Misdeed::Cut(most)) => Said {
                    cut_after: Some(most),
                    ..(self.handler)(&asked)
                },
                // A body that ends before is no body to be cut.
                Some(Misdeed::Deaf(_) | Misdeed::Half(_)) if is_whole => (self.handler)(&asked),
                Some(Misdeed::Half(_) | Misdeed::Hangup { after_effect: true }) => {
                    (self.handler)(&asked);
                    return Ok(());
                }
                Some(Misdeed::Deaf(_) | Misdeed::Hangup { .. }) => return Ok(()),
                Some(Misdeed::Silence { after_effect }) => {
                    if after_effect {
                        (self.handler)(&asked);
                    }
                    // Until the client hangs up.
                    std::io::copy(&mut reader, &mut std::io::sink())?;
                    return Ok(());
                }
            };
            if !write(stream, &asked, &said)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Reads a request without its body; `None` when the client hung up before one.
fn read_head(reader: &mut BufReader<&TcpStream>) -> Result<Option<Asked>> {
    let first = line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().context("no target")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = Vec::new();
    loop {
        let header = line(reader)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').context("no header")?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Asked {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    }))
}

/// Reads the body, or `most` bytes of it; whether that is all.
fn read_body(
    reader: &mut BufReader<&TcpStream>,
    stream: &TcpStream,
    asked: &mut Asked,
    most: usize,
) -> Result<bool> {
    if asked.header("expect").is_some() {
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16)?;
            let start = asked.body.len();
            asked.body.resize(start + size, 0);
            reader.read_exact(&mut asked.body[start..])?;
            line(reader)?;
            if size == 0 {
                return Ok(true);
            }
            if asked.body.len() > most {
                asked.body.truncate(most);
                return Ok(false);
            }
        }
    }
    let length: usize = match asked.header("content-length") {
        Some(length) => length.parse()?,
        None => 0,
    };
    asked.body = vec![0; length.min(most)];
    reader.read_exact(&mut asked.body)?;
    Ok(length <= most)
}

/// Reads a line without its end; empty at the end of the stream.
fn line(reader: &mut BufReader<&TcpStream>) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.len() > 64 << 10 {
        bail!("a line of {} bytes", line.len());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes an answer; `false` when the connection is to be closed.
fn write(mut stream: &TcpStream, asked: &Asked, said: &Said) -> Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", said.status);
    let has_own_length = said
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_own_length && said.status != 204 && said.status != 304 {
        let length = said.body.len().to_string();
        head.extend(["Content-Length: ", &length, "\r\n"]);
    }
    for (name, value) in &said.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let mut all = head.into_bytes();
    let body = if asked.method == "HEAD" {
        &[][..]
    } else {
        &said.body
    };
    let len = said.cut_after.unwrap_or(body.len()).min(body.len());
    all.extend_from_slice(&body[..len]);
    stream.write_all(&all)?;
    Ok(len == body.len())
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (other, _) => {
                decoded.push(other);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes everything but letters, digits and `-._~`.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// The part of `content` that a `Range` header asks for, with the value of `Content-Range`; an
/// error when nothing is in it.
///
/// # Errors
/// Without a byte in the range.
pub fn range<'a>(content: &'a [u8], header: &str) -> Result<(&'a [u8], String), Said> {
    let wrong = || Said::status(416).header("Content-Range", format!("bytes */{}", content.len()));
    let (first, last) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .ok_or_else(wrong)?;
    let first: usize = first.parse().map_err(|_| wrong())?;
    let last = last.parse().unwrap_or(usize::MAX);
    let end = last.saturating_add(1).min(content.len());
    if first >= end {
        return Err(wrong());
    }
    let range = format!("bytes {first}-{}/{}", end - 1, content.len());
    Ok((&content[first..end], range))
}
