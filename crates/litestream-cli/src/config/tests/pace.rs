//! The pace of a replica: keys, bounds, inheritance.

use std::num::NonZeroU64;

use litestream_storage::{Pace, Rate};

use super::*;

#[test]
fn a_pace_is_read_and_checked() {
    let pace = |more: &str| {
        let text = format!("dbs:\n- path: /x/a.db\n  replica: {{path: /r{more}}}\n");
        let replicas = config(&text).dbs[0].replicas(&env())?;
        Ok::<_, BuildError>(replicas[0].pace)
    };
    assert_eq!(pace("").unwrap(), Pace::default());
    let count = |number| NonZeroU64::new(number).unwrap();
    let full = pace(
        ", max-requests-per-second: 10, max-request-burst: 3, max-upload-bandwidth: 5MB, \
         max-download-bandwidth: 64KiB",
    );
    let expected = Pace {
        requests: Rate::new(10.0, count(3)),
        upload: Some(Rate::bytes(count(5_000_000))),
        download: Some(Rate::bytes(count(65_536))),
    };
    assert_eq!(full.unwrap(), expected);
    // A second's worth at once, unless told otherwise.
    let plain = pace(", max-requests-per-second: 7").unwrap();
    assert_eq!(plain.requests, Rate::new(7.0, count(7)));
    let bad = [
        (
            ", max-requests-per-second: 0",
            "max-requests-per-second must be positive",
        ),
        (
            ", max-requests-per-second: -1",
            "max-requests-per-second must be positive",
        ),
        (
            ", max-requests-per-second: 1, max-request-burst: 0",
            "max-request-burst must be positive",
        ),
        (
            ", max-request-burst: 5",
            "max-request-burst needs max-requests-per-second",
        ),
        (
            ", max-upload-bandwidth: 1000",
            "max-upload-bandwidth must be at least 64KiB (per second)",
        ),
        (
            ", max-download-bandwidth: 0",
            "max-download-bandwidth must be at least 64KiB (per second)",
        ),
    ];
    for (text, expected) in bad {
        assert_eq!(pace(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn a_pace_at_top_level_is_inherited() {
    let config = config(
        "max-requests-per-second: 5\ndbs:\n- path: a\n  replica: {path: /r}\n\
         - path: b\n  replica: {path: /r, max-requests-per-second: 6}\n",
    );
    let rates: Vec<_> = config
        .dbs
        .iter()
        .map(|db| db.replicas(&env()).unwrap()[0].pace.requests)
        .collect();
    let rate = |number: u64| Rate::new(number as f64, NonZeroU64::new(number).unwrap());
    assert_eq!(rates, [rate(5), rate(6)]);
}
