//! Turns level and transactions into object keys and back; nothing else builds keys.

use litestream_storage::{Key, ObjectMeta};
use ltx::{FileName, Level, Timestamp, TxidRange};

/// How the keys of a replica are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `ltx/<level>/<min>-<max>.ltx` below the store's root: file, SFTP, WebDAV, gs, abs, NATS.
    #[default]
    Plain,
    /// `<level as 4 hex digits>/<min>-<max>.ltx`: S3, OSS.
    Hex,
}

impl Layout {
    /// Key of one file.
    pub(crate) fn key(self, level: Level, range: TxidRange) -> Key {
        let name = FileName { range };
        match self {
            Self::Plain => Key::new(format!("ltx/{}/{name}", level.get())),
            Self::Hex => Key::new(format!("{:04x}/{name}", level.get())),
        }
    }

    /// What all keys of the replica start with.
    pub(crate) fn prefix(self) -> String {
        match self {
            Self::Plain => "ltx/".to_owned(),
            // The digits that all levels share: one listing sees them all.
            Self::Hex => "000".to_owned(),
        }
    }

    /// What all keys of one level start with.
    pub(crate) fn level_prefix(self, level: Level) -> String {
        match self {
            Self::Plain => format!("ltx/{}/", level.get()),
            Self::Hex => format!("{:04x}/", level.get()),
        }
    }

    /// The file a listed object is; `None` for anything that is not ours.
    pub(crate) fn parse(self, meta: &ObjectMeta) -> Option<RemoteFile> {
        let key = meta.key.as_str();
        let (level, name) = match self {
            Self::Plain => key.strip_prefix("ltx/")?.split_once('/')?,
            Self::Hex => key.split_once('/')?,
        };
        let level = match self {
            Self::Plain => level.parse::<u8>(),
            Self::Hex => u8::from_str_radix(level, 16),
        };
        let level = Level::new(level.ok()?)?;
        let prefix = self.level_prefix(level);
        // Only the one spelling that `key` has.
        (key.strip_prefix(&prefix)? == name).then_some(())?;
        Some(RemoteFile {
            level,
            range: FileName::parse(name)?.range,
            size: meta.size,
            created: Timestamp::from_millis(meta.timestamp.unwrap_or(meta.modified)),
        })
    }
}

/// An LTX file in a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its level.
    pub level: Level,
    /// Its transactions, as the name says.
    pub range: TxidRange,
    /// Its size in bytes.
    pub size: u64,
    /// When its newest transaction was captured. From a listing without timestamps, on stores that
    /// do not list them (S3, OSS): when the object was stored, which is later.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ltx::Txid;

    fn meta(key: &str) -> ObjectMeta {
        ObjectMeta {
            key: Key::new(key),
            size: 5,
            modified: 7,
            timestamp: None,
            etag: None,
        }
    }

    #[test]
    fn keys_are_read_back() {
        let range = TxidRange::new(Txid::FIRST, Txid::new(255).unwrap()).unwrap();
        let level = Level::new(3).unwrap();
        for (layout, text) in [
            (Layout::Plain, "ltx/3/0000000000000001-00000000000000ff.ltx"),
            (Layout::Hex, "0003/0000000000000001-00000000000000ff.ltx"),
        ] {
            let key = layout.key(level, range);
            assert_eq!(key.as_str(), text);
            let file = layout.parse(&meta(key.as_str())).unwrap();
            assert_eq!((file.level, file.range, file.size), (level, range, 5));
            assert!(key.as_str().starts_with(&layout.level_prefix(level)));
        }
    }

    #[test]
    fn one_prefix_has_all_levels() {
        let range = TxidRange::new(Txid::FIRST, Txid::FIRST).unwrap();
        for layout in [Layout::Plain, Layout::Hex] {
            for level in Level::ALL {
                let key = layout.key(level, range);
                assert!(key.as_str().starts_with(&layout.prefix()), "{key}");
            }
        }
    }

    #[test]
    fn hex_levels_have_four_digits() {
        for key in [
            "3/0000000000000001-00000000000000ff.ltx",
            "00003/0000000000000001-00000000000000ff.ltx",
            "+003/0000000000000001-00000000000000ff.ltx",
            "000a/0000000000000001-00000000000000ff.ltx",
            "0003//0000000000000001-00000000000000ff.ltx",
            "ltx/3/0000000000000001-00000000000000ff.ltx",
        ] {
            assert_eq!(Layout::Hex.parse(&meta(key)), None, "{key}");
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for key in [
            "ltx/3/0000000000000001-00000000000000FF.ltx",
            "ltx/03/0000000000000001-00000000000000ff.ltx",
            "ltx/10/0000000000000001-00000000000000ff.ltx",
            "ltx/3/x/0000000000000001-00000000000000ff.ltx",
            "ltx/3/0000000000000001-00000000000000ff.ltx.tmp",
            "ltx/0000000000000001-00000000000000ff.ltx",
            "0/0000000000000001-00000000000000ff.ltx",
            "ltx/3/0000000000000002-0000000000000001.ltx",
        ] {
            assert_eq!(Layout::Plain.parse(&meta(key)), None, "{key}");
        }
    }
}
