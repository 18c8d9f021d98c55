//! From YAML nodes to typed sections: collects every type error and every unknown key.

use std::rc::Rc;

use super::scalar::{Resolved, resolve, tag};
use super::yaml::{Node, Value};
use crate::duration::Span;
use crate::size;

/// A document may be visited this many times in all: aliases of aliases must not explode.
const MAX_VISITS: usize = 1_000_000;

/// What decoding found besides the values.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Type errors, in the order of the document: one line each.
    pub type_errors: Vec<String>,
    /// The first error that says more than a wrong type.
    pub fatal: Option<String>,
    /// Keys that nothing reads.
    pub unknown: Vec<UnknownKey>,
    visits: usize,
}

/// A key that no section knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownKey {
    /// The key as written.
    pub key: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The keys that would have been known in its place.
    pub known: &'static [&'static [&'static str]],
}

/// A type that a node can be decoded into, over the value that is already there.
pub(super) trait Decode: Default {
    /// The type's name in messages.
    const TYPE: &'static str;
    /// The name of a list of it in messages.
    const LIST_TYPE: &'static str;
    /// True when an empty list item is an error.
    const REFUSES_EMPTY_ITEM: bool = false;
    /// Reads a node that is not null.
    fn decode(&mut self, node: &Node, decoder: &mut Decoder);
}

/// A mapping with fixed keys.
pub(super) trait Section: Default {
    /// The keys of this section alone.
    const OWN_KEYS: &'static [&'static str];
    /// The known keys, in groups (own keys, then shared ones).
    const KEYS: &'static [&'static [&'static str]];
    /// Reads the value of `key`; false when there is no such key.
    fn set(&mut self, key: &str, node: &Node, decoder: &mut Decoder) -> bool;
}

impl Decoder {
    /// Decodes `node` into `target`; a null resets it to its default.
    pub(super) fn read<T: Decode>(&mut self, target: &mut T, node: &Node) {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            self.fail("yaml: document contains excessive aliasing".into());
        } else if node.is_null() {
            *target = T::default();
        } else {
            target.decode(node, self);
        }
    }

    /// Records that `node` has the wrong type.
    pub(super) fn mismatch(&mut self, node: &Node, wanted: &str) {
        let value = match &node.value {
            Value::Scalar { text, .. } if text.chars().count() > 10 => {
                format!(" `{}...`", text.chars().take(7).collect::<String>())
            }
            Value::Scalar { text, .. } => format!(" `{text}`"),
            Value::Sequence(_) | Value::Mapping(_) => String::new(),
        };
        let line = node.line;
        self.type_errors.push(format!(
            "line {line}: cannot unmarshal {}{value} into {wanted}",
            tag(node)
        ));
    }

    fn fail(&mut self, message: String) {
        self.fatal.get_or_insert(message);
    }

    /// Reads the keys of a section, merge keys included.
    pub(super) fn read_section<S: Section>(&mut self, section: &mut S, node: &Node, name: &str) {
        let Value::Mapping(pairs) = &node.value else {
            return self.mismatch(node, name);
        };
        for (key, value) in pairs {
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return self.fail("yaml: document contains excessive aliasing".into());
            }
            self.read_pair(section, key, value, name);
        }
    }

    fn read_pair<S: Section>(&mut self, section: &mut S, key: &Node, value: &Rc<Node>, name: &str) {
        let Value::Scalar { text, is_text } = &key.value else {
            return self.mismatch(key, "string");
        };
        if text == "<<" && !is_text {
            return self.merge(section, value, name);
        }
        let is_template = value.is_anchored || text.starts_with("x-");
        if !section.set(text, value, self) && !is_template {
            self.unknown.push(UnknownKey {
                key: text.clone(),
                line: key.line,
                column: key.column,
                known: S::KEYS,
            });
        }
    }

    /// `<<`: the keys of one mapping, or of several where the first has precedence.
    fn merge<S: Section>(&mut self, section: &mut S, node: &Node, name: &str) {
        match &node.value {
            Value::Mapping(_) => self.read_section(section, node, name),
            Value::Sequence(items)
                if items
                    .iter()
                    .all(|item| matches!(item.value, Value::Mapping(_))) =>
            {
                for item in items.iter().rev() {
                    self.read_section(section, item, name);
                }
            }
            _ => self.fail("yaml: map merge requires map or sequence of maps as the value".into()),
        }
    }
}

impl Decode for String {
    const TYPE: &'static str = "string";
    const LIST_TYPE: &'static str = "[]string";
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        match &node.value {
            Value::Scalar { text, .. } => self.clone_from(text),
            _ => decoder.mismatch(node, Self::TYPE),
        }
    }
}

