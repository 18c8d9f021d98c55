//! Percent-encoding of what goes into a request target.
//!
//! Invariant: decoding gives back the text byte for byte. No segment is removed, no slash
//! collapsed, and `.` and `..` stay, since existing keys have them.

/// Encodes everything but letters, digits and `-._~/`: a key in a path.
pub fn encode_path(text: &str) -> String {
    encode(text, b"-._~/")
}

/// Encodes everything but letters, digits and `-._~`: one segment, or a part of a query.
pub fn encode_component(text: &str) -> String {
    encode(text, b"-._~")
}

fn encode(text: &str, plain: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// Undoes percent-encoding. What is no encoding stays as it is.
#[cfg(any(feature = "abs", feature = "oss"))]
pub(crate) fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            decoded.push((high * 16 + low) as u8);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_are() {
        for key in ["./0000/a-b.ltx", "/0000/a", "a//b/../c", "~x_y"] {
            assert_eq!(encode_path(key), key);
        }
    }

    #[cfg(any(feature = "abs", feature = "oss"))]
    #[test]
    fn encoding_is_undone() {
        for text in ["a b+c%2F?#/\u{e9}", "", "%", "100%"] {
            assert_eq!(decode(&encode_path(text)), text);
        }
        assert_eq!(decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn other_bytes_are_encoded() {
        assert_eq!(
            encode_path("a b+c%2F?#/\u{e9}"),
            "a%20b%2Bc%252F%3F%23/%C3%A9"
        );
        assert_eq!(encode_component("a/b&c=d"), "a%2Fb%26c%3Dd");
    }
}
