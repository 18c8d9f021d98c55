//! Errors of the operating system in the words that scripts know: `open P: permission denied`.

use std::io;
use std::path::Path;

/// The cause alone, lower case, without error number: `no such file or directory`.
pub fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// Operation, path and cause: `open /x: permission denied`.
pub fn describe(operation: &str, path: &Path, error: &io::Error) -> String {
    format!("{operation} {}: {}", path.display(), cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_dropped_and_first_letter_lowered() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(
            describe("open", Path::new("/x"), &error),
            "open /x: no such file or directory"
        );
    }
}
