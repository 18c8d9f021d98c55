use super::*;

#[test]
fn an_unknown_key_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.json");
    std::fs::write(&file, r#"{"name": "x", "description": "y", "novelty": 1}"#).unwrap();
    let error = read_manifest::<GenerationsManifest>(&file).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("novelty") && text.contains("manifest.json"),
        "{text}"
    );
}

#[test]
fn a_restore_asks_for_exactly_one_thing() {
    let read = serde_json::from_str::<TreeRestore>;
    let found = read(r#"{"txid": "0000000000000001", "error": "no"}"#).unwrap();
    assert_eq!(found.request, Request::Txid("0000000000000001".to_owned()));
    assert_eq!(found.outcome, RestoreOutcome::Failed("no".to_owned()));
    assert!(read(r#"{"latest": true, "txid": "0000000000000001", "error": "no"}"#).is_err());
    assert!(read(r#"{"error": "no"}"#).is_err());
    assert!(
        read(r#"{"latest": true}"#)
            .unwrap_err()
            .to_string()
            .contains("plan")
    );
}

#[test]
fn edits_are_told_apart_by_their_word() {
    let read = serde_json::from_str::<Edit>;
    let found = read(r#"{"op": "xor", "path": "p", "offset": 3, "value": 255}"#).unwrap();
    assert_eq!(
        found,
        Edit::Xor {
            path: "p".to_owned(),
            offset: 3,
            value: 255
        }
    );
    assert!(read(r#"{"op": "explode", "path": "p"}"#).is_err());
    assert!(read(r#"{"op": "delete", "path": "p", "size": 1}"#).is_err());
}
