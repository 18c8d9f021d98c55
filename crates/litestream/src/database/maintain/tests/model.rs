//! A store that is looked at after each of its changes: whatever is in it must restore to what was
//! true, at every transaction that must be there.
//!
//! The truth about a transaction is what the level-0 files up to it say, each noted when it is put
//! first. That these say what the database says is proved by real restores in the tests.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use litestream_storage::{
    Body, ByteRange, Error, Key, ListOptions, MemoryStore, Object, ObjectMeta, ObjectStore,
    PutOptions, Result,
};
use ltx::{Level, Timestamp, Txid};

use super::bed::Set;
use crate::Layout;
use crate::clock::Clock;
use crate::replica::{RemoteFile, RemoteIndex};
use crate::restore::{Target, plan};

/// A hash per page, from page 1 on.
type Pages = Vec<u64>;

/// A file, decoded.
#[derive(Debug)]
struct Decoded {
    commit: usize,
    pages: Vec<(usize, u64)>,
}

impl Decoded {
    fn apply(&self, pages: &mut Pages) {
        pages.resize(self.commit, 0);
        for (pgno, hash) in &self.pages {
            if let Some(page) = pages.get_mut(pgno - 1) {
                *page = *hash;
            }
        }
    }
}

fn decode(content: &[u8], name: &str) -> (Decoded, ltx::Header) {
    let mut decoder = ltx::Decoder::new(content, name).unwrap();
    let header = *decoder.header();
    let mut page = vec![0; header.page_size.bytes()];
    let mut pages = Vec::new();
    while let Some(pgno) = decoder.next_page(&mut page).unwrap() {
        let mut hasher = DefaultHasher::new();
        page.hash(&mut hasher);
        pages.push((pgno.get() as usize, hasher.finish()));
    }
    decoder.finish().unwrap();
    let commit = header.commit as usize;
    (Decoded { commit, pages }, header)
}

/// What has to be there, by policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) l0_retention: Duration,
    pub(super) snapshot_retention: Duration,
}

#[derive(Debug, Default)]
struct State {
    index: RemoteIndex,
    decoded: BTreeMap<(Level, Txid, Txid), Decoded>,
    /// Pages and time of every transaction that ever was.
    truth: BTreeMap<Txid, (Pages, Timestamp)>,
    /// Plans that are known to lead to the truth.
    proved: HashSet<u64>,
    checks: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Observed {
    inner: MemoryStore,
    clock: Arc<Set>,
    policy: Policy,
    state: Mutex<State>,
}

impl Observed {
    pub(super) fn new(inner: MemoryStore, clock: Arc<Set>, policy: Policy) -> Self {
        Self {
            inner,
            clock,
            policy,
            state: Mutex::default(),
        }
    }

    /// Between two chores: nothing is half deleted, so every file that is there leads to its end.
    pub(super) fn check_at_rest(&self) {
        let mut state = self.state.lock().unwrap();
        state.check(self.clock.now(), self.policy, true);
    }

    /// States that were compared with the truth so far.
    pub(super) fn checks(&self) -> u64 {
        self.state.lock().unwrap().checks
    }

    fn stored(&self, key: &Key) {
        let objects = self.inner.snapshot();
        let object = objects.get(key).unwrap();
        let meta = ObjectMeta {
            key: key.clone(),
            size: object.content.len() as u64,
            modified: 0,
            timestamp: object.timestamp,
            etag: None,
        };
        let file = Layout::Plain.parse(&meta).unwrap();
        let (decoded, header) = decode(&object.content, key.as_str());
        assert_eq!(header.range(), file.range, "{key:?}");
        assert_eq!(
            header.timestamp, file.created,
            "{key:?}: time of the object"
        );
        let mut state = self.state.lock().unwrap();
        state.learn(&file, &decoded);
        state.index.insert(file);
        let place = (file.level, file.range.min, file.range.max);
        state.decoded.insert(place, decoded);
        state.check(self.clock.now(), self.policy, false);
    }

