//! Large uploads: each part for itself, and never half an object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use litestream_storage::{Body, Condition, Error, ErrorKind, Key, ObjectStore as _, PutOptions};
use testkit::server::stand_in::{Misdeed, Said};

use crate::place::{PART, Place, STRETCH, content, patient, put, read, stream_of, tries};

/// How often each part was sent.
type Sent = Arc<Mutex<BTreeMap<String, usize>>>;

/// Every part fails the first time it is sent, each in another way; nothing else is sent again.
pub(crate) async fn parts_are_sent_again_one_by_one<P: Place>(place: P) {
    let all = content(PART * 8 + 17);
    for is_stream in [false, true] {
        let store = place.layered();
        let sent = Sent::default();
        let counted = Arc::clone(&sent);
        place.server().when(move |asked| {
            let part = P::part(asked)?;
            let mut sent = counted.lock().expect("not poisoned");
            let way = sent.len();
            let number = sent.entry(part).or_default();
            *number += 1;
            let is_first = *number == 1;
            is_first.then_some(())?;
            Some(match way % 5 {
                0 => Misdeed::overloaded(),
                1 => Misdeed::Deaf(STRETCH),
                2 => Misdeed::Hangup { after_effect: true },
                3 => Misdeed::After(Said::status(500)),
                _ => Misdeed::Hangup {
                    after_effect: false,
                },
            })
        });
        let body = if is_stream {
            stream_of(&all)
        } else {
            Body::from(all.clone())
        };
        put(&store, "large", body).await.expect("stored");
        assert_eq!(store.retries(), 0, "not the whole again");
        let sent = sent.lock().expect("not poisoned").clone();
        assert!(sent.len() >= 9, "{sent:?}");
        assert!(sent.values().all(|times| *times <= 2), "{sent:?}");
        place.server().behave();
        assert!(read(&store, "large").await.expect("there") == all);
    }
    assert_eq!(place.unfinished(), 0);
}

/// What makes the object took effect, but its answer was lost: with a condition and without, also
/// when the body fits into one part and cannot be read again.
pub(crate) async fn lost_completions_are_found_out<P: Place>(place: P) {
    let mut conditions = vec![Condition::None];
    if P::ABILITIES.conditional_put {
        conditions.push(Condition::IfAbsent);
    }
    for (at, condition) in conditions.into_iter().enumerate() {
        for (len, lost) in [
            (PART * 3 + 1, Misdeed::Hangup { after_effect: true }),
            (PART * 3 + 1, Misdeed::After(Said::status(503))),
            (PART - 10, Misdeed::Hangup { after_effect: true }),
        ] {
            let mut policy = tries(10);
            policy.replay_limit = 10;
            let store = place.layered_with(patient(), policy);
            let mut once = Some(lost);
            // Without a condition one request is enough for a short body.
            let is_whole = len < PART && condition == Condition::None;
            place.server().when(move |asked| {
                let makes = is_whole && matches!(&*asked.method, "PUT" | "POST");
                (makes || P::completes(asked)).then(|| once.take())?
            });
            let key = Key::from(format!("large/{at}"));
            let options = PutOptions {
                timestamp: Some(1_795_321_727_045),
                condition: condition.clone(),
                size_hint: None,
            };
            let all = content(len);
            let stored = store.put(key.clone(), stream_of(&all), options).await;
            let stored = stored.expect("found out");
            assert_eq!(store.retries(), 0, "not the whole again");
            let found = store.head(key.clone()).await.expect("there");
            assert_eq!(stored.etag, found.etag);
            assert_eq!(
                (found.size, found.timestamp),
                (stored.size, stored.timestamp)
            );
            assert!(read(&store, key.as_str()).await.expect("there") == all);
            store.delete(vec![key]).await.expect("deletable");
        }
    }
    assert_eq!(place.unfinished(), 0);
}

