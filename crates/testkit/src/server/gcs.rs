//! A stand-in for Google Cloud Storage, in memory: the JSON interface with resumable uploads and
//! conditions, and plain downloads.
//!
//! It is stricter than the service where a client could go wrong unnoticed: bytes of a session
//! must come in order and once, and parts in whole steps of 256 KiB.

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::Result;
use serde_json::{Value, json};

use self::session::Session;
use super::stand_in::{Asked, Said, StandIn, decode, http_date, iso_date, range};

/// Most objects of a page, few so that listings have several.
const PAGE: usize = 100;

/// Google Cloud Storage with one bucket.
#[derive(Debug)]
pub struct GcsStandIn {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    sessions: BTreeMap<u64, Session>,
    /// The last generation or session that was given out.
    count: u64,
}

#[derive(Debug)]
struct Object {
    content: Vec<u8>,
    metadata: BTreeMap<String, String>,
    generation: u64,
    created: SystemTime,
}

impl GcsStandIn {
    /// Starts one with the bucket `bucket`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(bucket: &str) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (there, bucket) = (Arc::clone(&state), bucket.to_owned());
        let server = StandIn::start(move |asked| answer(&there, &bucket, asked))?;
        Ok(Self { server, state })
    }

    /// The server.
    pub fn server(&self) -> &StandIn {
        &self.server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The names of all objects.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// The content of an object.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.objects.get(name).map(|object| object.content.clone())
    }

    /// How many sessions have neither made an object nor been given up.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn open_sessions(&self) -> usize {
        let state = self.state();
        let open = state.sessions.values().filter(|session| session.is_open());
        open.count()
    }

    /// Forgets all sessions when it is called, as the service does in time.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn forgetter(&self) -> impl Fn() + Send + use<> {
        let state = Arc::clone(&self.state);
        move || {
            let mut state = state.lock().expect("no answer panicked");
            state.sessions.clear();
        }
    }

    /// Puts an object there when it is called, as somebody else would.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn writer(&self) -> impl Fn(&str, Vec<u8>) + Send + use<> {
        let state = Arc::clone(&self.state);
        move |name, content| {
            let mut state = state.lock().expect("no answer panicked");
            state.put(name, content, BTreeMap::new(), None);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }
}

fn answer(state: &Mutex<State>, bucket: &str, asked: &Asked) -> Said {
    let mut state = state.lock().expect("no answer panicked");
    let objects = format!("/storage/v1/b/{bucket}/o");
    let uploads = format!("/upload{objects}");
    let method = asked.method.as_str();
    if asked.path == uploads {
        return match (method, asked.parameter("upload_id")) {
            ("POST", None) => state.upload(asked),
            (_, Some(id)) => state.session(&id, asked),
            _ => wrong(400, "invalid", "no such upload"),
        };
    }
    if asked.path == objects && method == "GET" {
        return state.list(asked);
    }
    if let Some(name) = asked.path.strip_prefix(&format!("{objects}/")) {
        return state.object(&decode(name), asked);
    }
    match asked.path.strip_prefix(&format!("/{bucket}/")) {
        Some(name) if method == "GET" => state.download(&decode(name), asked),
        _ => wrong(404, "notFound", "no such bucket"),
    }
}

fn wrong(status: u16, reason: &str, message: &str) -> Said {
    let error = json!({ "code": status, "message": message, "errors": [{ "reason": reason }] });
    Said::status(status)
        .header("Content-Type", "application/json")
        .with(json!({ "error": error }).to_string())
}

/// The value of `ifGenerationMatch`.
fn condition(asked: &Asked) -> Option<u64> {
    asked.parameter("ifGenerationMatch")?.parse().ok()
}

/// Name and metadata from the description of a new object.
fn described(text: &[u8]) -> Option<(String, BTreeMap<String, String>)> {
    let description: Value = serde_json::from_slice(text).ok()?;
    let name = description["name"].as_str()?.to_owned();
    let metadata = description["metadata"].as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Some((name, metadata.filter_map(text).collect()))
}

impl State {
    /// Whether an object may be put or deleted on a condition; 0 stands for its absence.
    fn fits(&self, name: &str, condition: Option<u64>) -> bool {
        let generation = self.objects.get(name).map_or(0, |object| object.generation);
        condition.is_none_or(|wanted| wanted == generation)
    }