    fn deleted(&self, key: &Key) {
        let meta = ObjectMeta {
            key: key.clone(),
            size: 0,
            modified: 0,
            timestamp: None,
            etag: None,
        };
        let file = Layout::Plain.parse(&meta).unwrap();
        let mut state = self.state.lock().unwrap();
        state.index.remove(&file);
        state.check(self.clock.now(), self.policy, false);
    }
}

impl State {
    /// A transaction that comes for the first time is true as it comes.
    fn learn(&mut self, file: &RemoteFile, decoded: &Decoded) {
        let txid = file.range.max;
        if self.truth.contains_key(&txid) || !file.range.is_single() {
            return;
        }
        let mut pages = match txid.prev().map(|before| self.truth.get(&before)) {
            None => Pages::new(),
            Some(before) => before.expect("in order").0.clone(),
        };
        decoded.apply(&mut pages);
        self.truth.insert(txid, (pages, file.created));
    }

    fn check(&mut self, now: Timestamp, policy: Policy, at_rest: bool) {
        let Some(newest) = self.index.max() else {
            return;
        };
        let snapshots = self.index.level(Level::SNAPSHOT);
        let oldest = snapshots.first().map(|file| file.range.max);
        let counted = |file: &&RemoteFile| at_rest || file.level > Level::RAW;
        let ends = self.index.files().filter(counted);
        let ends: HashSet<Txid> = ends.map(|file| file.range.max).collect();
        let within = |time: Timestamp, window: Duration| {
            now.as_millis() - time.as_millis() < i64::try_from(window.as_millis()).unwrap()
        };
        let mut targets: Vec<(Target, bool)> = vec![(Target::Latest, true)];
        let times: Vec<(Txid, Timestamp)> = self
            .truth
            .iter()
            .map(|(txid, (_, time))| (*txid, *time))
            .collect();
        for (txid, time) in &times {
            let is_fresh = within(*time, policy.l0_retention);
            let is_end = ends.contains(txid) && Some(*txid) >= oldest;
            let must = *txid <= newest && (is_fresh || is_end);
            targets.push((Target::Txid(*txid), must));
        }
        // Every tenth time in the window leads to a state.
        for (_, time) in times.iter().skip(1).step_by(10) {
            let must = within(*time, policy.snapshot_retention);
            targets.push((
                Target::Before(Timestamp::from_millis(time.as_millis() + 1)),
                must,
            ));
        }
        for (target, must) in targets {
            self.check_target(target, must, &times);
        }
    }

    fn check_target(&mut self, target: Target, must: bool, times: &[(Txid, Timestamp)]) {
        let plan = match plan(&self.index, target) {
            Ok(plan) => plan,
            Err(error) => {
                assert!(!must, "{target:?}: {error}, in {:?}", self.index);
                return;
            }
        };
        if let Target::Before(time) = target {
            // The newest state before the time that any file ends at.
            let last = times.iter().rev().find(|(txid, created)| {
                *created < time && self.index.files().any(|file| file.range.max == *txid)
            });
            assert!(
                Some(plan.txid()) >= last.map(|(txid, _)| *txid),
                "{target:?}"
            );
            let (_, created) = self.truth.get(&plan.txid()).unwrap();
            assert!(*created < time, "{target:?} gives {}", plan.txid());
        }
        let mut hasher = DefaultHasher::new();
        for file in plan.files() {
            (file.level, file.range.min, file.range.max).hash(&mut hasher);
        }
        if !self.proved.insert(hasher.finish()) {
            return;
        }
        let mut pages = Pages::new();
        for file in plan.files() {
            let place = (file.level, file.range.min, file.range.max);
            self.decoded.get(&place).unwrap().apply(&mut pages);
        }
        let (truth, _) = self.truth.get(&plan.txid()).unwrap();
        assert_eq!(pages, *truth, "{target:?}, by {plan:?}");
        self.checks += 1;
    }
}

impl ObjectStore for Observed {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let meta = self.inner.put(key.clone(), body, options).await?;
            self.stored(&key);
            Ok(meta)
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.inner.get(key, range)
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.inner.head(key)
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        self.inner.list(prefix, options)
    }

    /// One after the other, as stores without bulk deletion do it.
    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            for key in keys {
                self.inner.delete(vec![key.clone()]).await?;
                self.deleted(&key);
            }
            Ok(Vec::new())
        }
        .boxed()
    }
}
