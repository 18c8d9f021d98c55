//! The records that scripts match.

use serde_json::json;

use super::place::{Place, Settings, ours};
use super::{Application, LONG};

/// Every text is in the log, each after the one before.
pub(crate) fn expect_in_order(log: &str, texts: &[&str]) {
    let mut rest = log;
    for text in texts {
        let Some((_, after)) = rest.split_once(text) else {
            panic!("{text:?} is not where it should be in:\n{log}")
        };
        rest = after;
    }
}

#[test]
fn start_work_and_end_are_told() {
    let place = Place::new();
    let application = Application::open(&place.db());
    place.configure(&Settings {
        top: json!({"levels": [{"interval": "1s"}], "snapshot": {"interval": "1s"},
                    "l0-retention": "1ms", "l0-retention-check-interval": "100ms"}),
        replica: json!({"sync-interval": "10ms"}),
        db: json!({"monitor-interval": "10ms"}),
    });
    let mut daemon = place.start(&ours());
    application.insert(5);
    daemon
        .wait_for_log(LONG, "snapshot complete")
        .expect("a snapshot");
    // Level 0 keeps its newest file, so there must be a second one to delete the first.
    application.insert(1);
    daemon
        .wait_for_log(LONG, "l0 retention enforced")
        .expect("retention");
    daemon.stop(LONG).expect("a clean end");
    let log = daemon.log().expect("log");
    let version = ours().version().expect("version");
    let (db, replica) = (place.db(), place.replica());
    let wanted = [
        format!("level=INFO msg=litestream version={version} level=\"\"\n"),
        format!(
            "level=INFO msg=\"control socket listening\" system=server path={}\n",
            place.socket().display()
        ),
        format!("level=INFO msg=\"initialized db\" path={}\n", db.display()),
        format!(
            "level=INFO msg=\"replicating to\" type=file sync-interval=10ms path={}\n",
            replica.display()
        ),
        "level=INFO msg=\"signal received, litestream shutting down\" signal=terminated\n".into(),
        "level=INFO msg=\"litestream shut down\"\n".into(),
    ];
    expect_in_order(&log, &wanted.each_ref().map(String::as_str));
    for start in [
        "level=INFO msg=\"compaction complete\" system=store db=db level=1 \
         txid.min=0000000000000002 txid.max=",
        "level=INFO msg=\"snapshot complete\" system=store db=db txid=",
        "level=INFO msg=\"l0 retention enforced\" system=store db=db deleted_count=",
    ] {
        assert!(log.contains(start), "{start:?} is not in:\n{log}");
    }
    assert!(
        !log.contains("level=WARN") && !log.contains("level=ERROR"),
        "{log}"
    );
}

#[test]
fn an_outage_is_told_once_and_its_end_too() {
    let place = Place::new();
    let application = Application::open(&place.db());
    std::fs::write(place.replica(), "in the way").expect("a file");
    place.configure(&Settings {
        replica: json!({"sync-interval": "10ms"}),
        ..Settings::default()
    });
    let mut daemon = place.start(&ours());
    application.insert(5);
    daemon
        .wait_for_log(LONG, "monitor error")
        .expect("the outage is told");
    std::fs::remove_file(place.replica()).expect("the way is free");
    daemon
        .wait_for_log(LONG, "replica sync recovered")
        .expect("the end of it too");
    daemon.stop(LONG).expect("a clean end");
    let log = daemon.log().expect("log");
    let errors = log.matches("level=ERROR msg=\"monitor error\" system=store db=db replica=file");
    assert_eq!(errors.count(), 1, "{log}");
    let recovered = "level=INFO msg=\"replica sync recovered\" system=store db=db replica=file \
                     previous_errors=";
    assert!(log.contains(recovered), "{log}");
    assert_eq!(super::restored_rows(&place, &place.replica()), 5);
}
