//! Bodies and listings that break: whole in the end, or an error, never less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use litestream_storage::{ByteRange, ErrorKind, Key, ObjectStore as _, PutOptions};
use testkit::server::stand_in::{Misdeed, Said};

use crate::place::{Place, STRETCH, chain, content, list, put, read};

pub(crate) async fn truncated_bodies_are_errors<P: Place>(place: P) {
    let store = place.bare();
    let all = content(200_000);
    put(&*store, "name", all).await.expect("stored");
    place.server().when(|_| Some(Misdeed::Cut(100_000)));
    let error = read(&*store, "name").await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{}", chain(&error));
    assert_eq!(error.key(), Some(&Key::from("name")));
    place.server().when(|_| Some(Misdeed::Cut(60)));
    let error = list(&*store).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{}", chain(&error));
}

pub(crate) async fn downloads_go_on_where_they_were_cut<P: Place>(place: P) {
    let store = place.layered();
    let all = content(1 << 20);
    let options = PutOptions {
        timestamp: Some(1_795_321_727_045),
        ..PutOptions::default()
    };
    let stored = store.put(Key::from("name"), all.clone().into(), options);
    stored.await.expect("stored");
    let gets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&gets);
    place.server().when(move |asked| {
        if asked.method == "GET" {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Some(Misdeed::Cut(STRETCH))
    });
    assert!(read(&store, "name").await.expect("goes on") == all);
    // Each piece was asked for once.
    assert_eq!(gets.load(Ordering::Relaxed), (1 << 20) / STRETCH);
    let range = ByteRange::new(100, 300_000);
    let object = store.get(Key::from("name"), range).await.expect("there");
    let part = object.into_bytes().await.expect("goes on");
    assert!(part == all[100..300_100]);
}

pub(crate) async fn listings_go_on_where_they_broke<P: Place>(place: P) {
    let store = place.layered();
    let names: Vec<String> = (0..230).map(|number| format!("{number:04}")).collect();
    for name in &names {
        put(&store, name, vec![1]).await.expect("stored");
    }
    let mut number = 0_usize;
    place.server().when(move |_| {
        number += 1;
        match number % P::LISTED {
            0 => None,
            1 => Some(Misdeed::Cut(5000)),
            2 => Some(Misdeed::overloaded()),
            _ => Some(Misdeed::Hangup { after_effect: true }),
        }
    });
    assert_eq!(list(&store).await.expect("goes on"), names);
}

/// A service that names the same page again and again is not believed.
pub(crate) async fn listings_in_circles_end<P: Place>(place: P) {
    let store = place.layered();
    for said in P::CIRCLE {
        place
            .server()
            .when(move |_| Some(Misdeed::Instead(Said::status(200).with(*said))));
        let error = list(&store).await.expect_err("in circles");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", chain(&error));
        assert_eq!(error.backend(), Some(store.kind()), "{error}");
    }
}
