use super::{Properties, date, decode, parse, path_of};
use crate::{ErrorKind, Operation};

fn found(xml: &str) -> Vec<Properties> {
    parse(Operation::List, xml.as_bytes()).expect(xml)
}

fn file(path: &str, size: u64) -> Properties {
    Properties {
        path: path.into(),
        collection: false,
        size: Some(size),
        modified: Some(784_111_777_000),
        refused: None,
    }
}

#[test]
fn answers_in_the_dialects_of_servers() {
    // Apache: prefixes of its own, missing properties under another status.
    let apache = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:"><D:href>/a%20b/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:getcontentlength/></D:prop>
<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response xmlns:lp1="DAV:"><D:href>/a%20b/x%26y.ltx</D:href><D:propstat><D:prop>
<lp1:resourcetype/><lp1:getcontentlength>17</lp1:getcontentlength>
<lp1:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"#;
    let all = found(apache);
    assert_eq!(all.len(), 2);
    assert!(all[0].collection && all[0].size.is_none() && all[0].path == "/a b/");
    assert_eq!(all[1], file("/a b/x&y.ltx", 17));

    // A default namespace, whole addresses, entities and character references.
    let other = r#"<multistatus xmlns="DAV:"><response><href>http://h:1/a/&#120;&amp;y</href>
<propstat><prop><getcontentlength> 17 </getcontentlength><resourcetype></resourcetype>
<getlastmodified><![CDATA[Sun, 06 Nov 1994 08:49:37 GMT]]></getlastmodified></prop>
<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"#;
    assert_eq!(found(other), [file("/a/x&y", 17)]);
}

#[test]
fn other_namespaces_and_places_do_not_count() {
    let xml = r#"<D:multistatus xmlns:D="DAV:" xmlns:X="other:">
<D:response><D:href>/a</D:href><X:href>/b</X:href><D:propstat><D:prop>
<X:getcontentlength>1</X:getcontentlength><D:getcontentlength>2</D:getcontentlength>
<D:lockdiscovery><D:activelock><D:lockroot><D:href>/lock</D:href></D:lockroot>
</D:activelock></D:lockdiscovery></D:prop><D:status>HTTP/1.1 200 OK</D:status>
</D:propstat></D:response>
<D:response><D:href>/gone</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>
</D:multistatus>"#;
    let all = found(xml);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].path.as_str(), all[0].size), ("/a", Some(2)));
}

#[test]
fn what_a_server_refuses_to_tell_is_there_and_what_is_gone_is_not() {
    for (status, refused) in [
        ("200 OK", Some(None)),
        ("403 Forbidden", Some(Some(403))),
        ("503 Busy", Some(Some(503))),
        ("404 Not Found", None),
        ("410 Gone", None),
    ] {
        let xml = format!(
            r#"<multistatus xmlns="DAV:"><response><href>/a</href>
<status>HTTP/1.1 {status}</status></response></multistatus>"#
        );
        let all = found(&xml);
        assert_eq!(all.first().map(|file| file.refused), refused, "{status}");
    }
}

#[test]
fn hostile_answers_are_errors() {
    let deep = "<a>".repeat(100_000);
    let bomb = r#"<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<D:multistatus xmlns:D="DAV:"><D:response><D:href>&b;</D:href></D:response></D:multistatus>"#;
    let cases = [
        "",
        "<html><body>Index of /</body></html>",
        "not xml at all",
        "<D:multistatus xmlns:D=\"DAV:\"><D:response>",
        "<D:multistatus xmlns:D=\"DAV:\"></D:other>",
        "<D:multistatus><D:response/></D:multistatus>",
        &deep,
        bomb,
    ];
    for xml in cases {
        let start: String = xml.chars().take(60).collect();
        let error = parse(Operation::List, xml.as_bytes()).expect_err(&start);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{start}");
    }
    parse(Operation::List, b"\xff\xfe<").expect_err("not UTF-8");
}

#[test]
fn numbers_and_dates_that_are_none_are_left_out() {
    for length in ["", "-1", "1e9", "99999999999999999999999", "0x10"] {
        let xml = format!(
            r#"<multistatus xmlns="DAV:"><response><href>/a</href><propstat><prop>
<getcontentlength>{length}</getcontentlength><getlastmodified>{length}</getlastmodified>
</prop></propstat></response></multistatus>"#
        );
        let all = found(&xml);
        assert_eq!((all[0].size, all[0].modified), (None, None), "{length:?}");
    }
    assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
    assert_eq!(
        date("Sun, 06 Nov 1994 09:49:37 +0100"),
        Some(784_111_777_000)
    );
}

#[test]
fn references_are_decoded_to_the_byte() {
    assert_eq!(decode("a%2Fb%25%zz%4"), Some("a/b%%zz%4".into()));
    assert_eq!(decode("%C3%A9+%2B"), Some("\u{e9}++".into()));
    assert_eq!(decode("%ff"), None);
    assert_eq!(decode("%+1%-1"), Some("%+1%-1".into()));
    assert_eq!(path_of("https://host/a/b"), Some("/a/b".into()));
    assert_eq!(path_of("http://host"), Some("/".into()));
    assert_eq!(path_of("/a/x://y"), Some("/a/x://y".into()));
}
