//! URL parsing, accepted and refused.

use super::*;

#[test]
fn splits_into_parts() {
    let url = Url::parse("SFTP://ann:p%40ss@host:2222/a%20b/c?x=1&x=2&bad=%zz&y=a+b#f%41").unwrap();
    assert_eq!(url.scheme, "sftp");
    assert_eq!(url.user, Some(("ann".into(), Some("p@ss".into()))));
    assert_eq!(url.host, "host:2222");
    assert_eq!(url.path, "/a b/c");
    assert_eq!(url.query("x"), Some("1"));
    assert_eq!(url.query("y"), Some("a b"));
    assert_eq!(url.query("bad"), None);
    assert_eq!(url.fragment, "fA");
}

#[test]
fn without_slash_it_is_opaque_or_a_path() {
    assert_eq!(Url::parse("file:rel").unwrap().opaque, "rel");
    let url = Url::parse("xx").unwrap();
    assert_eq!((url.scheme.as_str(), url.path.as_str()), ("", "xx"));
}

#[test]
fn says_what_is_wrong() {
    for (text, cause) in [
        ("s3://a b/p", "invalid character \" \" in host name"),
        ("s3://a:x/p", "invalid port \":x\" after host"),
        ("s3://%zz", "invalid URL escape \"%zz\""),
        ("file:///%zz", "invalid URL escape \"%zz\""),
        ("file:///%4", "invalid URL escape \"%4\""),
        ("file:///%\u{e9}1", "invalid URL escape \"%\u{e9}1\""),
        ("://x", "missing protocol scheme"),
        ("1a://x", "first path segment in URL cannot contain colon"),
        ("s3://a/\u{1}", "net/url: invalid control character in URL"),
        ("s3://a b@c/", "net/url: invalid userinfo"),
        ("s3://[::1", "missing ']' in host"),
    ] {
        let error = Url::parse(text).unwrap_err();
        assert_eq!(error.cause, cause, "{text}");
        assert_eq!(
            error.to_string(),
            format!("parse {}: {cause}", quoted(text))
        );
    }
}

#[test]
fn paths_are_escaped_for_urls() {
    assert_eq!(escape_path("/a b/%41?x!"), "/a%20b/%2541%3Fx%21");
    assert_eq!(escape_fragment("a b!"), "a%20b!");
}