    fn put(
        &mut self,
        name: &str,
        content: Vec<u8>,
        metadata: BTreeMap<String, String>,
        condition: Option<u64>,
    ) -> Said {
        if !self.fits(name, condition) {
            return wrong(412, "conditionNotMet", name);
        }
        self.count += 1;
        let object = Object {
            content,
            metadata,
            generation: self.count,
            created: SystemTime::now(),
        };
        let said = Said::status(200).with(object.resource(name).to_string());
        self.objects.insert(name.to_owned(), object);
        said
    }

    fn upload(&mut self, asked: &Asked) -> Said {
        match asked.parameter("uploadType").as_deref() {
            Some("multipart") => self.multipart(asked),
            Some("resumable") => self.begin(asked),
            other => wrong(400, "invalid", &format!("uploadType {other:?}")),
        }
    }

    /// Description and content between separators.
    fn multipart(&mut self, asked: &Asked) -> Said {
        let kind = asked.header("content-type").unwrap_or_default();
        let Some(boundary) = kind.strip_prefix("multipart/related; boundary=") else {
            return wrong(400, "invalid", kind);
        };
        let Some((description, content)) = two_parts(&asked.body, boundary) else {
            return wrong(400, "invalid", "not two parts");
        };
        match described(description) {
            Some((name, metadata)) if Some(&name) == asked.parameter("name").as_ref() => {
                self.put(&name, content.to_vec(), metadata, condition(asked))
            }
            other => wrong(400, "invalid", &format!("description {other:?}")),
        }
    }

    fn object(&mut self, name: &str, asked: &Asked) -> Said {
        let Some(object) = self.objects.get(name) else {
            return wrong(404, "notFound", name);
        };
        match asked.method.as_str() {
            "GET" => Said::status(200).with(object.resource(name).to_string()),
            "DELETE" if self.fits(name, condition(asked)) => {
                self.objects.remove(name);
                Said::status(204)
            }
            "DELETE" => wrong(412, "conditionNotMet", name),
            other => wrong(400, "invalid", other),
        }
    }

    fn download(&self, name: &str, asked: &Asked) -> Said {
        let Some(object) = self.objects.get(name) else {
            // The plain interface answers no JSON.
            return Said::status(404).with("<Error><Code>NoSuchKey</Code></Error>");
        };
        let (said, content) = match asked.header("range") {
            None => (Said::status(200), &object.content[..]),
            Some(header) => match range(&object.content, header) {
                Ok((content, found)) => (Said::status(206).header("Content-Range", found), content),
                Err(said) => return said,
            },
        };
        let mut said = said
            .header("x-goog-generation", object.generation.to_string())
            .header("Last-Modified", http_date(object.created));
        for (key, value) in &object.metadata {
            said = said.header(&format!("x-goog-meta-{key}"), value);
        }
        said.with(content)
    }

    fn list(&self, asked: &Asked) -> Said {
        let text = |name: &str| asked.parameter(name).unwrap_or_default();
        let (prefix, from, after) = (text("prefix"), text("startOffset"), text("pageToken"));
        let most = text("maxResults").parse().unwrap_or(PAGE).min(PAGE);
        let mut found = self.objects.iter().filter(|(name, _)| {
            name.starts_with(&prefix) && **name >= from && (after.is_empty() || **name > after)
        });
        let page: Vec<_> = found.by_ref().take(most).collect();
        let items: Vec<_> = page
            .iter()
            .map(|(name, object)| object.resource(name))
            .collect();
        let mut answer = json!({ "items": items });
        if let (Some(_), Some((last, _))) = (found.next(), page.last()) {
            answer["nextPageToken"] = json!(last);
        }
        Said::status(200).with(answer.to_string())
    }
}

impl Object {
    fn resource(&self, name: &str) -> Value {
        json!({
            "name": name,
            "size": self.content.len().to_string(),
            "generation": self.generation.to_string(),
            "timeCreated": iso_date(self.created),
            "metadata": self.metadata,
            "crc32c": super::base64_of(&crc32c(&self.content).to_be_bytes()),
        })
    }
}

/// The bodies of two parts.
fn two_parts<'a>(body: &'a [u8], boundary: &str) -> Option<(&'a [u8], &'a [u8])> {
    let rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes())?;
    let rest = rest.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    let (first, second) = cut(rest, format!("\r\n--{boundary}\r\n").as_bytes())?;
    let body = |part| cut(part, b"\r\n\r\n").map(|(_, body)| body);
    Some((body(first)?, body(second)?))
}

fn cut<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..found], &text[found + at.len()..]))
}

/// CRC32 with the polynomial of Castagnoli.
fn crc32c(content: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in content {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0x82F6_3B78 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32c_is_that_of_the_catalogue() {
        assert_eq!(super::crc32c(b"123456789"), 0xE306_9283);
    }
}
