//! Destinations that a server behind a proxy takes for another server's.

use litestream_storage::ErrorKind;
use testkit::server::stand_in::{Misdeed, Said};

use super::Dav;
use crate::place::{Place as _, put, read};

fn moves(dav: &Dav) -> usize {
    let asked = dav.server().asked();
    asked.iter().filter(|line| line.starts_with("MOVE")).count()
}

#[tokio::test]
async fn a_server_that_does_not_know_its_address_takes_paths() {
    for status in [502, 400] {
        let dav = Dav::start();
        let store = dav.bare();
        dav.server().when(move |asked| {
            let is_elsewhere = asked.header("destination")?.contains("://");
            is_elsewhere.then(|| Misdeed::Instead(Said::status(status)))
        });
        for (name, total) in [("a b/%41", 2), ("second", 3)] {
            put(&*store, name, vec![7; 5]).await.expect("stored");
            assert_eq!(read(&*store, name).await.expect("there"), vec![7; 5]);
            assert_eq!(moves(&dav), total, "it is remembered what works");
        }
        assert_eq!(dav.unfinished(), 0);
    }
}

#[tokio::test]
async fn a_gateway_without_a_server_stays_what_it_is() {
    let dav = Dav::start();
    let store = dav.bare();
    dav.server().when(|asked| {
        let destination = asked.header("destination")?;
        let status = if destination.contains("://") {
            502
        } else {
            403
        };
        Some(Misdeed::Instead(Said::status(status)))
    });
    let error = put(&*store, "a", vec![7; 5]).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable { retry_after: None });
    assert!(error.to_string().contains("502"), "{error}");
    assert!(dav.names().is_empty());
    assert_eq!(dav.unfinished(), 0);

    // Nothing was learnt from that.
    dav.server().behave();
    let before = moves(&dav);
    put(&*store, "a", vec![7; 5]).await.expect("stored");
    assert_eq!(moves(&dav), before + 1);
}

#[tokio::test]
async fn other_refusals_are_not_asked_twice() {
    for (status, is_stored) in [(403, false), (507, false), (405, true), (501, true)] {
        let dav = Dav::start();
        let store = dav.bare();
        dav.server().when(move |asked| {
            (asked.method == "MOVE").then(|| Misdeed::Instead(Said::status(status)))
        });
        let stored = put(&*store, "a", vec![7; 5]).await;
        assert_eq!(stored.is_ok(), is_stored, "{status}: {stored:?}");
        assert_eq!(moves(&dav), 1, "{status}");
        assert_eq!(dav.unfinished(), 0, "{status}");
    }
}
