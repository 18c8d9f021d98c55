//! Conditions: a put or delete takes effect on the expected version only.

use super::Case;
use crate::{ByteRange, Condition, ErrorKind, PutOptions};

fn on(condition: Condition) -> PutOptions {
    PutOptions {
        condition,
        ..PutOptions::default()
    }
}

pub(super) async fn if_absent(case: &Case) {
    let first = case
        .put_with("dir/object", vec![1], on(Condition::IfAbsent))
        .await;
    if !case.abilities.conditional_put {
        case.failed("dir/object", first, ErrorKind::Unsupported);
        return;
    }
    let first = first.expect("there was none");
    let second = case
        .put_with("dir/object", vec![2, 2], on(Condition::IfAbsent))
        .await;
    case.failed("dir/object", second, ErrorKind::AlreadyExists);
    assert_eq!(case.get("dir/object", ByteRange::ALL).await, vec![1]);
    assert_eq!(case.head("dir/object").await.etag, first.etag);
    assert_eq!(case.list("", None).await, ["dir/object"]);

    case.store
        .delete(vec![case.key("dir/object")])
        .await
        .expect("deletable");
    let third = case
        .put_with("dir/object", vec![3], on(Condition::IfAbsent))
        .await;
    third.expect("there is none any more");
}

pub(super) async fn if_match(case: &Case) {
    let nowhere = Condition::IfMatch("nowhere".into());
    let missing = case.put_with("object", vec![1], on(nowhere.clone())).await;
    if !(case.abilities.conditional_put && case.abilities.if_match) {
        case.failed("object", missing, ErrorKind::Unsupported);
        return;
    }
    case.failed("object", missing, ErrorKind::PreconditionFailed);
    case.absent("object").await;

    let first = case
        .put("object", vec![1])
        .await
        .etag
        .expect("needed for conditions");
    let other = case.put_with("object", vec![2], on(nowhere)).await;
    case.failed("object", other, ErrorKind::PreconditionFailed);

    // The etag of head, list and get is that of put.
    assert_eq!(case.head("object").await.etag.as_ref(), Some(&first));
    let second = case
        .put_with("object", vec![2], on(Condition::IfMatch(first.clone())))
        .await;
    let second = second
        .expect("nobody came in between")
        .etag
        .expect("needed for conditions");
    assert_ne!(first, second);
    let late = case
        .put_with("object", vec![3], on(Condition::IfMatch(first)))
        .await;
    case.failed("object", late, ErrorKind::PreconditionFailed);
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![2]);
    assert_eq!(case.list("", None).await, ["object"]);

    // A deleted object is no version at all.
    case.store
        .delete(vec![case.key("object")])
        .await
        .expect("deletable");
    let gone = case
        .put_with("object", vec![4], on(Condition::IfMatch(second)))
        .await;
    case.failed("object", gone, ErrorKind::PreconditionFailed);
    case.absent("object").await;
}

pub(super) async fn delete_if(case: &Case) {
    let missing = case
        .store
        .delete_if(case.key("object"), "nowhere".into())
        .await;
    if !case.abilities.conditional_delete {
        case.failed("object", missing, ErrorKind::Unsupported);
        return;
    }
    case.failed("object", missing, ErrorKind::NotFound);
    let first = case
        .put("object", vec![1])
        .await
        .etag
        .expect("needed for conditions");
    let second = case
        .put("object", vec![2])
        .await
        .etag
        .expect("needed for conditions");
    let stale = case.store.delete_if(case.key("object"), first).await;
    case.failed("object", stale, ErrorKind::PreconditionFailed);
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![2]);
    let current = case
        .store
        .delete_if(case.key("object"), second.clone())
        .await;
    current.expect("it is the current one");
    case.absent("object").await;
    let again = case.store.delete_if(case.key("object"), second).await;
    case.failed("object", again, ErrorKind::NotFound);
}
