//! A stand-in for Azure Blob Storage, in memory.
//!
//! It verifies each signature by an implementation of its own, and has conditions, blocks and
//! listings with metadata.

mod blocks;
mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::Result;

use super::stand_in::{Asked, Said, StandIn, decode, encode, http_date, range};

/// Account that [`BlobsStandIn`] serves.
pub const BLOBS_ACCOUNT: &str = "testaccount";
/// Its key.
pub const BLOBS_KEY: &str = "dGhlIGtleSBvZiB0aGUgdGVzdCBhY2NvdW50";

/// Most objects of a page, few so that listings have several.
const PAGE: usize = 100;

const META: &str = "x-ms-meta-";

/// Azure Blob Storage with one container.
#[derive(Debug)]
pub struct BlobsStandIn {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<String, Blob>,
    /// Blocks that are in no blob, by its name and theirs.
    blocks: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    count: u64,
}

#[derive(Debug)]
struct Blob {
    /// Names and contents of its blocks; one without a name after an upload in one request.
    blocks: Vec<(String, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
    etag: String,
    created: SystemTime,
}

impl BlobsStandIn {
    /// Starts one with the container `container`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(container: &str) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (there, container) = (Arc::clone(&state), container.to_owned());
        let server = StandIn::start(move |asked| answer(&there, &container, asked))?;
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
        self.state().blobs.keys().cloned().collect()
    }

    /// The content of an object.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.state().blobs.get(name).map(Blob::content)
    }

    /// Throws away all blocks that are in no blob when it is called, as the service does in time.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn forgetter(&self) -> impl Fn() + Send + use<> {
        let state = Arc::clone(&self.state);
        move || {
            let mut state = state.lock().expect("no answer panicked");
            state.blocks.clear();
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
            let blocks = vec![(String::new(), content)];
            state.store(name, blocks, BTreeMap::new());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }
}

fn answer(state: &Mutex<State>, container: &str, asked: &Asked) -> Said {
    if let Err(why) = sign::verify(asked) {
        return wrong(403, "AuthenticationFailed", &why);
    }
    let Some(path) = asked.path.strip_prefix(&format!("/{container}")) else {
        return wrong(404, "ContainerNotFound", &asked.path);
    };
    let mut state = state.lock().expect("no answer panicked");
    let name = decode(path.strip_prefix('/').unwrap_or(path));
    let what = asked.parameter("comp").unwrap_or_default();
    match (asked.method.as_str(), name.as_str(), what.as_str()) {
        ("GET", "", "list") => state.list(asked),
        ("GET", name, "blocklist") => state.block_list(name),
        ("GET" | "HEAD", name, "") => state.get(name, asked),
        ("PUT", name, "block") => state.block(name, asked),
        ("PUT", name, "blocklist") => state.commit(name, asked),
        ("PUT", name, "") if asked.header("x-ms-blob-type") == Some("BlockBlob") => {
            let blocks = vec![(String::new(), asked.body.clone())];
            state.put(name, blocks, asked)
        }
        ("DELETE", name, "") => state.delete(name, asked),
        _ => wrong(400, "InvalidQueryParameterValue", &asked.query),
    }
}

