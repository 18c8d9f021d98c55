//! NATS that restarts, stands still or takes rights away: the right kind of error in time, nothing
//! half written, and the same store goes on afterwards.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use litestream_storage::{
    Body, ByteRange, ErrorKind, Key, ListOptions, NatsLogin, NatsSettings, NatsStore, ObjectStore,
    PutOptions, Retry, RetryPolicy, Retrying,
};
use testkit::process::Signal;
use testkit::server::Nats;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{BUCKET, start};
use crate::chain;

/// Longest wait for what should be soon.
const LONG: Duration = Duration::from_mins(1);

fn impatient(nats: &Nats, timeout: u64) -> NatsSettings {
    NatsSettings {
        reconnect_wait: Duration::from_millis(10),
        timeout: Duration::from_millis(timeout),
        ..NatsSettings::new(nats.url(), BUCKET)
    }
}

fn layered(store: &NatsStore) -> impl ObjectStore + use<> {
    let policy = RetryPolicy {
        max_delay: Duration::from_millis(500),
        ..RetryPolicy::default()
    };
    Retry::new(store.clone(), Retrying::new(policy))
}

async fn names(store: &impl ObjectStore) -> Vec<String> {
    let metas = store.list(String::new(), ListOptions::default());
    let names = metas.map(|meta| meta.expect("listable").key.to_string());
    names.collect().await
}

