//! When a 0.3 daemon has replicated everything, so that it can be stopped.
//!
//! 0.3 has no `-once`, and a signal that comes while it uploads makes its last sync run
//! beside the interrupted one: it then ends with an error or a panic. So the driver has to know
//! that nothing is being uploaded. What has been is only said in the log, as position and
//! length of each WAL segment; what is to be is the length of the newest shadow WAL
//! file beside the database.

use std::path::Path;

use anyhow::{Context, Result};

/// A place in the WAL of a generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    index: u64,
    offset: u64,
}

/// Whether the log of a daemon tells that the last byte of the shadow WAL of `db` is in
/// the replica. Holds for good when nobody writes to `db`.
pub(super) fn is_caught_up(log: &str, db: &Path) -> Result<bool> {
    let Some((generation, uploaded)) = log.lines().rev().find_map(uploaded) else {
        return Ok(false);
    };
    let name = db
        .file_name()
        .context("a database has a name")?
        .to_string_lossy();
    let folder = db.with_file_name(format!(".{name}-litestream"));
    let shadow = folder.join("generations").join(generation).join("wal");
    Ok(end_of_shadow(&shadow)? == Some(uploaded))
}

/// Generation and end of the segment that a line of the log says is written.
fn uploaded(line: &str) -> Option<(&str, Position)> {
    let (_, line) = line.split_once("wal segment written ")?;
    let value = |name: &str| {
        let mut words = line.split(' ');
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let (generation, place) = value("position")?.split_once('/')?;
    let (index, offset) = place.split_once(':')?;
    let (offset, length): (u64, u64) = (offset.parse().ok()?, value("sz")?.parse().ok()?);
    let index = u64::from_str_radix(index, 16).ok()?;
    Some((
        generation,
        Position {
            index,
            offset: offset + length,
        },
    ))
}

/// The end of the newest file `INDEX.wal` (8 hexadecimal digits) in `folder`.
fn end_of_shadow(folder: &Path) -> Result<Option<Position>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let index = name
            .strip_suffix(".wal")
            .map(|digits| u64::from_str_radix(digits, 16));
        if let Some(Ok(index)) = index {
            let end = Position {
                index,
                offset: entry.metadata()?.len(),
            };
            newest = newest.max(Some(end));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026/01/01 00:00:00 INFO wal segment written db=/a/db replica=file \
                        position=a8f1128f004df891/0000000b:4152 elapsed=3.07ms sz=20600";

    #[test]
    fn a_log_line_tells_the_end_of_its_segment() {
        let end = Position {
            index: 11,
            offset: 24752,
        };
        assert_eq!(uploaded(LINE), Some(("a8f1128f004df891", end)));
        assert_eq!(uploaded(&LINE.replace("segment written", "segment")), None);
    }

    #[test]
    fn caught_up_is_when_the_newest_shadow_file_ends_there() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        let shadow = folder
            .path()
            .join(".db-litestream/generations/a8f1128f004df891/wal");
        std::fs::create_dir_all(&shadow).unwrap();
        std::fs::write(shadow.join("0000000a.wal"), vec![0; 90_000]).unwrap();
        assert!(!is_caught_up("", &db).unwrap());
        assert!(!is_caught_up(LINE, &db).unwrap());
        std::fs::write(shadow.join("0000000b.wal"), vec![0; 24752]).unwrap();
        assert!(is_caught_up(LINE, &db).unwrap());
        std::fs::write(shadow.join("0000000b.wal"), vec![0; 24753]).unwrap();
        assert!(!is_caught_up(LINE, &db).unwrap());
    }
}
