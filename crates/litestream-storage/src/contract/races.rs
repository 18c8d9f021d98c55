//! Several callers at once: whole objects only, and one winner where one is asked for.

use futures_util::future::{join, join_all};

use super::Case;
use crate::{ByteRange, Condition, Error, ErrorKind, ObjectMeta, PutOptions};

const CALLERS: u8 = 8;

pub(super) async fn writers_of_one_key(case: &Case) {
    const SIZE: usize = 2_500_000;
    case.put("object", vec![0; SIZE]).await;
    let writers = (1..=CALLERS).map(|number| case.put("object", vec![number; SIZE]));
    let readers = (0..CALLERS).map(|_| case.try_get("object", ByteRange::ALL));
    let (_, read) = join(join_all(writers), join_all(readers)).await;
    // A reader may be told that the object changed under it, but never read two of them.
    let read = read.into_iter().flatten();
    for content in read.filter(|_| case.abilities.steady_bodies) {
        assert_eq!(content.len(), SIZE);
        assert!(
            content.iter().all(|byte| *byte == content[0]),
            "mixed content was read"
        );
    }
    let last = case.get("object", ByteRange::ALL).await;
    assert_eq!(last.len(), SIZE);
    assert!(
        last.iter().all(|byte| *byte == last[0]),
        "mixed content was stored"
    );
    assert_ne!(last[0], 0, "no put took effect");
    assert_eq!(
        case.list("", None).await,
        ["object"],
        "something was left behind"
    );
}

pub(super) async fn creators_of_one_key(case: &Case) {
    if case.abilities.conditional_put {
        race(case, &Condition::IfAbsent, ErrorKind::AlreadyExists).await;
    }
}

pub(super) async fn changers_of_one_version(case: &Case) {
    if !(case.abilities.conditional_put && case.abilities.if_match) {
        return;
    }
    let mut meta = case.put("object", vec![0; 10]).await;
    for _ in 0..5 {
        let etag = meta.etag.expect("needed for conditions");
        meta = race(
            case,
            &Condition::IfMatch(etag),
            ErrorKind::PreconditionFailed,
        )
        .await;
    }
}

/// Lets callers put on the same condition; one must win, the others fail with `kind`.
async fn race(case: &Case, condition: &Condition, kind: ErrorKind) -> ObjectMeta {
    let caller = |number: u8| {
        let options = PutOptions {
            condition: condition.clone(),
            ..PutOptions::default()
        };
        case.put_with("object", vec![number; 10], options)
    };
    let results: Vec<Result<ObjectMeta, Error>> = join_all((1..=CALLERS).map(caller)).await;
    let mut winner = None;
    for (number, result) in (1..=CALLERS).zip(results) {
        match result {
            Ok(meta) => {
                assert!(winner.is_none(), "two callers won");
                winner = Some((number, meta));
            }
            lost => case.failed("object", lost, kind),
        }
    }
    let (number, meta) = winner.expect("one caller wins");
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![number; 10]);
    assert_eq!(case.head("object").await.etag, meta.etag);
    meta
}
