//! XML answers as a small tree.
//!
//! Invariant: documents of hostile depth or with text that is no text are errors, never panics.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, Event};

/// Deeper than any answer of a service.
const DEEPEST: usize = 32;

/// One element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name without namespace.
    pub(crate) name: String,
    /// Its attributes.
    pub(crate) attributes: Vec<(String, String)>,
    /// Its own text.
    pub(crate) text: String,
    /// The elements inside.
    pub(crate) children: Vec<Node>,
}

impl Node {
    /// The first element with this name inside.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element with this name inside.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// All elements with this name inside.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The value of an attribute.
    #[cfg(feature = "abs")]
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a document; answers its outermost element.
pub(crate) fn parse(content: &[u8]) -> Result<Node, String> {
    let content = std::str::from_utf8(content).map_err(|error| error.to_string())?;
    let mut reader = Reader::from_str(content.trim_start_matches('\u{feff}'));
    // The last one is being read.
    let mut open = vec![Node::default()];
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let top = open.last_mut().ok_or("an element ends that never began")?;
        match event {
            Event::Start(start) => {
                if open.len() > DEEPEST {
                    return Err("nested too deep".into());
                }
                open.push(begin(&start)?);
            }
            Event::Empty(start) => top.children.push(begin(&start)?),
            Event::End(_) => {
                let done = open.pop().unwrap_or_default();
                let parent = open.last_mut().ok_or("an element ends that never began")?;
                parent.children.push(done);
            }
            Event::Text(text) => top.text.push_str(text.as_ref()),
            Event::CData(text) => top.text.push_str(text.as_ref()),
            Event::GeneralRef(reference) => top.text.push_str(&resolve(&reference)?),
            Event::Eof => break,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if open.len() != 1 {
        return Err("the document ends in the middle".into());
    }
    let outermost = open.pop().and_then(|mut document| document.children.pop());
    outermost.ok_or_else(|| "there is no element".to_owned())
}

fn begin(start: &quick_xml::events::BytesStart<'_>) -> Result<Node, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| error.to_string())?;
        let name = attribute.key.local_name();
        attributes.push((name.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Node {
        name: start.local_name().as_ref().to_owned(),
        attributes,
        ..Node::default()
    })
}

/// `&amp;` and its kind.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|e| e.to_string())? {
        return Ok(character.to_string());
    }
    match reference.as_ref() {
        "amp" => Ok("&".into()),
        "lt" => Ok("<".into()),
        "gt" => Ok(">".into()),
        "quot" => Ok("\"".into()),
        "apos" => Ok("'".into()),
        other => Err(format!("unknown entity {other:?}")),
    }
}

/// Text as the content of an element.
#[cfg(feature = "oss")]
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Else a line end would be read as another one.
            '\r' => escaped.push_str("&#13;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_texts_and_attributes_are_read() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- x --><a:A xmlns:a=\"u\"><B c=\"1&amp;2\"> \
                    x &lt;&#65;&#x42; y</B><C/><B><![CDATA[<z>]]></B></a:A>";
        let node = parse(text.as_bytes()).unwrap();
        assert_eq!(node.name, "A");
        assert_eq!(node.text_of("B"), Some(" x <AB y"));
        let attributes = &node.child("B").unwrap().attributes;
        assert_eq!(attributes[..], [("c".to_owned(), "1&2".to_owned())]);
        assert_eq!(node.all("B").map(|b| b.text.as_str()).last(), Some("<z>"));
        assert_eq!(node.text_of("C"), Some(""));
        assert_eq!(node.text_of("D"), None);
    }

    #[cfg(feature = "oss")]
    #[test]
    fn escaped_text_is_read_back() {
        let text = "a&b<c>\"d\"'e'\r\u{e9}";
        let document = format!("<A>{}</A>", escape(text));
        assert_eq!(parse(document.as_bytes()).unwrap().text, text);
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        let deep = "<a>".repeat(100);
        for wrong in ["", "text", "<a>", "<a></b>", "</a>", "<a>&bomb;</a>", &deep] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(&[0xff, 0xfe, b'<']).is_err());
    }
}
