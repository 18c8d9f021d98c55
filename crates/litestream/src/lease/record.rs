//! The JSON of `lock.json`, as the reference writes and reads it.
//!
//! | Member | Is |
//! |---|---|
//! | `generation` | integer, one more with each take-over |
//! | `expires_at` | RFC 3339 with up to nine digits of the second, any offset |
//! | `owner` | text; left out when empty |
//!
//! Members that are not known are ignored.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use ltx::Timestamp;
use serde::{Deserialize, Serialize};

/// One lease, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) generation: i64,
    pub(super) expires: jiff::Timestamp,
    pub(super) owner: String,
}

#[derive(Serialize, Deserialize)]
struct Json {
    generation: i64,
    expires_at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
}

impl Record {
    /// A record that ends `ttl` after `now_ms`. The part of the time below a millisecond is random,
    /// so that no two records that are ever written are equal: a lost answer is found again by it.
    pub(super) fn new(generation: i64, now_ms: i64, ttl: Duration, owner: &str) -> Self {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let end = i128::from(now_ms.saturating_add(ttl)) * 1_000_000;
        let nanoseconds = end + i128::from(random() % 1_000_000);
        Self {
            generation,
            expires: jiff::Timestamp::from_nanosecond(nanoseconds)
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            owner: owner.to_owned(),
        }
    }

    /// The same lease, ended long ago: anybody may take it.
    pub(super) fn ended(&self) -> Self {
        Self {
            expires: jiff::Timestamp::UNIX_EPOCH,
            ..self.clone()
        }
    }

    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.expires.as_millisecond())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let json = Json {
            generation: self.generation,
            expires_at: self.expires.to_string(),
            owner: self.owner.clone(),
        };
        serde_json::to_vec(&json).expect("numbers and texts are JSON")
    }

    /// Reads what is stored; the error says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let expires = json
            .expires_at
            .parse()
            .map_err(|error| format!("expires_at {:?}: {error}", json.expires_at))?;
        Ok(Self {
            generation: json.generation,
            expires,
            owner: json.owner,
        })
    }
}

/// RFC 3339 to the second, for messages.
pub(super) fn seconds(time: Timestamp) -> String {
    let seconds = time.as_millis().div_euclid(1000);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// From the randomness of the process: tells records apart, no secret.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference writes: offset of its machine, nanoseconds without trailing zeros.
    const GOLDEN: &str = r#"{"generation":7,"expires_at":"2026-03-01T12:30:45.123456789+02:00","owner":"web-1:4711"}"#;

    #[test]
    fn the_form_is_the_references() {
        let record = Record::decode(GOLDEN.as_bytes()).unwrap();
        assert_eq!((record.generation, &*record.owner), (7, "web-1:4711"));
        assert_eq!(record.until().as_millis(), 1_772_361_045_123);
        let ours = r#"{"generation":7,"expires_at":"2026-03-01T10:30:45.123456789Z","owner":"web-1:4711"}"#;
        assert_eq!(String::from_utf8(record.encode()).unwrap(), ours);
        assert_eq!(Record::decode(ours.as_bytes()).unwrap(), record);
        assert_eq!(seconds(record.until()), "2026-03-01T10:30:45Z");
    }

    #[test]
    fn an_empty_owner_is_left_out() {
        let text = r#"{"generation":1,"expires_at":"1970-01-01T00:00:00Z"}"#;
        let record = Record::decode(text.as_bytes()).unwrap();
        assert_eq!(record.owner, "");
        assert_eq!(String::from_utf8(record.encode()).unwrap(), text);
        assert_eq!(record.ended(), record);
    }

    #[test]
    fn what_is_no_lease_is_said() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"generation":"1","expires_at":"1970-01-01T00:00:00Z"}"#,
            r#"{"generation":1,"expires_at":"tomorrow"}"#,
            r#"{"generation":1,"expires_at":"1970-01-01T00:00:00"}"#,
        ] {
            assert!(
                !Record::decode(text.as_bytes()).unwrap_err().is_empty(),
                "{text}"
            );
        }
        let more = r#"{"generation":1,"more":{},"expires_at":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(Record::decode(more.as_bytes()).unwrap().generation, 1);
    }

    #[test]
    fn no_two_records_are_equal() {
        let record = || Record::new(1, 1_000, Duration::from_secs(30), "a");
        let (first, second) = (record(), record());
        assert_eq!(first.until().as_millis(), 31_000);
        assert_ne!(first, second);
    }
}
