//! What object names begin with, from the configured path.

use crate::paths;

/// The cleaned path and a slash; nothing for an empty path.
pub(super) fn cleaned(path: &str) -> String {
    match paths::clean(path).as_str() {
        "." => String::new(),
        "/" => "/".to_owned(),
        clean => format!("{clean}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_path_are_one_prefix() {
        for (path, prefix) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("a", "a/"),
            ("a/", "a/"),
            ("./a//b/../c/", "a/c/"),
            ("/lead/trail/", "/lead/trail/"),
            ("/", "/"),
            ("..", "../"),
        ] {
            assert_eq!(cleaned(path), prefix, "{path:?}");
        }
    }
}
