//! The requests of one connection: asks the rule first, then the files.

use std::collections::HashMap;
use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use russh::Disconnect;
use russh_sftp::extensions::{self, FsyncExtension, HardlinkExtension, StatvfsExtension};
use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File as Entry, FileAttributes, Handle, Name, OpenFlags, Packet,
    Status, StatusCode, Version,
};
use russh_sftp::{de, ser};

use super::misdeed::{Asked, Misdeed, Verb};
use super::tree::{Done, File, Node};
use super::{Shared, now};

/// Names in one answer.
const PAGE: usize = 100;

/// See the module.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: usize,
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) ssh: russh::server::Handle,
    pub(crate) open: HashMap<String, Opened>,
    pub(crate) opened: usize,
}

/// What a handle stands for.
pub(crate) struct Opened {
    path: String,
    what: What,
}

enum What {
    File { file: Arc<File>, writes: bool },
    Folder { left: Vec<Entry> },
}

impl Session {
    /// Lets the rule decide, and does `effect` unless it says otherwise.
    async fn act<T: Send>(
        &mut self,
        asked: Asked,
        effect: impl FnOnce(&mut Self, Option<usize>) -> Done<T> + Send,
    ) -> Done<T> {
        let misdeed = self.shared.judge(asked.clone());
        match misdeed {
            None => return effect(self, None),
            Some(Misdeed::Instead(status)) => return Err(status),
            Some(Misdeed::After(status)) => {
                drop(effect(self, None));
                return Err(status);
            }
            Some(Misdeed::Short(len)) => {
                let done = effect(self, Some(len));
                if asked.verb != Verb::Write {
                    return done;
                }
            }
            Some(
                Misdeed::Hangup { after_effect }
                | Misdeed::Leave { after_effect }
                | Misdeed::Silence { after_effect },
            ) => {
                if after_effect {
                    drop(effect(self, None));
                }
            }
        }
        match misdeed {
            Some(Misdeed::Silence { .. }) => self.shared.silent.send_modify(|times| *times += 1),
            Some(Misdeed::Leave { .. }) => {
                // Behind the answers that are on their way.
                let (why, how) = (Disconnect::ByApplication, String::new);
                drop(self.ssh.disconnect(why, how(), how()).await);
            }
            // It fails when the client was faster.
            _ => drop(self.socket.shutdown(Shutdown::Both)),
        }
        pending().await
    }

    fn asked(&self, verb: Verb, path: &str) -> Asked {
        Asked {
            verb,
            path: path.to_owned(),
            onto: String::new(),
            offset: 0,
            len: 0,
            connection: self.connection,
        }
    }

    fn asked_of(&self, verb: Verb, handle: &str) -> Asked {
        let opened = self.open.get(handle);
        self.asked(verb, opened.map_or("", |opened| &opened.path))
    }

    fn insert(&mut self, id: u32, path: String, what: What) -> Handle {
        let handle = self.opened.to_string();
        self.opened += 1;
        self.open.insert(handle.clone(), Opened { path, what });
        Handle { id, handle }
    }

    fn file(&self, handle: &str, to_write: bool) -> Done<Arc<File>> {
        match self.open.get(handle).map(|opened| &opened.what) {
            Some(What::File { file, writes }) if *writes == to_write => Ok(Arc::clone(file)),
            _ => Err(StatusCode::Failure),
        }
    }

    fn statvfs(&self) -> extensions::Statvfs {
        let free = if self.shared.is_full() { 0 } else { 1000 };
        extensions::Statvfs {
            block_size: 4096,
            fragment_size: 4096,
            blocks: 1000,
            blocks_free: free,
            blocks_avail: free,
            inodes: 1000,
            inodes_free: 1000,
            inodes_avail: 1000,
            fs_id: 1,
            flags: 0,
            name_max: 255,
        }
    }

