//! Listings: everything, once, in order, from a true lower bound.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Case;
use crate::{Key, ListOptions};

/// In byte order; chosen so that walking directories by their bare names gets it wrong.
const NAMES: [&str; 10] = [
    "A", "a.b", "a/1", "a/10", "a/1x/y", "a/1x0", "a/2", "a0", "b/c/d/e", "b0",
];

async fn fill(case: &Case) {
    for name in NAMES.into_iter().rev() {
        case.put(name, name.as_bytes().to_vec()).await;
    }
}

pub(super) async fn order_and_prefix(case: &Case) {
    fill(case).await;
    // Empty, whole names, parts of names and of directory names.
    for prefix in [
        "", "a", "a/", "a/1", "a/1x", "a/1x/", "a/1x/y", "b", "b/", "b/c/d", "b0", "A",
    ] {
        let expected: Vec<_> = NAMES
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect();
        assert_eq!(case.list(prefix, None).await, expected, "prefix {prefix:?}");
    }
    let metas = case.list_with("", ListOptions::default()).await;
    for (meta, name) in metas.iter().zip(NAMES) {
        assert_eq!(meta.size, name.len() as u64, "{meta:?}");
    }
}

pub(super) async fn lower_bound(case: &Case) {
    fill(case).await;
    let bounds = [
        "", "!", "A", "B", "a", "a.", "a.b", "a.b0", "a/", "a/0", "a/1", "a/10", "a/1x", "a/1x/",
        "a/1x/y", "a/1x/z", "a/1x0", "a/2", "a/3", "a/~", "a0", "b", "b/c/d/d", "b/c/d/e", "b/d",
        "b0", "b1", "~",
    ];
    for prefix in ["", "a/", "a/1", "b/"] {
        for bound in bounds {
            let expected: Vec<_> = NAMES
                .into_iter()
                .filter(|name| name.starts_with(prefix) && *name > bound)
                .collect();
            let found = case.list(prefix, Some(bound)).await;
            assert_eq!(found, expected, "prefix {prefix:?} after {bound:?}");
        }
    }
    // A bound outside of the prefix, below and above everything.
    for (bound, expected) in [("A", 10), ("~", 0)] {
        let options = ListOptions {
            start_after: Some(Key::from(bound)),
            timestamps: false,
        };
        assert_eq!(
            case.list_with("", options).await.len(),
            expected,
            "after {bound:?}"
        );
    }
}

pub(super) async fn missing_prefix(case: &Case) {
    for prefix in ["", "no", "no/such/dir/", "no/such/dir/name"] {
        assert!(case.list(prefix, None).await.is_empty(), "{prefix:?}");
        assert!(
            case.list(prefix, Some("no/such/dir/")).await.is_empty(),
            "{prefix:?}"
        );
    }
    case.put("object", vec![1]).await;
    assert!(case.list("object/", None).await.is_empty());
    assert!(case.list("objects", None).await.is_empty());
}

pub(super) async fn many(case: &Case) {
    let count = case.abilities.many;
    let names: Vec<String> = (0..count)
        .map(|number| format!("{:02}/{number:06}", number / 500))
        .collect();
    let puts = names.iter().map(|name| case.put(name, vec![1; 3]));
    let puts: Vec<_> = puts.collect();
    stream::iter(puts)
        .buffer_unordered(16)
        .for_each(|_| async {})
        .await;
    assert_eq!(case.list("", None).await, names);
    for at in [0, 1, count / 2, count - 2, count - 1] {
        assert_eq!(
            case.list("", Some(&names[at])).await,
            names[at + 1..],
            "after {}",
            names[at]
        );
    }
    // Taking only the beginning is allowed.
    let mut listing = case.store.list(case.text(""), ListOptions::default());
    let first = listing
        .try_next()
        .await
        .expect("listable")
        .expect("not empty");
    assert_eq!(first.key, case.key(&names[0]));
    drop(listing);
    let keys = names.iter().map(|name| case.key(name)).collect();
    let failures = case.store.delete(keys).await.expect("deletable");
    assert!(failures.is_empty(), "{failures:?}");
    assert!(case.list("", None).await.is_empty());
}
