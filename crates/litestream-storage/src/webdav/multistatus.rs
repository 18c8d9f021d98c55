//! The XML of answers about files: 207 Multi-Status, RFC 4918.
//!
//! Invariant: whatever a server sends, the outcome is a list of paths with properties or an error;
//! nothing in it is followed, and no entity but the five of XML is expanded.

use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::{Error, ErrorKind, Operation, Result};

/// Most elements inside one another; answers have six.
const MOST_DEPTH: usize = 64;

/// What is known of one file or collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Its path on the server: decoded, without the address of the server.
    pub(super) path: String,
    pub(super) collection: bool,
    pub(super) size: Option<u64>,
    /// When it was stored, in Unix milliseconds.
    pub(super) modified: Option<i64>,
    /// What the server says instead of all that, other than that nothing is there.
    pub(super) refused: Option<u16>,
}

/// The question for these properties.
pub(super) const QUESTION: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?>"#,
    r#"<D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>"#,
    r#"<D:getlastmodified/></D:prop></D:propfind>"#
);

/// Reads an answer.
pub(super) fn parse(operation: Operation, xml: &[u8]) -> Result<Vec<Properties>> {
    let broken = |detail: String| {
        Error::new(ErrorKind::Corrupt, operation)
            .with_detail(format!("the server's answer is no WebDAV: {detail}"))
    };
    let text = std::str::from_utf8(xml).map_err(|error| broken(error.to_string()))?;
    let mut reader = NsReader::from_str(text);
    let mut state = Parser::default();
    loop {
        let place = reader.buffer_position();
        let (namespace, event) = reader
            .read_resolved_event()
            .map_err(|error| broken(format!("{error} at byte {place}")))?;
        let dav = matches!(namespace, ResolveResult::Bound(Namespace("DAV:")));
        match event {
            Event::Start(start) => {
                if state.path.len() >= MOST_DEPTH {
                    return Err(broken(format!("too deep at byte {place}")));
                }
                state.start(Element::of(dav, start.local_name().as_ref()));
            }
            Event::Empty(start) => {
                state.start(Element::of(dav, start.local_name().as_ref()));
                state.end();
            }
            Event::End(_) => state.end(),
            Event::Text(part) => state.text.push_str(&part),
            Event::CData(part) => state.text.push_str(&part),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character),
                    Ok(None) => named_entity(&reference),
                    Err(_) => None,
                };
                let unknown = || broken(format!("unknown entity at byte {place}"));
                state.text.push(character.ok_or_else(unknown)?);
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if !state.seen {
        return Err(broken("no multistatus in it".to_owned()));
    }
    if !state.path.is_empty() {
        return Err(broken("it ends early".to_owned()));
    }
    Ok(state.found)
}

fn named_entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Multistatus,
    Response,
    Href,
    Propstat,
    Prop,
    Status,
    ResourceType,
    Collection,
    Length,
    Modified,
    Other,
}

impl Element {
    fn of(dav: bool, name: &str) -> Self {
        if !dav {
            return Self::Other;
        }
        match name {
            "multistatus" => Self::Multistatus,
            "response" => Self::Response,
            "href" => Self::Href,
            "propstat" => Self::Propstat,
            "prop" => Self::Prop,
            "status" => Self::Status,
            "resourcetype" => Self::ResourceType,
            "collection" => Self::Collection,
            "getcontentlength" => Self::Length,
            "getlastmodified" => Self::Modified,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    /// The elements around.
    path: Vec<Element>,
    /// Text of the innermost one.
    text: String,
    /// The response being read, and its `propstat`.
    response: Properties,
    href: Option<String>,
    status: Option<u16>,
    prop: Properties,
    prop_status: Option<u16>,
    found: Vec<Properties>,
    /// Whether it was an answer at all.
    seen: bool,
}

impl Parser {
    fn start(&mut self, element: Element) {
        self.text.clear();
        match element {
            Element::Multistatus if self.path.is_empty() => self.seen = true,
            Element::Response => {
                self.response = Properties::default();
                self.href = None;
                self.status = None;
            }
            Element::Propstat => {
                self.prop = Properties::default();
                self.prop_status = None;
            }
            _ => {}
        }
        self.path.push(element);
    }

    fn end(&mut self) {
        let element = self.path.pop();
        let parent = self.path.last().copied();
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        match (element, parent) {
            (Some(Element::Href), Some(Element::Response)) => self.href = Some(text.to_owned()),
            (Some(Element::Status), Some(Element::Response)) => self.status = status(text),
            (Some(Element::Status), Some(Element::Propstat)) => self.prop_status = status(text),
            (Some(Element::Collection), Some(Element::ResourceType)) => self.prop.collection = true,
            (Some(Element::Length), Some(Element::Prop)) => self.prop.size = text.parse().ok(),
            (Some(Element::Modified), Some(Element::Prop)) => self.prop.modified = date(text),
            // Properties that are not there come with another status.
            (Some(Element::Propstat), Some(Element::Response))
                if self.prop_status.is_none_or(|status| status == 200) =>
            {
                let Properties {
                    collection,
                    size,
                    modified,
                    ..
                } = std::mem::take(&mut self.prop);
                self.response.collection |= collection;
                self.response.size = size.or(self.response.size);
                self.response.modified = modified.or(self.response.modified);
            }
            (Some(Element::Response), Some(Element::Multistatus)) => {
                let refused = self.status.filter(|status| *status >= 400);
                let is_gone = matches!(refused, Some(404 | 410));
                if let Some(path) = self.href.take().as_deref().and_then(path_of)
                    && !is_gone
                {
                    let properties = std::mem::take(&mut self.response);
                    self.found.push(Properties {
                        path,
                        refused,
                        ..properties
                    });
                }
            }
            _ => {}
        }
    }
}

/// The code of a line such as `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Unix milliseconds of a date as HTTP writes it.
pub(super) fn date(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    time.unix_timestamp().checked_mul(1000)
}

/// The decoded path of a reference: a whole address, or a path alone.
fn path_of(href: &str) -> Option<String> {
    let path = match href.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => match rest.find('/') {
            Some(slash) => &rest[slash..],
            None => "/",
        },
        _ => href,
    };
    decode(path)
}

/// Percent-decoding; `None` when it is not UTF-8 then.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(escaped) = escaped {
            decoded.push(escaped);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests;