    async fn two_paths(&mut self, id: u32, verb: Verb, paths: HardlinkExtension) -> Done<Status> {
        let mut asked = self.asked(verb, &paths.oldpath);
        asked.onto.clone_from(&paths.newpath);
        self.act(asked, |session, _| {
            let mut tree = session.shared.tree();
            match verb {
                Verb::PosixRename => tree.replace(&paths.oldpath, &paths.newpath),
                Verb::Hardlink => tree.link(&paths.oldpath, &paths.newpath),
                _ => tree.rename(&paths.oldpath, &paths.newpath),
            }
        })
        .await?;
        ok(id)
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the answer of requests that have no other"
)]
fn ok(id: u32) -> Done<Status> {
    Ok(Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "Success".to_owned(),
        language_tag: String::new(),
    })
}

impl russh_sftp::server::Handler for Session {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Done<Version> {
        let offers = self.shared.offers;
        let known = [
            ("posix-rename@openssh.com", "1", offers.posix_rename),
            (extensions::HARDLINK, "1", offers.hardlink),
            (extensions::FSYNC, "1", offers.fsync),
            (extensions::STATVFS, "2", offers.statvfs),
        ];
        let offered = known.into_iter().filter(|(_, _, offered)| *offered);
        let extensions = offered.map(|(name, version, _)| (name.to_owned(), version.to_owned()));
        Ok(Version {
            extensions: extensions.collect(),
            ..Version::new()
        })
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        _: FileAttributes,
    ) -> Done<Handle> {
        let creates = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUDE);
        let verb = if creates { Verb::Create } else { Verb::Open };
        self.act(self.asked(verb, &path), |session, _| {
            let what = if creates {
                let file = session.shared.tree().create(&path, now())?;
                let writes = true;
                What::File { file, writes }
            } else {
                let found = session.shared.tree().find(&path)?;
                match found {
                    // What nobody does needs no answer.
                    _ if flags.contains(OpenFlags::WRITE) => return Err(StatusCode::OpUnsupported),
                    Node::File(file) => What::File {
                        file,
                        writes: false,
                    },
                    Node::Folder => What::Folder { left: Vec::new() },
                }
            };
            Ok(session.insert(id, path, what))
        })
        .await
    }

    async fn close(&mut self, id: u32, handle: String) -> Done<Status> {
        let asked = self.asked_of(Verb::Close, &handle);
        self.act(asked, |session, _| {
            let closed = session.open.remove(&handle);
            closed.map(drop).ok_or(StatusCode::Failure)
        })
        .await?;
        ok(id)
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Done<Data> {
        let len = len as usize;
        let asked = Asked {
            offset,
            len,
            ..self.asked_of(Verb::Read, &handle)
        };
        self.act(asked, |session, most| {
            let file = session.file(&handle, false)?;
            let data = file.read(offset, most.unwrap_or(len).min(len))?;
            Ok(Data { id, data })
        })
        .await
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Done<Status> {
        let asked = Asked {
            offset,
            len: data.len(),
            ..self.asked_of(Verb::Write, &handle)
        };
        self.act(asked, |session, most| {
            if session.shared.is_full() {
                return Err(StatusCode::Failure);
            }
            let len = most.unwrap_or(data.len()).min(data.len());
            session.file(&handle, true)?.write(offset, &data[..len]);
            Ok(())
        })
        .await?;
        ok(id)
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Done<Attrs> {
        let asked = self.asked_of(Verb::Fstat, &handle);
        let attrs = self.act(asked, |session, _| {
            match session.open.get(&handle).map(|opened| &opened.what) {
                Some(What::File { file, .. }) => Ok(file.attributes()),
                Some(What::Folder { .. }) => Ok(Node::Folder.attributes()),
                None => Err(StatusCode::Failure),
            }
        });
        let attrs = attrs.await?;
        Ok(Attrs { id, attrs })
    }

    async fn stat(&mut self, id: u32, path: String) -> Done<Attrs> {
        let asked = self.asked(Verb::Stat, &path);
        let found = self.act(asked, |session, _| session.shared.tree().find(&path));
        let attrs = found.await?.attributes();
        Ok(Attrs { id, attrs })
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Done<Status> {
        let asked = self.asked_of(Verb::SetTime, &handle);
        self.act(asked, |session, _| {
            let seconds = attrs.mtime.ok_or(StatusCode::OpUnsupported)?;
            session.file(&handle, true)?.set_time(seconds);
            Ok(())
        })
        .await?;
        ok(id)
    }

    async fn opendir(&mut self, id: u32, path: String) -> Done<Handle> {
        self.act(self.asked(Verb::OpenDir, &path), |session, _| {
            let names = session.shared.tree().names(&path)?.into_iter();
            let left = names.map(|(name, node)| Entry::new(name, node.attributes()));
            let left = left.collect();
            Ok(session.insert(id, path, What::Folder { left }))
        })
        .await
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Done<Name> {
        let asked = self.asked_of(Verb::ReadDir, &handle);
        self.act(asked, |session, _| {
            let opened = session.open.get_mut(&handle);
            match opened.map(|opened| &mut opened.what) {
                Some(What::Folder { left }) if left.is_empty() => Err(StatusCode::Eof),
                Some(What::Folder { left }) => {
                    let page = left.split_off(left.len().saturating_sub(PAGE));
                    Ok(Name { id, files: page })
                }
                _ => Err(StatusCode::Failure),
            }
        })
        .await
    }

    async fn remove(&mut self, id: u32, path: String) -> Done<Status> {
        let asked = self.asked(Verb::Remove, &path);
        self.act(asked, |session, _| session.shared.tree().remove(&path))
            .await?;
        ok(id)
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Done<Status> {
        let asked = self.asked(Verb::MkDir, &path);
        self.act(asked, |session, _| session.shared.tree().make_folder(&path))
            .await?;
        ok(id)
    }

    async fn rename(&mut self, id: u32, from: String, onto: String) -> Done<Status> {
        let paths = HardlinkExtension {
            oldpath: from,
            newpath: onto,
        };
        self.two_paths(id, Verb::Rename, paths).await
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Done<Packet> {
        let offers = self.shared.offers;
        let mut data = data.into();
        let said = |_| StatusCode::BadMessage;
        match request.as_str() {
            "posix-rename@openssh.com" if offers.posix_rename => {
                let paths = de::from_bytes(&mut data).map_err(said)?;
                let done = self.two_paths(id, Verb::PosixRename, paths).await?;
                Ok(done.into())
            }
            extensions::HARDLINK if offers.hardlink => {
                let paths = de::from_bytes(&mut data).map_err(said)?;
                let done = self.two_paths(id, Verb::Hardlink, paths).await?;
                Ok(done.into())
            }
            extensions::FSYNC if offers.fsync => {
                let asked: FsyncExtension = de::from_bytes(&mut data).map_err(said)?;
                let handle = asked.handle;
                let asked = self.asked_of(Verb::Fsync, &handle);
                self.act(asked, |session, _| {
                    let opened = session.open.get(&handle);
                    opened.map(drop).ok_or(StatusCode::Failure)
                })
                .await?;
                Ok(ok(id)?.into())
            }
            extensions::STATVFS if offers.statvfs => {
                let asked: StatvfsExtension = de::from_bytes(&mut data).map_err(said)?;
                let path = asked.path;
                let asked = self.asked(Verb::Statvfs, &path);
                let found = self.act(asked, |session, _| {
                    let there = session.shared.tree().find(&path);
                    there.map(|_| session.statvfs())
                });
                let found = ser::to_bytes(&found.await?).map_err(|_| StatusCode::Failure)?;
                let data = found.to_vec();
                Ok(Packet::ExtendedReply(ExtendedReply { id, data }))
            }
            _ => Err(StatusCode::OpUnsupported),
        }
    }
}
