//! From words to flag values and positional arguments.

use super::numbers::{parse_bool, parse_int};
use super::{Flag, FlagError, Kind};
use crate::duration::Span;

/// What the words of a command line amount to.
#[derive(Debug)]
pub enum Outcome {
    /// Flags and positional arguments.
    Parsed(Parsed),
    /// Help was asked for.
    Help,
}

/// The flags that were given, and the positional arguments.
#[derive(Debug, Default)]
pub struct Parsed {
    given: Vec<(&'static str, Value)>,
    /// The words after the flags.
    pub args: Vec<String>,
}

#[derive(Debug, Clone)]
enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Duration(Span),
}

/// Parses `words` by the table of a command.
pub fn parse(table: &[Flag], words: &[String]) -> Result<Outcome, FlagError> {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.len() < 2 || !word.starts_with('-') {
            parsed.args.push(word.clone());
            break;
        }
        if word == "--" {
            break;
        }
        let body = word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix('-'))
            .unwrap_or(word);
        if body.starts_with('-') || body.starts_with('=') {
            return Err(FlagError::Syntax(word.clone()));
        }
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(flag) = table.iter().find(|flag| flag.name == name) else {
            if name == "h" || name == "help" {
                return Ok(Outcome::Help);
            }
            return Err(FlagError::Undefined(name.to_owned()));
        };
        let value = match (flag.kind, inline) {
            (Kind::Bool, None) => Value::Bool(true),
            (_, Some(text)) => convert(flag, text)?,
            (_, None) => {
                let text = words
                    .next()
                    .ok_or_else(|| FlagError::NeedsArgument(name.to_owned()))?;
                convert(flag, text)?
            }
        };
        parsed.given.push((flag.name, value));
    }
    parsed.args.extend(words.cloned());
    Ok(Outcome::Parsed(parsed))
}

fn convert(flag: &Flag, text: &str) -> Result<Value, FlagError> {
    let refused = |cause| FlagError::InvalidValue {
        name: flag.name.to_owned(),
        value: text.to_owned(),
        cause,
    };
    match flag.kind {
        Kind::Bool => parse_bool(text)
            .map(Value::Bool)
            .ok_or_else(|| FlagError::InvalidBool {
                name: flag.name.to_owned(),
                value: text.to_owned(),
                cause: "parse error",
            }),
        Kind::Text(_) => Ok(Value::Text(text.to_owned())),
        Kind::Int(_) => parse_int(text)
            .map(Value::Int)
            .ok_or_else(|| refused("parse error")),
        Kind::Duration(_) => Span::parse(text)
            .map(Value::Duration)
            .map_err(|_| refused("parse error")),
        Kind::Checked(check, _) => {
            check(text).map_err(refused)?;
            Ok(Value::Text(text.to_owned()))
        }
    }
}

impl Parsed {
    /// True when the flag occurs on the command line.
    pub fn is_given(&self, flag: &Flag) -> bool {
        self.last(flag).is_some()
    }

    /// The value of a [`Kind::Bool`] flag.
    pub fn bool(&self, flag: &Flag) -> bool {
        matches!(self.last(flag), Some(Value::Bool(true)))
    }

    /// The value of a [`Kind::Text`] or [`Kind::Checked`] flag.
    pub fn text(&self, flag: &Flag) -> &str {
        match (self.last(flag), flag.kind) {
            (Some(Value::Text(text)), _) => text,
            (_, Kind::Text(default) | Kind::Checked(_, default)) => default,
            _ => "",
        }
    }

    /// The value of a [`Kind::Int`] flag.
    pub fn int(&self, flag: &Flag) -> i64 {
        match (self.last(flag), flag.kind) {
            (Some(Value::Int(value)), _) => *value,
            (_, Kind::Int(default)) => default,
            _ => 0,
        }
    }

    /// The value of a [`Kind::Duration`] flag.
    pub fn duration(&self, flag: &Flag) -> Span {
        match (self.last(flag), flag.kind) {
            (Some(Value::Duration(value)), _) => *value,
            (_, Kind::Duration(default)) => Span::from_nanos(default),
            _ => Span::ZERO,
        }
    }

    fn last(&self, flag: &Flag) -> Option<&Value> {
        self.given
            .iter()
            .rev()
            .find(|(name, _)| *name == flag.name)
            .map(|(_, value)| value)
    }
}
