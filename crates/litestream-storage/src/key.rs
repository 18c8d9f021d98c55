//! The name of an object.
//!
//! Invariant: the text is kept exactly as given. Nothing here collapses `//`, resolves `.` or
//! strips a leading `/`, because existing replicas do have such keys and a store that does not
//! normalise them holds two different objects under `a//b` and `a/b`.

use std::fmt;
use std::sync::Arc;

/// Relative name of an object: text separated by `/`, kept byte for byte.
///
/// Keys order by their bytes, which is the order [`list`](crate::ObjectStore::list) answers in.
/// Cloning is cheap. A backend that cannot hold a key (the file backend refuses `..`, for
/// example) answers [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::from(text.into()))
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`, or the whole key when it has none.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn text_is_never_normalised() {
        for text in [
            "",
            "/",
            "./a",
            "a//b",
            "a/../b",
            "/lead/trail/",
            "sp ace/\u{e9}%2F+",
        ] {
            assert_eq!(Key::new(text).as_str(), text);
        }
    }

    #[test]
    fn name_is_what_follows_the_last_slash() {
        assert_eq!(Key::new("ltx/0/a.ltx").name(), "a.ltx");
        assert_eq!(Key::new("a.ltx").name(), "a.ltx");
        assert_eq!(Key::new("dir/").name(), "");
    }

    #[test]
    fn order_is_by_bytes() {
        let mut keys = ["a/b", "a.b", "a", "B", "a0"].map(Key::from);
        keys.sort();
        assert_eq!(
            keys.map(|key| key.to_string()),
            ["B", "a", "a.b", "a/b", "a0"]
        );
    }
}
