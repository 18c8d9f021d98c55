//! `doctor` on folders: what it prints, how it ends, and that it leaves nothing.

use serde_json::{Value, json};

use super::Application;
use super::place::{Place, Settings, ours};

fn files(place: &Place) -> Vec<std::path::PathBuf> {
    testkit::program::replica_files(&place.replica())
}

#[test]
fn a_folder_is_well() {
    let place = Place::new();
    std::fs::create_dir(place.replica()).expect("a folder");
    let url = format!("file://{}", place.replica().display());
    let done = ours()
        .run(["doctor", &url])
        .unwrap_or_else(|failure| panic!("{failure}"));
    let out = done.stdout;
    assert!(out.starts_with(&url), "{out}");
    for probe in [
        "list",
        "put",
        "large-put",
        "conditional-put",
        "clock",
        "delete",
    ] {
        let line = out
            .lines()
            .find(|line| line.starts_with(&format!("{probe} ")));
        assert!(
            line.is_some_and(|line| line.contains(" ok ")),
            "{probe}: {out}"
        );
    }
    assert!(out.ends_with("Everything that is needed works.\n"), "{out}");
    assert!(files(&place).is_empty());
}

#[test]
fn a_configured_replica_in_use_is_examined_as_json() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(5);
    let config = place.configure(&Settings {
        replica: json!({"name": "near"}),
        ..Settings::default()
    });
    let config = config.to_str().expect("UTF-8");
    let run = |words: &[&str]| {
        ours()
            .run(words)
            .unwrap_or_else(|failure| panic!("{failure}"))
    };
    run(&["replicate", "-once", "-config", config]);
    let before = files(&place);
    assert!(!before.is_empty());
    let db = place.db();
    let db = db.to_str().expect("UTF-8");
    for words in [
        vec!["doctor", "-json", "-config", config, db],
        vec!["doctor", "-json", "-config", config],
    ] {
        let answer: Value = serde_json::from_str(&run(&words).stdout).expect("JSON");
        let replica = &answer["replicas"][0];
        assert_eq!(replica["database"], db, "{answer}");
        assert_eq!(
            (&replica["replica"], &replica["type"]),
            (&json!("near"), &json!("file"))
        );
        assert_eq!(
            (&replica["usable"], &replica["left_over"]),
            (&json!(true), &json!(null))
        );
        let probes = replica["probes"].as_array().expect("probes");
        assert_eq!(probes.len(), 11);
        assert!(
            probes.iter().all(|probe| probe["result"] == "ok"),
            "{answer}"
        );
    }
    assert_eq!(files(&place), before);
}

#[test]
fn what_cannot_be_used_is_said_and_ends_with_one() {
    let place = Place::new();
    std::fs::write(place.replica(), "in the way").expect("a file");
    let url = format!("file://{}", place.replica().display());
    let failure = ours()
        .run(["doctor", &url])
        .expect_err("a file is no folder");
    let failure = failure.to_string();
    assert!(
        failure.contains("replica cannot be used as it is: "),
        "{failure}"
    );
    assert!(failure.contains("nothing can be replicated"), "{failure}");
    for words in [
        vec!["doctor", "a", "b"],
        vec!["doctor", "-config", "/none", &url],
    ] {
        assert!(ours().run(words).is_err());
    }
}
