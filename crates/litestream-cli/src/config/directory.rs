//! The databases of a folder: where each one's replica and local state are.

use std::path::PathBuf;

use super::build::{self, BuildError};
use super::raw::RawReplica;
use super::target::{Replica, Target};
use super::{DatabaseConfig, Directory};
use crate::env::Env;
use crate::paths;
use crate::url::escape_path;

impl DatabaseConfig {
    /// The replicas of one database of the folder; `relative` is its path below the folder, with
    /// slashes. Everything but the path is shared; an empty `relative` gives the shared part.
    pub fn replicas_below(&self, env: &Env, relative: &str) -> Result<Vec<Replica>, BuildError> {
        self.replica_settings()?
            .iter()
            .map(|raw| below(env, raw, relative))
            .collect()
    }
}

impl Directory {
    /// The folder of local state of one database of the folder.
    ///
    /// `meta_path` is the base that the key `meta-path` names, if any.
    pub fn meta_path(&self, meta_path: Option<&PathBuf>, relative: &str) -> PathBuf {
        if let Some(base) = &self.meta_dir {
            return base.join(format!("{relative}-litestream"));
        }
        paths::default_meta_path(&meta_path.unwrap_or(&self.path).join(relative))
    }
}

fn below(env: &Env, raw: &RawReplica, relative: &str) -> Result<Replica, BuildError> {
    let has = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let mut raw = raw.clone();
    if !has(&raw.path) && !has(&raw.url) {
        raw.path = Some(".".into());
    }
    let is_url = has(&raw.url);
    let mut replica = build::build(env, &raw)?;
    let path = match &mut replica.target {
        Target::File(target) => {
            // The folder names of file URLs are percent-encoded.
            let relative = if is_url {
                escape_path(relative)
            } else {
                relative.to_owned()
            };
            if !relative.is_empty() {
                target.path = target.path.join(relative);
            }
            return Ok(replica);
        }
        Target::Nats(_) => return Err(BuildError::NatsDirectory),
        Target::S3(target) => &mut target.path,
        Target::Gs(target) => &mut target.path,
        Target::Abs(target) => &mut target.path,
        Target::Sftp(target) => &mut target.path,
        Target::Webdav(target) => &mut target.path,
        Target::Oss(target) => &mut target.path,
    };
    let is_relative = !path.starts_with('/');
    let joined = paths::clean(&format!("{path}/{relative}"));
    *path = if is_relative {
        joined.trim_start_matches('/').to_owned()
    } else {
        joined
    };
    Ok(replica)
}
