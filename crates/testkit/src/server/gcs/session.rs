//! Resumable uploads.

use std::collections::BTreeMap;

use super::super::stand_in::{Asked, Said};
use super::{State, condition, described, wrong};

/// All requests of a session but the last end at a multiple of this.
const STEP: u64 = 256 << 10;

/// A session. One that has made its object stays, and answers the same again.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    metadata: BTreeMap<String, String>,
    condition: Option<u64>,
    content: Vec<u8>,
    /// The answer to the last request.
    done: Option<Said>,
}

impl Session {
    pub(super) fn is_open(&self) -> bool {
        self.done.is_none()
    }
}

/// What `Content-Range` says: where the bytes are, if there are any, and the size if it is known.
struct Range {
    bytes: Option<(u64, u64)>,
    total: Option<u64>,
}

impl Range {
    fn of(asked: &Asked) -> Option<Self> {
        let text = asked.header("content-range")?.strip_prefix("bytes ")?;
        let (bytes, total) = text.split_once('/')?;
        let bytes = match bytes.split_once('-') {
            Some((first, last)) => Some((first.parse().ok()?, last.parse::<u64>().ok()? + 1)),
            None => None,
        };
        Some(Self {
            bytes,
            total: total.parse().ok(),
        })
    }
}

impl State {
    pub(super) fn begin(&mut self, asked: &Asked) -> Said {
        let Some((name, metadata)) = described(&asked.body) else {
            return wrong(400, "invalid", "no description");
        };
        let condition = condition(asked);
        if !self.fits(&name, condition) {
            return wrong(412, "conditionNotMet", &name);
        }
        self.count += 1;
        let session = Session {
            name,
            metadata,
            condition,
            content: Vec::new(),
            done: None,
        };
        self.sessions.insert(self.count, session);
        let host = asked.header("host").unwrap_or_default();
        Said::status(200).header(
            "Location",
            format!("http://{host}{}?upload_id={}", asked.path, self.count),
        )
    }

    pub(super) fn session(&mut self, id: &str, asked: &Asked) -> Said {
        let id = id.parse().unwrap_or_default();
        let Some(session) = self.sessions.get_mut(&id) else {
            return wrong(404, "notFound", "no such session");
        };
        match asked.method.as_str() {
            "DELETE" => {
                self.sessions.remove(&id);
                return Said::status(499);
            }
            "PUT" => {}
            other => return wrong(400, "invalid", other),
        }
        if let Some(done) = &session.done {
            return done.clone();
        }
        let Some(range) = Range::of(asked) else {
            return wrong(400, "invalid", "Content-Range");
        };
        let has = session.content.len() as u64;
        if let Some((first, end)) = range.bytes {
            let is_last = range.total == Some(end);
            if first != has || !is_last && !end.is_multiple_of(STEP) {
                let what = format!("bytes {first}-{end} after {has}");
                return wrong(400, "invalid", &what);
            }
            // Fewer than announced when the connection broke.
            session.content.extend_from_slice(&asked.body);
        }
        let has = session.content.len() as u64;
        if range.total == Some(has) {
            return self.finish(id);
        }
        let said = Said::status(308);
        match has {
            0 => said,
            has => said.header("Range", format!("bytes=0-{}", has - 1)),
        }
    }

    fn finish(&mut self, id: u64) -> Said {
        let session = self.sessions.get_mut(&id).expect("looked up before");
        let content = std::mem::take(&mut session.content);
        let (name, metadata) = (session.name.clone(), session.metadata.clone());
        let condition = session.condition;
        let said = self.put(&name, content, metadata, condition);
        let session = self.sessions.get_mut(&id).expect("nobody took it away");
        session.done = Some(said.clone());
        said
    }
}
