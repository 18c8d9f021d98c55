//! Bodies and listings that break: whole in the end, or an error, never less.

use litestream_storage::{ByteRange, ErrorKind, Key, ObjectStore as _, PutOptions};
use russh_sftp::protocol::StatusCode;

use crate::place::{bare, chain, content, files, layered, list, put, read, server, unfinished};
use crate::server::{Misdeed, Verb};

/// Bytes of a read.
const BLOCK: usize = 32 << 10;

#[tokio::test]
async fn short_answers_are_not_the_end() {
    let server = server().await;
    let store = bare(&server);
    let all = content(200_000);
    put(&store, "name", all.clone()).await.expect("stored");
    server.when(|_| Some(Misdeed::Short(10_000)));
    assert!(read(&store, "name").await.expect("there") == all);
    assert!(server.count(Verb::Read) >= 20);
}

#[tokio::test]
async fn files_that_end_early_are_errors() {
    let server = server().await;
    let store = bare(&server);
    put(&store, "name", content(200_000)).await.expect("stored");
    let late = BLOCK as u64 * 2;
    server.when(move |asked| {
        let is_late = asked.verb == Verb::Read && asked.offset >= late;
        is_late.then_some(Misdeed::Instead(StatusCode::Eof))
    });
    let error = read(&store, "name").await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Io, "{}", chain(&error));
    assert_eq!(error.key(), Some(&Key::from("name")));
    assert!(error.to_string().contains("offset 65536"), "{error}");
}

#[tokio::test]
async fn downloads_go_on_where_they_were_cut() {
    let server = server().await;
    let store = layered(&server, 10);
    let all = content(1 << 20);
    let options = PutOptions {
        timestamp: Some(1_795_321_727_045),
        ..PutOptions::default()
    };
    let stored = store.put(Key::from("name"), all.clone().into(), options);
    stored.await.expect("stored");
    // Every quarter of a megabyte, with what is on its way or without.
    for is_polite in [true, false] {
        let before = server.asked().len();
        let mut answered = 0;
        server.when(move |asked| {
            let after_effect = false;
            answered += usize::from(asked.verb == Verb::Read);
            match (asked.verb, answered % 9) {
                (Verb::Read, 0) if is_polite => Some(Misdeed::Leave { after_effect }),
                (Verb::Read, 0) => Some(Misdeed::Hangup { after_effect }),
                _ => None,
            }
        });
        assert!(read(&store, "name").await.expect("goes on") == all);
        let asked = server.asked().split_off(before);
        let opens = asked.iter().filter(|asked| asked.verb == Verb::Open);
        assert!(opens.count() >= 4, "it broke three times or more");
        let mut last = 0;
        let restarts = asked.iter().filter(|asked| asked.verb == Verb::Read);
        let restarts = restarts.filter(|asked| {
            let is_again = asked.offset < last;
            last = asked.offset;
            is_again && asked.offset == 0
        });
        let most = usize::from(!is_polite);
        assert!(restarts.count() <= most, "begun anew: {asked:?}");
        let range = ByteRange::new(100, 900_000);
        let object = store.get(Key::from("name"), range).await.expect("there");
        let part = object.into_bytes().await.expect("goes on");
        assert!(part == all[100..900_100]);
    }
}

#[tokio::test]
async fn listings_go_on_where_they_broke() {
    let server = server().await;
    let store = layered(&server, 10);
    let mut names = Vec::new();
    for number in 0..230 {
        let name = format!("{}/{number:04}", number / 60);
        put(&store, &name, vec![1]).await.expect("stored");
        names.push(name);
    }
    let mut number = 0_usize;
    server.when(move |_| {
        number += 1;
        let after_effect = number.is_multiple_of(2);
        // A folder has eleven requests, and nothing is listed before the second.
        match number % 97 {
            3 => Some(Misdeed::Hangup { after_effect }),
            20 => Some(Misdeed::Instead(StatusCode::Failure)),
            45 => Some(Misdeed::Leave { after_effect }),
            _ => None,
        }
    });
    for _ in 0..5 {
        assert_eq!(list(&store).await.expect("goes on"), names);
    }
    assert!(store.retries() > 3, "{}", store.retries());
}

/// The old object stays until the new one is whole, and of the tries that were cut nothing is left.
#[tokio::test]
async fn uploads_that_are_cut_leave_nothing() {
    let server = server().await;
    let old = content(100_000);
    let new = content(2_000_000);
    let cuts = [
        Misdeed::Short(1000),
        Misdeed::Hangup {
            after_effect: false,
        },
        Misdeed::Hangup { after_effect: true },
        Misdeed::Leave { after_effect: true },
    ];
    for misdeed in cuts {
        for at in [0, 10, 30] {
            let at = at * BLOCK as u64;
            let cut = || {
                let mut is_done = false;
                server.when(move |asked| {
                    let is_it = asked.verb == Verb::Write && asked.offset == at && !is_done;
                    is_done |= is_it;
                    is_it.then_some(misdeed)
                });
            };
            let store = bare(&server);
            put(&store, "name", old.clone()).await.expect("stored");
            cut();
            let error = put(&store, "name", new.clone()).await.expect_err("cut");
            assert!(error.is_retryable(), "{}", chain(&error));
            assert_eq!(error.key(), Some(&Key::from("name")));
            assert_eq!(list(&store).await.expect("listable"), ["name"]);
            assert!(read(&store, "name").await.expect("there") == old);
            assert_eq!(unfinished(&server), [""; 0], "{misdeed:?} at {at}");

            let layered = layered(&server, 3);
            cut();
            put(&layered, "name", new.clone()).await.expect("again");
            assert_eq!(layered.retries(), 1);
            assert!(read(&layered, "name").await.expect("there") == new);
            assert_eq!(files(&server), ["name"], "{misdeed:?} at {at}");
        }
    }
}

#[tokio::test]
async fn a_large_file_is_synced_step_by_step() {
    let server = server().await;
    let store = bare(&server);
    let all = content((32 << 20) + 100_000);
    put(&store, "name", all.clone()).await.expect("stored");
    let asked = server.asked();
    let syncs = asked
        .iter()
        .filter(|asked| asked.verb == Verb::Fsync && asked.path.contains("name"));
    assert_eq!(syncs.count(), 2, "on the way and at the end");
    let before = server.asked().len();
    let mut syncs = 0;
    server.when(move |asked| {
        syncs += usize::from(asked.verb == Verb::Fsync);
        let is_first = asked.verb == Verb::Fsync && syncs == 1;
        is_first.then_some(Misdeed::Instead(StatusCode::Failure))
    });
    let error = put(&store, "name", all[1..].to_vec());
    let error = error.await.expect_err("the disk is not up to it");
    assert!(error.to_string().contains("sync"), "{}", chain(&error));
    let asked = server.asked().split_off(before);
    let published = asked.iter().any(|asked| asked.verb == Verb::PosixRename);
    assert!(!published, "{asked:?}");
    assert!(read(&store, "name").await.expect("the old one") == all);
    assert_eq!(files(&server), ["name"]);
}
