//! The conformance suite: what every backend must do, bare and inside every wrapper.
//!
//! Invariant: each case works below a prefix of its own and assumes nothing of the rest of the
//! store, so that the suite can run against a shared bucket.
//!
//! ```no_run
//! # async fn example() {
//! use std::sync::Arc;
//! use litestream_storage::{MemoryStore, contract};
//!
//! contract::check(Arc::new(MemoryStore::new()), contract::Abilities::full()).await;
//! # }
//! ```

mod bodies;
mod conditions;
mod listing;
mod objects;
mod races;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;

use crate::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, ObjectMeta, ObjectStore, PutOptions,
};

/// What a backend can do; the cases for the rest check that it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent abilities, not the states of one machine"
)]
pub struct Abilities {
    /// Conditions of put. Without: [`ErrorKind::Unsupported`].
    pub conditional_put: bool,
    /// Conditions of put on a version, where there are any. Without: [`ErrorKind::Unsupported`].
    pub if_match: bool,
    /// Deletion of one version. Without: [`ErrorKind::Unsupported`].
    pub conditional_delete: bool,
    /// Keeps timestamps to the millisecond. Without: they are answered as `None`.
    pub timestamps: bool,
    /// Keeps every name that the store's own documentation allows. Without: servers behind it hide
    /// or lose names that begin with a dot or have `?`, `#` or `;` in them.
    pub odd_names: bool,
    /// A body that is being read stays what it was when the object is replaced. Without: the
    /// server behind goes on with the new content.
    pub steady_bodies: bool,
    /// How many objects the listing of many has, to go over the backend's page size.
    pub many: usize,
}

impl Abilities {
    /// Everything, and listings of 1100 objects.
    pub const fn full() -> Self {
        Self {
            conditional_put: true,
            if_match: true,
            conditional_delete: true,
            timestamps: true,
            odd_names: true,
            steady_bodies: true,
            many: 1100,
        }
    }
}

/// Runs every case against `store`. Panics, naming the case, at the first thing that is wrong.
/// Leaves its objects behind.
pub async fn check(store: Arc<dyn ObjectStore>, abilities: Abilities) {
    check_without(store, abilities, &[]).await;
}

/// As [`check`], without the cases of these names: for servers that stand in for a service, and
/// break the contract in a way that the service itself does not.
///
/// # Panics
///
/// At the first thing that is wrong, and when there is no case of such a name.
pub async fn check_without(store: Arc<dyn ObjectStore>, abilities: Abilities, without: &[&str]) {
    for name in without {
        assert!(
            CASES.iter().any(|(known, _)| known == name),
            "no case {name}"
        );
    }
    for (name, run) in CASES {
        if without.contains(name) {
            continue;
        }
        let case = Case {
            store: Arc::clone(&store),
            name,
            abilities,
        };
        run(&case).await;
    }
}

type Run = for<'a> fn(&'a Case) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        &[$((stringify!($case), |case| Box::pin($module::$case(case)))),*]
    };
}

const CASES: &[(&str, Run)] = cases![
    objects::put_get_head,
    objects::missing_objects,
    objects::ranges,
    objects::empty_object,
    objects::overwrite,
    objects::delete,
    objects::timestamps,
    objects::odd_keys,
    objects::nothing_before_poll,
    bodies::streams,
    bodies::files,
    bodies::wrong_files,
    bodies::broken_streams,
    bodies::replaced_while_read,
    listing::order_and_prefix,
    listing::lower_bound,
    listing::missing_prefix,
    listing::many,
    conditions::if_absent,
    conditions::if_match,
    conditions::delete_if,
    races::writers_of_one_key,
    races::creators_of_one_key,
    races::changers_of_one_version,
];

/// One case at work.
struct Case {
    store: Arc<dyn ObjectStore>,
    name: &'static str,
    abilities: Abilities,
}

impl Case {
    fn text(&self, name: &str) -> String {
        format!("contract/{}/{name}", self.name)
    }

    fn key(&self, name: &str) -> Key {
        Key::new(self.text(name))
    }

    /// Puts without options; must work.
    async fn put(&self, name: &str, body: impl Into<Body>) -> ObjectMeta {
        self.put_with(name, body, PutOptions::default())
            .await
            .unwrap_or_else(|error| self.fail(name, &error))
    }

    async fn put_with(
        &self,
        name: &str,
        body: impl Into<Body>,
        options: PutOptions,
    ) -> Result<ObjectMeta, Error> {
        self.store.put(self.key(name), body.into(), options).await
    }

    /// Reads a range; must work.
    async fn get(&self, name: &str, range: ByteRange) -> Bytes {
        self.try_get(name, range)
            .await
            .unwrap_or_else(|error| self.fail(name, &error))
    }

    async fn try_get(&self, name: &str, range: ByteRange) -> Result<Bytes, Error> {
        let object = self.store.get(self.key(name), range).await?;
        object.into_bytes().await
    }

    async fn head(&self, name: &str) -> ObjectMeta {
        let meta = self.store.head(self.key(name)).await;
        meta.unwrap_or_else(|error| self.fail(name, &error))
    }

    /// Lists below a prefix of the case; must work. The names are relative to the case.
    async fn list(&self, prefix: &str, start_after: Option<&str>) -> Vec<String> {
        let options = ListOptions {
            start_after: start_after.map(|name| self.key(name)),
            timestamps: false,
        };
        let metas = self.list_with(prefix, options).await;
        let own = self.text("");
        let relative = |meta: &ObjectMeta| {
            let name = meta.key.as_str().strip_prefix(&own);
            name.unwrap_or_else(|| panic!("{}: listed foreign key {}", self.name, meta.key))
                .to_owned()
        };
        metas.iter().map(relative).collect()
    }

    async fn list_with(&self, prefix: &str, options: ListOptions) -> Vec<ObjectMeta> {
        let listing = self.store.list(self.text(prefix), options);
        let metas: Result<Vec<_>, Error> = listing.try_collect().await;
        metas.unwrap_or_else(|error| self.fail(prefix, &error))
    }

    /// The call must have failed with `kind`, naming the object and the backend.
    fn failed<T>(&self, name: &str, result: Result<T, Error>, kind: ErrorKind) {
        let Err(error) = result else {
            panic!("{}: {name}: succeeded instead of {kind:?}", self.name);
        };
        assert_eq!(error.kind(), kind, "{}: {name}: {error}", self.name);
        assert_eq!(error.key(), Some(&self.key(name)), "{}: {error}", self.name);
        assert_eq!(
            error.backend(),
            Some(self.store.kind()),
            "{}: {error}",
            self.name
        );
    }

    /// There must be no such object, by any way of asking.
    async fn absent(&self, name: &str) {
        let got = self.store.get(self.key(name), ByteRange::ALL).await;
        self.failed(name, got, ErrorKind::NotFound);
        let head = self.store.head(self.key(name)).await;
        self.failed(name, head, ErrorKind::NotFound);
        let listed = self.list(name, None).await;
        assert!(
            !listed.iter().any(|found| found == name),
            "{}: {name}",
            self.name
        );
    }

    fn fail<T>(&self, name: &str, error: &Error) -> T {
        let cause = std::error::Error::source(error);
        panic!("{}: {name:?}: {error} ({cause:?})", self.name);
    }
}

/// Bytes that differ from place to place, so that a shifted or repeated part shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}