/// Calls until the answer is wanted; what it was then.
async fn until<T>(
    what: &str,
    mut call: impl AsyncFnMut() -> litestream_storage::Result<T>,
    wanted: impl Fn(&litestream_storage::Result<T>) -> bool,
) -> litestream_storage::Result<T> {
    let begun = Instant::now();
    loop {
        let answer = call().await;
        if wanted(&answer) {
            return answer;
        }
        let said = answer.map(drop).map_err(|error| chain(&error));
        assert!(begun.elapsed() < LONG, "{what}: last {said:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_put_leaves_no_half_object() {
    let Some(mut nats) = start() else { return };
    let store = NatsStore::new(impatient(&nats, 2_000));
    let old = store.put(
        Key::from("old"),
        vec![1; 300_000].into(),
        PutOptions::default(),
    );
    old.await.expect("storable");

    // A body that waits in the middle until the server is another one.
    let (goes_on, waits) = tokio::sync::oneshot::channel::<()>();
    let (half_done, is_half_done) = tokio::sync::oneshot::channel::<()>();
    let first = stream::repeat(Bytes::from(vec![2; 256 << 10])).take(8);
    let pause = stream::once(async move {
        half_done.send(()).expect("somebody waits");
        waits.await.expect("somebody says so");
        Bytes::new()
    });
    let rest = stream::repeat(Bytes::from(vec![3; 256 << 10])).take(8);
    let body = Body::Stream(first.chain(pause).chain(rest).map(Ok).boxed());
    let putting = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .put(Key::from("new"), body, PutOptions::default())
                .await
        }
    });
    is_half_done.await.expect("chunks were sent");
    nats.server().kill().expect("it ran");
    nats.server().revive().expect("it starts again");
    goes_on.send(()).expect("the put waits");
    let put = putting.await.expect("no panic");

    let layered = layered(&store);
    match put {
        // All chunks were acknowledged: what was sent before the end was written.
        Ok(_) => assert_eq!(names(&layered).await, ["new", "old"]),
        Err(error) => {
            assert!(error.is_retryable(), "{}", chain(&error));
            assert_eq!(names(&layered).await, ["old"]);
        }
    }
    let again = layered.put(
        Key::from("new"),
        vec![4; 5_000_000].into(),
        PutOptions::default(),
    );
    again.await.expect("the same store goes on");
    for (name, content) in [("old", vec![1; 300_000]), ("new", vec![4; 5_000_000])] {
        let object = layered.get(Key::from(name), ByteRange::ALL).await;
        let found = object.expect("there").into_bytes().await.expect("readable");
        assert!(found == content, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_given_up_and_taken_again() {
    let Some(mut nats) = start() else { return };
    let store = NatsStore::new(impatient(&nats, 300));
    let key = Key::from("object");
    let content = vec![5; 8_000_000];
    let put = store.put(key.clone(), content.clone().into(), PutOptions::default());
    put.await.expect("storable");
    let mut reading = store
        .get(key.clone(), ByteRange::ALL)
        .await
        .expect("there")
        .body;
    reading.next().await.expect("not empty").expect("readable");

    nats.server().child().signal(Signal::STOP).expect("it runs");
    let begun = Instant::now();
    let error = loop {
        match reading.next().await.expect("not at its end") {
            // Fetched before.
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable(), "{}", chain(&error));
    assert_eq!(error.key(), Some(&key));
    let put = store.put(Key::from("late"), vec![6; 10].into(), PutOptions::default());
    let error = put.await.expect_err("nobody answers");
    assert!(error.is_retryable(), "{}", chain(&error));
    let error = store.head(key.clone()).await.expect_err("nobody answers");
    assert!(error.is_retryable(), "{}", chain(&error));
    let listed = store
        .list(String::new(), ListOptions::default())
        .next()
        .await;
    let error = listed.expect("an answer").expect_err("nobody answers");
    assert!(error.is_retryable(), "{}", chain(&error));
    let failed = store.delete(vec![key.clone()]).await;
    let hangs = failed.map_or(true, |failed| failed.len() == 1);
    assert!(hangs, "nobody answers");
    assert!(begun.elapsed() < LONG, "each call has a limit");

    nats.server()
        .child()
        .signal(Signal::CONT)
        .expect("it stands");
    let read = async || {
        let object = store.get(key.clone(), ByteRange::ALL).await?;
        object.into_bytes().await
    };
    let found = until("readable again", read, Result::is_ok).await;
    assert!(found.expect("read") == content);
    assert_eq!(store.head(key).await.expect("there").size, 8_000_000);
}

/// The way to a server for one connection, which ends after `down` bytes from there; nobody answers
/// a second one.
async fn narrow_way(target: String, down: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("somebody comes");
        let mut server = TcpStream::connect(target).await.expect("it runs");
        let (server_read, mut server_write) = server.split();
        let (mut client_read, mut client_write) = client.split();
        let mut down = server_read.take(down);
        tokio::select! {
            _ended = tokio::io::copy(&mut down, &mut client_write) => {}
            _ended = tokio::io::copy(&mut client_read, &mut server_write) => {}
        }
        drop((client, server));
        // Nobody else gets the port, and whoever comes back is sent away.
        while let Ok((again, _)) = listener.accept().await {
            drop(again);
        }
    });
    format!("nats://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_whose_connection_is_given_up_is_never_a_short_one() {
    const OBJECTS: usize = 120;
    let Some(nats) = start() else { return };
    let store = NatsStore::new(impatient(&nats, 2_000));
    for at in 0..OBJECTS {
        let put = store.put(
            Key::from(format!("{at:04}").as_str()),
            vec![1].into(),
            PutOptions::default(),
        );
        put.await.expect("storable");
    }
    let mut broken = 0;
    for down in (4_000..60_000).step_by(8_000) {
        let store = NatsStore::new(NatsSettings {
            max_reconnects: Some(1),
            url: narrow_way(nats.address(), down).await,
            ..impatient(&nats, 2_000)
        });
        let listed = store.list(String::new(), ListOptions::default());
        let listed: Vec<_> = listed.collect().await;
        match listed.iter().find_map(|item| item.as_ref().err()) {
            Some(error) => {
                assert!(error.is_retryable(), "{}", chain(error));
                broken += 1;
            }
            None => assert_eq!(listed.len(), OBJECTS, "cut after {down} bytes"),
        }
    }
    assert!(broken >= 3, "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_given_up_after_so_many_tries_and_made_anew() {
    let Some(mut nats) = start() else { return };
    let store = NatsStore::new(NatsSettings {
        max_reconnects: Some(2),
        ..impatient(&nats, 300)
    });
    let key = Key::from("object");
    let put = store.put(key.clone(), vec![1; 10].into(), PutOptions::default());
    put.await.expect("storable");

    nats.server().kill().expect("it ran");
    let head = async || store.head(key.clone()).await;
    let failed = until("given up", head, |answer| {
        let said = answer.as_ref().err().map(chain);
        said.is_some_and(|said| said.contains("connect to nats://"))
    });
    // By now each call tries a connection of its own, once for each server.
    let error = failed.await.expect_err("nobody is there");
    assert!(error.is_retryable(), "{}", chain(&error));
    nats.server().revive().expect("it starts again");
    let meta = until("connected anew", head, Result::is_ok).await;
    assert_eq!(meta.expect("there").size, 10);
}

const OPEN: &str = r#"authorization { users: [ { user: "u", password: "p" } ] }"#;
const CLOSED: &str = r#"authorization { users: [ { user: "u", password: "changed" } ] }"#;

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_are_named_and_may_come_back() {
    let Some(mut nats) = Nats::start_with_or_skip(OPEN) else {
        return;
    };
    nats.create_bucket(BUCKET, r#""user":"u","pass":"p""#)
        .expect("bucket");
    let store = NatsStore::new(NatsSettings {
        login: NatsLogin::User {
            name: "u".to_owned(),
            password: "p".to_owned(),
        },
        ..impatient(&nats, 300)
    });
    let key = Key::from("object");
    let put = store.put(key.clone(), vec![1; 10].into(), PutOptions::default());
    put.await.expect("storable");

    nats.reconfigure(CLOSED).expect("it runs");
    let head = async || store.head(key.clone()).await;
    let refused = until("refused", head, |answer| {
        answer
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Denied)
    });
    let said = chain(&refused.await.expect_err("refused"));
    assert!(said.to_lowercase().contains("authorization"), "{said}");
    let put = store.put(key.clone(), vec![2; 10].into(), PutOptions::default());
    let error = put.await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));

    nats.reconfigure(OPEN).expect("it runs");
    let meta = until("allowed again", head, Result::is_ok).await;
    assert_eq!(meta.expect("there").size, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_told_so() {
    let more = r#"authorization { users: [
        { user: "w", password: "p" },
        { user: "r", password: "p", permissions: { publish: { deny: ["$O.>"] } } },
    ] }"#;
    let Some(nats) = Nats::start_with_or_skip(more) else {
        return;
    };
    nats.create_bucket(BUCKET, r#""user":"w","pass":"p""#)
        .expect("bucket");
    let store = NatsStore::new(NatsSettings {
        login: NatsLogin::User {
            name: "r".to_owned(),
            password: "p".to_owned(),
        },
        ..impatient(&nats, 500)
    });
    let put = store.put(Key::from("a"), vec![1; 10].into(), PutOptions::default());
    let error = put.await.expect_err("may not");
    let said = chain(&error);
    assert_eq!(error.kind(), ErrorKind::Denied, "{said}");
    assert!(
        said.to_lowercase().contains("permissions violation"),
        "{said}"
    );
    // What is allowed works all the same.
    assert!(names(&store).await.is_empty());
}