/// Another one was faster, and the answer that said so was lost: that is not taken for ours.
pub(crate) async fn what_another_put_there_is_not_ours<P: Place>(place: P) {
    if !P::ABILITIES.conditional_put {
        return;
    }
    let store = place.layered();
    for misdeed in [
        Misdeed::overloaded(),
        Misdeed::Hangup {
            after_effect: false,
        },
    ] {
        let other = place.other();
        let mut once = Some(misdeed);
        // All parts are there when the other one comes, and the first try says nothing.
        place.server().when(move |asked| {
            P::completes(asked).then_some(())?;
            let misdeed = once.take()?;
            other("large", vec![9; 10]);
            Some(misdeed)
        });
        let absent = PutOptions {
            condition: Condition::IfAbsent,
            ..PutOptions::default()
        };
        let body = Body::from(content(PART * 3 + 1));
        let put = store.put(Key::from("large"), body, absent).await;
        let error = put.expect_err("not ours");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(read(&store, "large").await.expect("theirs"), vec![9; 10]);
        let gone = store.delete(vec![Key::from("large")]).await;
        assert!(gone.expect("deletable").is_empty());
    }
    assert_eq!(place.unfinished(), 0);
}

/// A part that never gets through ends the upload after its tries, which are not multiplied, and
/// at once when nothing can get better.
pub(crate) async fn a_part_that_fails_for_good_ends_the_upload<P: Place>(place: P) {
    let store = place.layered_with(patient(), tries(3));
    for (status, times, kind) in [
        (503, 3, ErrorKind::Unavailable { retry_after: None }),
        (403, 1, ErrorKind::Denied),
    ] {
        let sent = Sent::default();
        let counted = Arc::clone(&sent);
        let victim = Arc::new(Mutex::new(None));
        place.server().when(move |asked| {
            let part = P::part(asked)?;
            let mut sent = counted.lock().expect("not poisoned");
            let is_second = sent.len() == 1 && !sent.contains_key(&part);
            *sent.entry(part.clone()).or_default() += 1;
            let mut victim = victim.lock().expect("not poisoned");
            if is_second {
                *victim = Some(part.clone());
            }
            let is_victim = victim.as_ref() == Some(&part);
            is_victim.then(|| Misdeed::Instead(Said::status(status)))
        });
        let error = put(&store, "large", content(PART * 4))
            .await
            .expect_err("never complete");
        assert_eq!(error.kind(), kind, "{error}");
        let most = *sent
            .lock()
            .expect("not poisoned")
            .values()
            .max()
            .expect("sent");
        assert_eq!(most, times, "{error}");
        assert_eq!(store.retries(), 0);
        assert!(place.names().is_empty());
        assert_eq!(place.unfinished(), 0);
    }
}

/// A source that fails is the end of the upload, and nothing is seen of it.
pub(crate) async fn sources_that_fail_leave_nothing<P: Place>(place: P) {
    let store = place.layered();
    for len in [10, PART * 3] {
        let chunks = [
            Ok(Bytes::from(content(len))),
            Err(Error::from_body("broken")),
        ];
        let body = Body::Stream(stream::iter(chunks).boxed());
        let error = put(&store, "large", body).await.expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(place.names().is_empty());
        assert_eq!(place.unfinished(), 0);
    }
}

/// Short bodies that can be read once are sent again from memory.
pub(crate) async fn short_streams_are_sent_again<P: Place>(place: P) {
    let mut policy = tries(10);
    policy.replay_limit = 10;
    let store = place.layered_with(patient(), policy);
    let mut left = 3;
    place.server().when(move |asked| {
        let brings = matches!(&*asked.method, "PUT" | "POST");
        left -= usize::from(brings && left > 0);
        (brings && left > 0).then(Misdeed::overloaded)
    });
    let all = content(1000);
    put(&store, "short", stream_of(&all)).await.expect("stored");
    assert_eq!(read(&store, "short").await.expect("there"), all);
}
