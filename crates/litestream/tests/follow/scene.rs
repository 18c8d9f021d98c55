//! A database, its replica in memory, and a copy that follows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use litestream::{
    AllSteps, Clock, Error, FileSteps, Follow, FollowOptions, FollowStatus, FollowStep, Layout,
    Source,
};
use litestream_storage::{Body, Key, ObjectStore, Operation, PutOptions};
use ltx::{Decoder, Txid};
use rusqlite::{Connection, OpenFlags};
use testkit::hash;

use super::bed::{Bed, Engine, commit};

/// See the module.
pub(crate) struct Scene {
    pub(crate) bed: Bed,
    pub(crate) application: Connection,
    pub(crate) engine: Engine,
    pub(crate) copy: PathBuf,
}

pub(crate) fn txid(number: u64) -> Txid {
    Txid::new(number).unwrap()
}

impl Scene {
    /// A few transactions are in the replica.
    pub(crate) async fn new() -> Self {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        let copy = bed.directory.path().join("copy.db");
        let scene = Self {
            bed,
            application,
            engine,
            copy,
        };
        scene.commit(2).await;
        scene
    }

    /// Commits, each transaction a file of its own in the replica; answers the newest.
    pub(crate) async fn commit(&self, count: u32) -> Txid {
        for _ in 0..count {
            commit(&self.application, 1);
            self.sync().await;
        }
        self.sync().await
    }

    /// One transaction of the application.
    pub(crate) async fn execute(&self, sql: &str) -> Txid {
        self.application.execute_batch(sql).unwrap();
        self.sync().await
    }

    pub(crate) async fn sync(&self) -> Txid {
        self.bed.sync(&self.engine).await
    }

    pub(crate) fn options(&self, steps: Arc<dyn FileSteps>) -> FollowOptions {
        let mut options = FollowOptions::new(&self.copy);
        options.restore.steps = steps;
        options.clock = Arc::clone(&self.bed.clock) as Arc<dyn Clock>;
        options.reader_wait = Duration::from_millis(20);
        options
    }

    pub(crate) fn follower(&self, options: FollowOptions) -> Follow {
        let store = Arc::clone(&self.bed.remote) as Arc<dyn ObjectStore>;
        Follow::new(Source::new(store, Layout::Plain), options)
    }

    /// A follower that has made or resumed its copy.
    pub(crate) async fn start(&self) -> Result<Follow, Error> {
        let mut follow = self.follower(self.options(Arc::new(AllSteps)));
        follow.start().await?;
        Ok(follow)
    }

    /// One step must bring the copy to the newest state.
    pub(crate) async fn catches_up(&self, follow: &mut Follow) {
        let step = follow.step().await;
        let step = step.unwrap_or_else(|error| panic!("{error}"));
        let (newest, content) = self.bed.states.borrow().last().unwrap().clone();
        if let FollowStep::Applied { to, .. } = step {
            assert_eq!(to, newest);
        }
        assert_eq!(status(follow).position, Some(newest));
        assert_eq!(self.saved(), newest);
        let found = content_of(&reader(&self.copy));
        assert_eq!(found, content, "{newest}");
        hash::integrity_check_of(&reader(&self.copy)).unwrap();
    }

    /// The copy is in a state that was committed; which one.
    pub(crate) fn is_committed(&self) -> Txid {
        let content = content_of(&reader(&self.copy));
        let states = self.bed.states.borrow();
        let state = states.iter().rev().find(|(_, known)| *known == content);
        state.expect("a committed state").0
    }

    /// The position beside the copy.
    pub(crate) fn saved(&self) -> Txid {
        let text = std::fs::read_to_string(hash::with_suffix(&self.copy, "-txid")).unwrap();
        text.strip_suffix('\n').unwrap().parse().unwrap()
    }

    /// Puts the merge of files as they were captured on a level.
    pub(crate) async fn compact(&self, level: u8, min: u64, max: u64) {
        let objects = self.bed.remote.inner().snapshot();
        let inputs = (min..=max).map(|number| {
            let key = Key::new(name(0, number, number));
            Decoder::new(
                std::io::Cursor::new(objects[&key].content.clone()),
                key.as_str(),
            )
            .unwrap()
        });
        let mut merged = Vec::new();
        ltx::merge(inputs, &mut merged).unwrap();
        self.put(&name(level, min, max), merged.into()).await;
    }

    pub(crate) async fn put(&self, key: &str, content: Bytes) {
        let store = self.bed.remote.inner();
        let put = store.put(Key::new(key), Body::Bytes(content), PutOptions::default());
        put.await.unwrap();
    }

    pub(crate) fn content(&self, key: &str) -> Bytes {
        let objects = self.bed.remote.inner().snapshot();
        objects[&Key::new(key)].content.clone()
    }

    /// Removes the level-0 files up to `last`.
    pub(crate) async fn drop_raw(&self, last: u64) {
        let keys = (1..=last).map(|number| Key::new(name(0, number, number)));
        self.bed
            .remote
            .inner()
            .delete(keys.collect())
            .await
            .unwrap();
    }

    /// Requests that a step makes: listings and gets.
    pub(crate) fn requests(&self) -> (u64, u64) {
        let calls = |operation| self.bed.remote.calls(operation);
        (calls(Operation::List), calls(Operation::Get))
    }
}

pub(crate) fn name(level: u8, min: u64, max: u64) -> String {
    format!("ltx/{level}/{}-{}.ltx", txid(min), txid(max))
}

pub(crate) fn status(follow: &Follow) -> FollowStatus {
    follow.status().borrow().clone()
}

/// Somebody who reads the copy.
pub(crate) fn reader(copy: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags).unwrap();
    connection.pragma_update(None, "query_only", true).unwrap();
    connection
}

pub(crate) fn content_of(connection: &Connection) -> String {
    hash::content_hash_of(connection).unwrap()
}
