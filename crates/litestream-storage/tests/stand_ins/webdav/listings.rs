//! Listings that leave something open.

use litestream_storage::{ErrorKind, Key, ObjectStore as _};
use testkit::server::stand_in::{Misdeed, Said};

use super::{Dav, ROOT};
use crate::place::{Place as _, chain, list, patient, put, tries};

const BUSY: ErrorKind = ErrorKind::Unavailable { retry_after: None };

/// What is told about a file: its status and properties.
fn told(name: &str, inside: &str) -> String {
    format!("<D:response><D:href>/{ROOT}{name}</D:href>{inside}</D:response>")
}

fn properties(properties: &str) -> String {
    format!(
        "<D:propstat><D:status>HTTP/1.1 200 OK</D:status><D:prop>{properties}</D:prop></D:propstat>"
    )
}

/// A listing of the root, and of nothing else, with these files.
fn answers(dav: &Dav, own: &str, files: &[String]) {
    let xml = format!(
        "<D:multistatus xmlns:D=\"DAV:\">{}{}</D:multistatus>",
        told("", own),
        files.concat()
    );
    dav.server().when(move |asked| {
        let is_listing = asked.method == "PROPFIND" && asked.header("depth") == Some("1");
        is_listing.then(|| Misdeed::Instead(Said::status(207).with(&*xml)))
    });
}

fn collection() -> String {
    properties("<D:resourcetype><D:collection/></D:resourcetype>")
}

#[tokio::test]
async fn a_length_that_is_left_out_is_asked_for() {
    let dav = Dav::start();
    let store = dav.bare();
    for name in ["a", "b"] {
        put(&*store, name, vec![7; 5]).await.expect("stored");
    }
    let modified = "<D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified>";
    let files = [
        told("a", &properties(modified)),
        told(
            "b",
            &properties("<D:getcontentlength>5</D:getcontentlength>"),
        ),
        // Gone since.
        told("c", &properties(modified)),
        told("d", "<D:status>HTTP/1.1 404 Not Found</D:status>"),
        // Of others, or not yet there.
        told("e.tmp", &properties(modified)),
        told("f.tmp", "<D:status>HTTP/1.1 423 Locked</D:status>"),
    ];
    answers(&dav, &collection(), &files);
    let before = dav.server().asked().len();
    assert_eq!(list(&*store).await.expect("whole"), ["a", "b"]);
    let asked = dav.server().asked().split_off(before);
    let heads = ["a", "c"].map(|name| format!("HEAD /{ROOT}{name}"));
    let of_heads: Vec<_> = asked
        .iter()
        .filter(|line| line.starts_with("HEAD"))
        .collect();
    assert_eq!(of_heads, heads.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_stays_open_ends_a_listing_with_an_error() {
    let dav = Dav::start();
    let store = dav.bare();
    for name in ["a", "b"] {
        put(&*store, name, vec![7; 5]).await.expect("stored");
    }
    let sized = properties("<D:getcontentlength>5</D:getcontentlength>");
    for (line, kind) in [
        ("403 Forbidden", ErrorKind::Denied),
        ("500 Internal Server Error", BUSY),
        ("423 Locked", BUSY),
    ] {
        let status = format!("<D:status>HTTP/1.1 {line}</D:status>");
        answers(
            &dav,
            &collection(),
            &[told("a", &sized), told("b", &status)],
        );
        let error = list(&*store).await.expect_err("not whole");
        let said = chain(&error);
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains(&format!("{ROOT}b")), "{said}");
        // The folder itself.
        answers(&dav, &status, &[]);
        let error = list(&*store).await.expect_err("nothing is known");
        assert_eq!(error.kind(), kind, "{error}");
    }
    // Neither way of asking tells how long it is.
    for (status, kind) in [
        (204, ErrorKind::Corrupt),
        (403, ErrorKind::Denied),
        (503, BUSY),
    ] {
        let xml = format!(
            "<D:multistatus xmlns:D=\"DAV:\">{}{}</D:multistatus>",
            told("", &collection()),
            told("b", &properties("<D:resourcetype/>"))
        );
        dav.server().when(move |asked| match &*asked.method {
            "PROPFIND" => Some(Misdeed::Instead(Said::status(207).with(&*xml))),
            "HEAD" => Some(Misdeed::Instead(Said::status(status))),
            _ => None,
        });
        let error = list(&*store).await.expect_err("not whole");
        let said = chain(&error);
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains(&format!("{ROOT}b")), "{said}");
    }
}

#[tokio::test]
async fn a_file_without_a_length_is_found_all_the_same() {
    let dav = Dav::start();
    let store = dav.layered_with(patient(), tries(1));
    dav.server().when(|asked| {
        let is_look = asked.method == "PROPFIND" && asked.path.ends_with("/a");
        let xml = format!(
            "<D:multistatus xmlns:D=\"DAV:\">{}</D:multistatus>",
            told("a", &properties("<D:resourcetype/>"))
        );
        is_look.then(|| Misdeed::Instead(Said::status(207).with(xml)))
    });
    let stored = put(&store, "a", vec![7; 5]).await.expect("stored");
    assert_eq!(stored.size, 5);
    let found = store.head(Key::from("a")).await.expect("there");
    assert_eq!(found.size, 5);
}
