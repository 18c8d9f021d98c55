//! The real reference binaries, which differential tests run beside ours.
//!
//! This crate never downloads: `scripts/install-reference.sh` fills the cache, and the
//! test command calls it first. When a binary is missing, tests that need it
//! say so on the real standard error, and fail when `LITESTREAM_REQUIRE_REFERENCE=1`.

use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::program::{Format, Program};

/// The reference releases that tests compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The release we are a drop-in of.
    V0_5_17,
    /// The last with LZ4 frames as pages.
    V0_5_15,
    /// The last with generations.
    V0_3_13,
}

/// A real reference binary that was found and says it is the right one.
#[derive(Debug, Clone)]
pub struct Reference {
    version: Version,
    program: Program,
}

impl Version {
    /// As the binary says it: `0.5.17`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_5_17 => "0.5.17",
            Self::V0_5_15 => "0.5.15",
            Self::V0_3_13 => "0.3.13",
        }
    }

    /// The environment variable that names the binary: `LITESTREAM_REFERENCE_0_5_17`.
    pub fn variable(self) -> String {
        format!("LITESTREAM_REFERENCE_{}", self.as_str().replace('.', "_"))
    }

    /// What it writes.
    pub fn format(self) -> Format {
        match self {
            Self::V0_5_17 | Self::V0_5_15 => Format::Ltx,
            Self::V0_3_13 => Format::Generations,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reference {
    /// Finds the binary of `version`: the environment variable, else the cache.
    ///
    /// `None` when it is in neither. A binary that is there but is not what it should be
    /// is an error, never a skip.
    pub fn find(version: Version) -> Result<Option<Self>> {
        let named = std::env::var_os(version.variable()).map(PathBuf::from);
        let cached = cache_folder().join(version.as_str()).join("litestream");
        Self::find_in(version, named.as_deref(), &cached)
    }

    /// [`Reference::find`] for 0.5.17.
    pub fn v0_5_17() -> Result<Option<Self>> {
        Self::find(Version::V0_5_17)
    }

    /// [`Reference::find`] for 0.5.15.
    pub fn v0_5_15() -> Result<Option<Self>> {
        Self::find(Version::V0_5_15)
    }

    /// [`Reference::find`] for 0.3.13.
    pub fn v0_3_13() -> Result<Option<Self>> {
        Self::find(Version::V0_3_13)
    }

    /// Which release this is.
    pub fn release(&self) -> Version {
        self.version
    }

    /// The driver.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn find_in(version: Version, named: Option<&Path>, cached: &Path) -> Result<Option<Self>> {
        let path = match named {
            Some(path) => path,
            None if cached.try_exists()? => cached,
            None => return Ok(None),
        };
        let origin = if named.is_some() {
            version.variable()
        } else {
            "the cache".to_owned()
        };
        let metadata =
            std::fs::metadata(path).with_context(|| format!("{} from {origin}", path.display()))?;
        ensure!(
            metadata.is_file() && metadata.permissions().mode() & 0o111 != 0,
            "{} from {origin} is not an executable file",
            path.display()
        );
        let path = std::path::absolute(path)?;
        let program = match version.format() {
            Format::Ltx => Program::new(path),
            Format::Generations => Program::generations(path),
        };
        let said = program.version()?;
        ensure!(
            said == version.as_str(),
            "{} from {origin} says it is {said:?}, wanted {version}",
            program.path().display()
        );
        Ok(Some(Self { version, program }))
    }
}

impl Deref for Reference {
    type Target = Program;
    fn deref(&self) -> &Program {
        &self.program
    }
}

/// The reference binary, or `None` after a loud word on standard error that the calling
/// test is skipped.
///
/// # Panics
/// When it is missing and `LITESTREAM_REQUIRE_REFERENCE=1`, or when a wrong one is found.
pub fn reference_or_skip(version: Version) -> Option<Reference> {
    match Reference::find(version) {
        Ok(Some(reference)) => Some(reference),
        Ok(None) => {
            let required = std::env::var_os("LITESTREAM_REQUIRE_REFERENCE");
            let required = required.is_some_and(|value| value == "1");
            assert!(!required, "{}", absence(version, "FAILED"));
            // Not `eprintln!`: the test harness hides that of a test that passes.
            let said = std::io::stderr().write_all(absence(version, "SKIPPED").as_bytes());
            said.expect("standard error is open in a test");
            None
        }
        Err(error) => panic!("reference {version}: {error:#}"),
    }
}

fn absence(version: Version, outcome: &str) -> String {
    let line = "=".repeat(72);
    let test = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    format!(
        "\n{line}\nDIFFERENTIAL TEST {outcome}: {test}\n  \
         the real litestream {version} is neither named by {} nor in {}\n  \
         run scripts/install-reference.sh {version}\n{line}\n",
        version.variable(),
        cache_folder().display(),
    )
}

/// `LITESTREAM_TEST_CACHE`, else `.cache/reference` at the root of the workspace.
pub(crate) fn cache_folder() -> PathBuf {
    match std::env::var_os("LITESTREAM_TEST_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => workspace_root().join(".cache/reference"),
    }
}

/// The root of the workspace this crate was built in.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the root of the workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, says: &str) -> PathBuf {
        let path = folder.join("litestream");
        std::fs::write(&path, format!("#!/bin/sh\necho {says}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_missing_binary_is_none_and_a_named_one_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(
            Reference::find_in(Version::V0_5_17, None, &absent)
                .unwrap()
                .is_none()
        );
        let error = Reference::find_in(Version::V0_5_17, Some(&absent), &absent).unwrap_err();
        assert!(
            format!("{error:#}").contains("LITESTREAM_REFERENCE_0_5_17"),
            "{error:#}"
        );
    }

    #[test]
    fn a_binary_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "v0.3.13");
        assert!(
            Reference::find_in(Version::V0_3_13, None, &path)
                .unwrap()
                .is_some()
        );
        let error = Reference::find_in(Version::V0_5_17, Some(&path), &path).unwrap_err();
        assert!(
            error.to_string().contains("says it is \"0.3.13\""),
            "{error}"
        );
    }

    #[test]
    fn the_banner_tells_what_to_do() {
        let text = absence(Version::V0_5_15, "SKIPPED");
        assert!(text.contains("LITESTREAM_REFERENCE_0_5_15"));
        assert!(text.contains("scripts/install-reference.sh 0.5.15"));
    }
}
