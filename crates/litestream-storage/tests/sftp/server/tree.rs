//! The files of the stand-in, in memory, and what may be done to them.
//!
//! Invariant: whatever has a name has a folder above it. Errors are those that OpenSSH makes of
//! the system's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh_sftp::protocol::{FileAttributes, StatusCode};

pub(crate) type Done<T> = Result<T, StatusCode>;

/// Where relative paths begin.
const HOME: &str = "/home";

const FOLDER_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_644;

/// A file, with or without names.
#[derive(Debug, Default)]
pub(crate) struct File(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    seconds: u32,
}

impl File {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Done<Vec<u8>> {
        let content = self.content();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(len).min(content.bytes.len());
        match content.bytes.get(start..end) {
            Some(bytes) if !bytes.is_empty() => Ok(bytes.to_vec()),
            _ => Err(StatusCode::Eof),
        }
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let content = &mut self.content().bytes;
        let start = offset as usize;
        let end = start + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
    }

    pub(crate) fn set_time(&self, seconds: u32) {
        self.content().seconds = seconds;
    }

    pub(crate) fn attributes(&self) -> FileAttributes {
        let content = self.content();
        attributes(FILE_MODE, content.bytes.len() as u64, content.seconds)
    }
}

/// Something that has a name.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Folder,
    File(Arc<File>),
}

impl Node {
    pub(crate) fn attributes(&self) -> FileAttributes {
        match self {
            Self::Folder => attributes(FOLDER_MODE, 4096, 1_763_785_727),
            Self::File(file) => file.attributes(),
        }
    }
}

fn attributes(mode: u32, size: u64, seconds: u32) -> FileAttributes {
    FileAttributes {
        size: Some(size),
        uid: Some(1000),
        gid: Some(1000),
        permissions: Some(mode),
        atime: Some(seconds),
        mtime: Some(seconds),
        ..FileAttributes::empty()
    }
}

/// All names, as whole paths without a `/` at the end; that of the top is empty.
#[derive(Debug)]
pub(crate) struct Tree(BTreeMap<String, Node>);

impl Tree {
    pub(crate) fn new() -> Self {
        let folders = ["", HOME].map(|path| (path.to_owned(), Node::Folder));
        Self(BTreeMap::from(folders))
    }

    /// What is at `path`.
    pub(crate) fn find(&self, path: &str) -> Done<Node> {
        let path = self.resolve(path)?;
        self.0.get(&path).cloned().ok_or(StatusCode::NoSuchFile)
    }

    /// Makes a file where nothing is.
    pub(crate) fn create(&mut self, path: &str, seconds: u32) -> Done<Arc<File>> {
        let path = self.vacant(path)?;
        let file = Arc::new(File::default());
        file.set_time(seconds);
        self.0.insert(path, Node::File(Arc::clone(&file)));
        Ok(file)
    }

    pub(crate) fn make_folder(&mut self, path: &str) -> Done<()> {
        let path = self.vacant(path)?;
        self.0.insert(path, Node::Folder);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &str) -> Done<()> {
        self.file(path)?;
        let path = self.resolve(path)?;
        self.0.remove(&path);
        Ok(())
    }

    /// Renames a file onto nothing.
    pub(crate) fn rename(&mut self, from: &str, onto: &str) -> Done<()> {
        self.link(from, onto)?;
        self.remove(from)
    }

    /// Renames a file onto nothing or another file.
    pub(crate) fn replace(&mut self, from: &str, onto: &str) -> Done<()> {
        let file = self.file(from)?;
        let onto = self.resolve(onto)?;
        if matches!(self.0.get(&onto), Some(Node::Folder)) {
            return Err(StatusCode::Failure);
        }
        self.remove(from)?;
        self.0.insert(onto, Node::File(file));
        Ok(())
    }

    /// Gives a file another name.
    pub(crate) fn link(&mut self, from: &str, onto: &str) -> Done<()> {
        let file = self.file(from)?;
        let onto = self.vacant(onto)?;
        self.0.insert(onto, Node::File(file));
        Ok(())
    }

    /// The names in a folder, in no useful order.
    pub(crate) fn names(&self, path: &str) -> Done<Vec<(String, Node)>> {
        let path = self.resolve(path)?;
        match self.0.get(&path) {
            Some(Node::Folder) => {}
            Some(Node::File(_)) | None => return Err(StatusCode::NoSuchFile),
        }
        let start = format!("{path}/");
        let below = self.0.range(start.clone()..);
        let below = below.take_while(|(name, _)| name.starts_with(&start));
        let below = below.map(|(name, node)| (name[start.len()..].to_owned(), node.clone()));
        let mut names: Vec<_> = below.filter(|(name, _)| !name.contains('/')).collect();
        names.extend([".", ".."].map(|name| (name.to_owned(), Node::Folder)));
        names.reverse();
        Ok(names)
    }

    /// The paths of all files, relative to where relative paths begin.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = self.0.iter().filter_map(|(path, node)| match node {
            Node::File(_) => path.strip_prefix(HOME)?.strip_prefix('/'),
            Node::Folder => None,
        });
        files.map(str::to_owned).collect()
    }

    fn file(&self, path: &str) -> Done<Arc<File>> {
        match self.find(path)? {
            Node::File(file) => Ok(file),
            Node::Folder => Err(StatusCode::Failure),
        }
    }

    fn vacant(&self, path: &str) -> Done<String> {
        let path = self.resolve(path)?;
        if self.0.contains_key(&path) {
            return Err(StatusCode::Failure);
        }
        Ok(path)
    }

    /// The whole path, below folders that are there.
    fn resolve(&self, path: &str) -> Done<String> {
        let from_top = if path.starts_with('/') { "" } else { HOME };
        let mut whole = String::new();
        for name in format!("{from_top}/{path}").split('/') {
            match name {
                "" | "." => {}
                ".." => whole.truncate(whole.rfind('/').unwrap_or(0)),
                name if name.len() > 255 || name.contains('\0') => {
                    return Err(StatusCode::BadMessage);
                }
                name => {
                    if !matches!(self.0.get(&whole), Some(Node::Folder)) {
                        return Err(StatusCode::NoSuchFile);
                    }
                    whole = format!("{whole}/{name}");
                }
            }
        }
        Ok(whole)
    }
}
