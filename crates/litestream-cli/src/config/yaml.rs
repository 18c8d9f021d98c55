//! A YAML document as a tree that remembers where each value stands.
//!
//! Only the first document of a stream is read. Aliases share the node they refer to, so a
//! document cannot grow in memory by repeating them; the decoder bounds how often it visits nodes.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// Containers may be nested this deep.
const MAX_DEPTH: usize = 256;

/// The text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The scanner stopped.
    #[error("yaml: line {line}: {reason}")]
    Scan {
        /// Line of the offence, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Containers nested too deep.
    #[error("yaml: line {0}: exceeded max depth of 256")]
    TooDeep(usize),
    /// An alias inside the value it refers to.
    #[error("yaml: line {0}: anchor value contains itself")]
    SelfReference(usize),
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// What it is.
    pub value: Value,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// True when the value carries an anchor (`&name`).
    pub is_anchored: bool,
}

/// The three kinds of values.
#[derive(Debug)]
pub(super) enum Value {
    /// A text, number, truth value or nothing.
    Scalar {
        /// As written, quotes and escapes resolved.
        text: String,
        /// True when quotes, block style or a tag make it a text whatever it looks like.
        is_text: bool,
    },
    /// A list.
    Sequence(Vec<Rc<Node>>),
    /// Keys and values in the order of the document.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A container that is not closed yet.
struct Open {
    anchor: usize,
    span: Span,
    is_mapping: bool,
    children: Vec<Rc<Node>>,
}

/// Parses the first document; `None` when there is none.
pub(super) fn parse(text: &str) -> Result<Option<Rc<Node>>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError::Scan {
            line: error.marker().line().max(1),
            reason: error.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd) {
            return Ok(builder.root);
        }
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain && tag.is_none()
                    || tag.as_deref().is_some_and(is_text_tag);
                let value = Value::Scalar {
                    text: text.into_owned(),
                    is_text,
                };
                self.add(value, anchor, span);
            }
            Event::SequenceStart(anchor, _) => self.start(anchor, span, false)?,
            Event::MappingStart(anchor, _) => self.start(anchor, span, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or(SyntaxError::SelfReference(span.start.line()))?;
                self.place(node);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(&mut self, anchor: usize, span: Span, is_mapping: bool) -> Result<(), SyntaxError> {
        if self.open.len() == MAX_DEPTH {
            return Err(SyntaxError::TooDeep(span.start.line()));
        }
        self.open.push(Open {
            anchor,
            span,
            is_mapping,
            children: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let value = if open.is_mapping {
            let mut children = open.children.into_iter();
            let mut pairs = Vec::new();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                pairs.push((key, value));
            }
            Value::Mapping(pairs)
        } else {
            Value::Sequence(open.children)
        };
        self.add(value, open.anchor, open.span);
    }

    fn add(&mut self, value: Value, anchor: usize, span: Span) {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let node = Rc::new(Node {
            value,
            line,
            column,
            is_anchored: anchor > 0,
        });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node);
    }

    fn place(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
    }
}

/// `!` and `!!str` make a scalar a text.
fn is_text_tag(tag: &Tag) -> bool {
    (tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "str" | "binary"))
        || (tag.handle.is_empty() && tag.suffix == "!")
}

impl Node {
    /// True for an empty value, `~` and `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, is_text: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}