impl Decode for bool {
    const TYPE: &'static str = "bool";
    const LIST_TYPE: &'static str = "[]bool";
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        match resolve(node) {
            Resolved::Bool(value) => *self = value,
            _ => decoder.mismatch(node, Self::TYPE),
        }
    }
}

/// A number that fits `T`; fractions are cut off.
fn number<T: TryFrom<i128>>(node: &Node) -> Option<T> {
    match resolve(node) {
        Resolved::Int(value) => T::try_from(value).ok(),
        Resolved::Float(value) if value.abs() < 9.3e18 => T::try_from(value as i128).ok(),
        _ => None,
    }
}

macro_rules! decode_number {
    ($type:ty, $name:literal) => {
        impl Decode for $type {
            const TYPE: &'static str = $name;
            const LIST_TYPE: &'static str = concat!("[]", $name);
            fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
                match number(node) {
                    Some(value) => *self = value,
                    None => decoder.mismatch(node, Self::TYPE),
                }
            }
        }
    };
}
decode_number!(i64, "int");
decode_number!(u32, "uint32");

impl Decode for Span {
    const TYPE: &'static str = "time.Duration";
    const LIST_TYPE: &'static str = "[]time.Duration";
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        let value = match (&node.value, resolve(node)) {
            (Value::Scalar { text, .. }, Resolved::Text) => Self::parse(text).ok(),
            _ => number(node).map(Self::from_nanos),
        };
        match value {
            Some(value) => *self = value,
            None => decoder.mismatch(node, Self::TYPE),
        }
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes(pub u64);

impl Decode for Bytes {
    const TYPE: &'static str = "string";
    const LIST_TYPE: &'static str = "[]string";
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        let Value::Scalar { text, .. } = &node.value else {
            return decoder.mismatch(node, Self::TYPE);
        };
        match size::parse(text) {
            Ok(value) => *self = Self(value),
            Err(error) => decoder.fail(error.to_string()),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    const TYPE: &'static str = T::TYPE;
    const LIST_TYPE: &'static str = T::LIST_TYPE;
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        self.get_or_insert_with(T::default).decode(node, decoder);
    }
}

impl<T: Decode> Decode for Vec<T> {
    const TYPE: &'static str = T::LIST_TYPE;
    const LIST_TYPE: &'static str = T::LIST_TYPE;
    fn decode(&mut self, node: &Node, decoder: &mut Decoder) {
        let Value::Sequence(items) = &node.value else {
            return decoder.mismatch(node, Self::TYPE);
        };
        self.clear();
        for item in items {
            if item.is_null() && T::REFUSES_EMPTY_ITEM {
                decoder.mismatch(item, T::TYPE);
                continue;
            }
            let mut value = T::default();
            decoder.read(&mut value, item);
            self.push(value);
        }
    }
}

/// Declares a mapping: its struct, its keys, and how they are decoded.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($type:literal, $list:literal) {
            $($(#[$doc:meta])* $field:ident: $field_type:ty = $key:literal,)*
            $(@shared $shared:ident: $shared_type:ty,)?
            $(@unwritten $(#[$unwritten_doc:meta])* $unwritten:ident: $unwritten_type:ty,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default)]
        $vis struct $name {
            $($(#[$doc])* $vis $field: $field_type,)*
            $(
                /// Keys shared with other sections.
                $vis $shared: $shared_type,
            )?
            $($(#[$unwritten_doc])* $vis $unwritten: $unwritten_type,)?
        }

        impl $crate::config::decode::Section for $name {
            const OWN_KEYS: &'static [&'static str] = &[$($key,)*];
            const KEYS: &'static [&'static [&'static str]] = &[
                Self::OWN_KEYS,
                $(<$shared_type as $crate::config::decode::Section>::OWN_KEYS,)?
            ];
            fn set(
                &mut self,
                key: &str,
                node: &$crate::config::yaml::Node,
                decoder: &mut $crate::config::decode::Decoder,
            ) -> bool {
                match key {
                    $($key => decoder.read(&mut self.$field, node),)*
                    _ => return false $(|| $crate::config::decode::Section::set(
                        &mut self.$shared, key, node, decoder,
                    ))?,
                }
                true
            }
        }

        impl $crate::config::decode::Decode for $name {
            const TYPE: &'static str = $type;
            const LIST_TYPE: &'static str = $list;
            const REFUSES_EMPTY_ITEM: bool = true;
            fn decode(
                &mut self,
                node: &$crate::config::yaml::Node,
                decoder: &mut $crate::config::decode::Decoder,
            ) {
                decoder.read_section(self, node, $type);
            }
        }
    };
}
pub(crate) use section;
