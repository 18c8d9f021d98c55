//! Requests that are never answered, before and after their effect: no hang, and nothing lost.

use litestream_storage::{ByteRange, Condition, ErrorKind, Key, ObjectStore, PutOptions};
use testkit::server::stand_in::Misdeed;

use crate::place::{PART, Place, chain, content, impatient, list, put, read, tries};

pub(crate) async fn silence_is_a_timeout<P: Place>(place: P) {
    let store = place.open(impatient(), tries(1));
    let store: &dyn ObjectStore = &*store;
    let key = || Key::from("name");
    place.server().when(|_| {
        Some(Misdeed::Silence {
            after_effect: false,
        })
    });
    let mut errors = vec![
        put(store, "name", vec![1]).await.expect_err("put"),
        put(store, "name", content(PART * 2))
            .await
            .expect_err("put"),
        store.get(key(), ByteRange::ALL).await.expect_err("get"),
        store.head(key()).await.expect_err("head"),
        list(store).await.expect_err("list"),
    ];
    match store.delete(vec![key()]).await {
        Ok(mut failures) => errors.push(failures.pop().expect("not deleted").1),
        Err(error) => errors.push(error),
    }
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    }
    assert!(place.names().is_empty());
}

/// The answer of each request is lost once, after its effect.
pub(crate) async fn silence_after_the_effect_loses_nothing<P: Place>(place: P) {
    let store = place.layered_with(impatient(), tries(10));
    let lose = || {
        let mut seen = std::collections::HashSet::new();
        place.server().when(move |asked| {
            let is_new = seen.insert(P::alike(asked));
            is_new.then_some(Misdeed::Silence { after_effect: true })
        });
    };
    let mut conditions = vec![Condition::None];
    if P::ABILITIES.conditional_put {
        conditions.push(Condition::IfAbsent);
    }
    for condition in conditions {
        for len in [100, PART + 1] {
            let name = format!("{len}");
            let all = content(len);
            lose();
            let options = PutOptions {
                condition: condition.clone(),
                ..PutOptions::default()
            };
            let stored = store.put(Key::from(&*name), all.clone().into(), options);
            assert_eq!(stored.await.expect("found out").size, len as u64);
            lose();
            assert!(read(&store, &name).await.expect("there") == all);
            assert_eq!(list(&store).await.expect("listable"), [&*name]);
            let failed = store.delete(vec![Key::from(&*name)]).await;
            assert!(failed.expect("answered").is_empty());
            assert!(place.names().is_empty());
        }
    }
    // Of an upload whose beginning was answered by nothing nobody knows the name: what is left of
    // it is for the service to remove.
}