fn wrong(status: u16, code: &str, message: &str) -> Said {
    let message = escape(message);
    Said::status(status)
        .header("x-ms-error-code", code)
        .header("Content-Type", "application/xml")
        .with(format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A name as listings have it: encoded when XML cannot hold it.
fn listed(name: &str) -> String {
    let is_plain = name
        .chars()
        .all(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    if is_plain {
        format!("<Name>{}</Name>", escape(name))
    } else {
        format!("<Name Encoded=\"true\">{}</Name>", encode(name))
    }
}

impl Blob {
    fn content(&self) -> Vec<u8> {
        let contents = self.blocks.iter().map(|(_, content)| content.as_slice());
        contents.collect::<Vec<_>>().concat()
    }

    fn described(&self, said: Said) -> Said {
        let mut said = said
            .header("ETag", &self.etag)
            .header("Last-Modified", http_date(self.created))
            .header("x-ms-creation-time", http_date(self.created));
        for (name, value) in &self.metadata {
            said = said.header(&format!("{META}{name}"), value);
        }
        said
    }
}

impl State {
    /// Why a condition of the request does not hold.
    fn refused(&self, name: &str, asked: &Asked) -> Option<Said> {
        let found = self.blobs.get(name).map(|blob| blob.etag.as_str());
        match (asked.header("if-none-match"), asked.header("if-match")) {
            (Some("*"), _) if found.is_some() => Some(wrong(409, "BlobAlreadyExists", name)),
            (_, Some(wanted)) if found != Some(wanted) => Some(wrong(412, "ConditionNotMet", name)),
            _ => None,
        }
    }

    fn put(&mut self, name: &str, blocks: Vec<(String, Vec<u8>)>, asked: &Asked) -> Said {
        if let Some(refused) = self.refused(name, asked) {
            return refused;
        }
        let metadata = asked.headers.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(META)?;
            Some((name.to_owned(), value.clone()))
        });
        self.store(name, blocks, metadata.collect())
    }

    fn store(
        &mut self,
        name: &str,
        blocks: Vec<(String, Vec<u8>)>,
        metadata: BTreeMap<String, String>,
    ) -> Said {
        self.count += 1;
        let blob = Blob {
            blocks,
            metadata,
            etag: format!("\"0x{:016X}\"", self.count),
            created: SystemTime::now(),
        };
        let said = Said::status(201)
            .header("ETag", &blob.etag)
            .header("Last-Modified", http_date(blob.created));
        // Whatever makes a blob throws away the blocks that are not in it.
        self.blocks.remove(name);
        self.blobs.insert(name.to_owned(), blob);
        said
    }

    fn get(&self, name: &str, asked: &Asked) -> Said {
        let Some(blob) = self.blobs.get(name) else {
            return wrong(404, "BlobNotFound", name);
        };
        let content = blob.content();
        let said = match asked.header("range") {
            None => Said::status(200).with(content),
            Some(header) => match range(&content, header) {
                Ok((part, found)) => Said::status(206).header("Content-Range", found).with(part),
                Err(said) => return said.header("x-ms-error-code", "InvalidRange"),
            },
        };
        blob.described(said)
    }

    fn delete(&mut self, name: &str, asked: &Asked) -> Said {
        if !self.blobs.contains_key(name) {
            return wrong(404, "BlobNotFound", name);
        }
        if let Some(refused) = self.refused(name, asked) {
            return refused;
        }
        self.blobs.remove(name);
        Said::status(202)
    }

    fn list(&self, asked: &Asked) -> Said {
        if asked.parameter("restype").as_deref() != Some("container") {
            return wrong(400, "InvalidQueryParameterValue", &asked.query);
        }
        let text = |name: &str| asked.parameter(name).unwrap_or_default();
        let (prefix, from) = (text("prefix"), decode(&text("marker")));
        let has_metadata = text("include") == "metadata";
        let mut found = self
            .blobs
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix) && **name >= from);
        let mut xml = String::from("<?xml version=\"1.0\"?><EnumerationResults><Blobs>");
        for (name, blob) in found.by_ref().take(PAGE) {
            let created = http_date(blob.created);
            xml.extend([
                "<Blob>",
                &listed(name),
                "<Properties><Creation-Time>",
                &created,
            ]);
            xml.extend([
                "</Creation-Time><Last-Modified>",
                &created,
                "</Last-Modified><Etag>",
            ]);
            // Without the quotes, as the service does.
            let size = blob.content().len().to_string();
            xml.extend([
                blob.etag.trim_matches('"'),
                "</Etag><Content-Length>",
                &size,
            ]);
            xml.push_str("</Content-Length></Properties><Metadata>");
            for (name, value) in blob.metadata.iter().filter(|_| has_metadata) {
                xml.extend(["<", name, ">", &escape(value), "</", name, ">"]);
            }
            xml.push_str("</Metadata></Blob>");
        }
        let next = found.next().map(|(name, _)| encode(name));
        let next = next.unwrap_or_default();
        xml.extend([
            "</Blobs><NextMarker>",
            &next,
            "</NextMarker></EnumerationResults>",
        ]);
        Said::status(200).with(xml)
    }
}
