//! A stand-in for a WebDAV server, in memory: collections, files, and moving one over another.
//!
//! It is as strict as servers get: a collection must be there before anything in it, and has a
//! slash at its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::Result;

use super::stand_in::{Asked, Said, StandIn, decode, encode, http_date, range};

/// A WebDAV server.
#[derive(Debug)]
pub struct DavStandIn {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

/// Everything by path, without slashes at the ends; the root is not in it.
type State = BTreeMap<String, Node>;

#[derive(Debug, Clone)]
enum Node {
    Collection,
    File {
        content: Vec<u8>,
        stored: SystemTime,
    },
}

impl DavStandIn {
    /// Starts one without any file.
    ///
    /// # Errors
    /// When there is no port.
    ///
    /// # Panics
    /// Never: the panic of an answer is that of its thread.
    pub fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State::new()));
        let there = Arc::clone(&state);
        let server = StandIn::start(move |asked| {
            let mut state = there.lock().expect("no answer panicked");
            answer(&mut state, asked)
        })?;
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

    /// The paths of all files, those included that are being written.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn names(&self) -> Vec<String> {
        let state = self.state();
        let files = state
            .iter()
            .filter(|(_, node)| matches!(node, Node::File { .. }));
        files.map(|(path, _)| path.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }
}

fn answer(state: &mut State, asked: &Asked) -> Said {
    let path = decode(asked.path.trim_matches('/'));
    match asked.method.as_str() {
        "OPTIONS" => Said::status(200).header("DAV", "1"),
        "PROPFIND" => properties(state, &path, asked),
        "MKCOL" if state.contains_key(&path) => Said::status(405),
        "MKCOL" => store(state, path, Node::Collection),
        "PUT" => {
            if matches!(state.get(&path), Some(Node::Collection)) {
                return Said::status(405);
            }
            let file = Node::File {
                content: asked.body.clone(),
                stored: SystemTime::now(),
            };
            store(state, path, file)
        }
        "MOVE" => rename(state, &path, asked),
        "GET" | "HEAD" => get(state, &path, asked),
        "DELETE" => {
            if state.remove(&path).is_none() {
                return Said::status(404);
            }
            let below = format!("{path}/");
            state.retain(|known, _| !known.starts_with(&below));
            Said::status(204)
        }
        _ => Said::status(501),
    }
}

/// Whether something may be at `path`: in the root or in a collection.
fn has_parent(state: &State, path: &str) -> bool {
    path.rsplit_once('/')
        .is_none_or(|(parent, _)| matches!(state.get(parent), Some(Node::Collection)))
}

fn store(state: &mut State, path: String, node: Node) -> Said {
    if !has_parent(state, &path) {
        return Said::status(409);
    }
    match state.insert(path, node) {
        Some(_) => Said::status(204),
        None => Said::status(201),
    }
}

fn rename(state: &mut State, path: &str, asked: &Asked) -> Said {
    let destination = asked.header("destination").unwrap_or_default();
    // A whole address, or a path.
    let target = match destination.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => destination,
    };
    let target = decode(target.trim_matches('/'));
    let Some(node @ Node::File { .. }) = state.get(path).cloned() else {
        return Said::status(404);
    };
    if matches!(state.get(&target), Some(Node::Collection)) {
        return Said::status(409);
    }
    if asked.header("overwrite") == Some("F") && state.contains_key(&target) {
        return Said::status(412);
    }
    let said = store(state, target, node);
    if said.status < 300 {
        state.remove(path);
    }
    said
}

fn get(state: &State, path: &str, asked: &Asked) -> Said {
    let Some(Node::File { content, stored }) = state.get(path) else {
        return Said::status(404);
    };
    let said = match asked.header("range") {
        None => Said::status(200).with(&content[..]),
        Some(header) => match range(content, header) {
            Ok((part, found)) => Said::status(206).header("Content-Range", found).with(part),
            Err(said) => return said,
        },
    };
    said.header("ETag", format!("\"{}\"", content.len()))
        .header("Last-Modified", http_date(*stored))
}

/// What is at `path`, and directly below it if that is asked for.
fn properties(state: &State, path: &str, asked: &Asked) -> Said {
    let own = match state.get(path) {
        Some(node) => node,
        None if path.is_empty() => &Node::Collection,
        None => return Said::status(404),
    };
    let mut found = vec![(path, own)];
    if asked.header("depth") == Some("1") && matches!(own, Node::Collection) {
        let below = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let inside = state.iter().filter(|(known, _)| {
            let name = known.strip_prefix(&below);
            name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        });
        found.extend(inside.map(|(known, node)| (known.as_str(), node)));
    }
    let mut xml = String::from("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">");
    for (path, node) in found {
        let encoded: Vec<_> = path.split('/').map(encode).collect();
        let encoded = encoded.join("/");
        xml.extend(["<D:response><D:href>/", &encoded]);
        xml.push_str(match node {
            Node::Collection if !path.is_empty() => "/</D:href>",
            _ => "</D:href>",
        });
        xml.push_str("<D:propstat><D:status>HTTP/1.1 200 OK</D:status><D:prop>");
        match node {
            Node::Collection => {
                xml.push_str("<D:resourcetype><D:collection/></D:resourcetype>");
            }
            Node::File { content, stored } => {
                let size = content.len().to_string();
                xml.extend([
                    "<D:resourcetype/><D:getcontentlength>",
                    &size,
                    "</D:getcontentlength><D:getlastmodified>",
                    &http_date(*stored),
                    "</D:getlastmodified>",
                ]);
            }
        }
        xml.push_str("</D:prop></D:propstat></D:response>");
    }
    xml.push_str("</D:multistatus>");
    Said::status(207).with(xml)
}
