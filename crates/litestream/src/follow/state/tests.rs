use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn txid(number: u64) -> Txid {
    Txid::new(number).unwrap()
}

fn started() -> Machine {
    let mut machine = Machine::new(Duration::from_secs(1), at(0));
    assert_eq!(machine.status().state, FollowState::Starting);
    assert_eq!(machine.status().lag(at(5)), None);
    assert_eq!(
        machine.on(&Event::Started { position: txid(7) }, at(1)),
        None
    );
    machine
}

fn hole() -> Error {
    Error::NonContiguous {
        have: txid(7),
        next: txid(9),
    }
}

#[test]
fn lag_counts_from_the_last_look_that_found_nothing_new() {
    let mut machine = started();
    machine.on(&Event::Nothing, at(2));
    assert_eq!(machine.status().lag(at(9)), Some(Duration::ZERO));
    machine.on(&Event::Found { newest: txid(9) }, at(5));
    assert_eq!(machine.status().state, FollowState::Applying);
    assert_eq!(machine.status().lag(at(9)), Some(Duration::from_secs(7)));
    assert_eq!(machine.pause(), Duration::ZERO);
    let applied = |to| Event::Applied {
        to: txid(to),
        captured: at(4),
    };
    machine.on(&applied(8), at(6));
    assert_eq!(machine.status().state, FollowState::Applying);
    assert_eq!(machine.pause(), Duration::ZERO);
    machine.on(&applied(9), at(7));
    assert_eq!(machine.status().state, FollowState::Current);
    assert_eq!(machine.status().since, at(7));
    assert_eq!(machine.status().captured, Some(at(4)));
    assert_eq!(machine.pause(), Duration::from_secs(1));
    machine.on(&Event::Stopped, at(8));
    assert_eq!(machine.status().state, FollowState::Stopped);
}

#[test]
fn trouble_is_told_at_once_and_then_every_half_minute() {
    let mut machine = started();
    machine.on(&Event::Nothing, at(2));
    let mut told = Vec::new();
    for second in 10..=100 {
        if let Some(report) = machine.on(&Event::Failed(&hole()), at(second)) {
            told.push((second, report));
        }
    }
    let trouble = |failures| Report::Trouble { failures };
    assert_eq!(
        told,
        [
            (10, trouble(1)),
            (40, trouble(31)),
            (70, trouble(61)),
            (100, trouble(91))
        ]
    );
    let status = machine.status();
    assert_eq!(status.state, FollowState::Behind(FollowCause::Hole));
    assert_eq!(status.since, at(10));
    assert_eq!(status.lag(at(100)), Some(Duration::from_secs(98)));
    assert!(status.error.as_ref().unwrap().contains("non-contiguous"));
    // Neither a look that tells nothing nor half of an apply ends it.
    assert_eq!(machine.on(&Event::Unknown, at(101)), None);
    assert_eq!(machine.status().failures, 91);
    machine.on(&Event::Found { newest: txid(20) }, at(102));
    let half = Event::Applied {
        to: txid(8),
        captured: at(1),
    };
    assert_eq!(machine.on(&half, at(102)), None);
    assert_eq!(machine.on(&Event::Failed(&hole()), at(103)), None);
    assert_eq!(machine.status().since, at(10));
    let end = machine.on(&Event::Nothing, at(110));
    let after = Duration::from_secs(100);
    assert_eq!(
        end,
        Some(Report::Recovered {
            failures: 92,
            after
        })
    );
    assert_eq!(machine.on(&Event::Nothing, at(111)), None);
    assert_eq!(machine.status().error, None);
    assert_eq!(
        machine.on(&Event::Failed(&hole()), at(112)),
        Some(trouble(1))
    );
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let mut machine = started();
    let mut pauses = Vec::new();
    for second in 0..8 {
        machine.on(&Event::Failed(&hole()), at(second));
        pauses.push(machine.pause().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    machine.on(&Event::Nothing, at(9));
    assert_eq!(machine.pause().as_secs(), 1);
    let mut rare = Machine::new(Duration::from_mins(2), at(0));
    rare.on(&Event::Failed(&hole()), at(1));
    rare.on(&Event::Failed(&hole()), at(2));
    assert_eq!(rare.pause(), Duration::from_mins(2));
}

#[test]
fn causes_say_where_to_look() {
    use litestream_storage as storage;
    let unreachable = storage::Error::new(storage::ErrorKind::Timeout, storage::Operation::List);
    let busy = FollowError::Held {
        path: "a.db".into(),
        seconds: 1.0,
    };
    let ahead = FollowError::Ahead {
        position: txid(9),
        newest: txid(2),
    };
    let missing = Error::MissingPage { pgno: 3, commit: 5 };
    let disk = Error::io(
        "write",
        "a.db".as_ref(),
        std::io::ErrorKind::StorageFull.into(),
    );
    for (error, cause) in [
        (Error::Storage(unreachable), FollowCause::Unreachable),
        (hole(), FollowCause::Hole),
        (Error::Plan(Box::new(hole())), FollowCause::Hole),
        (Error::Follow(busy), FollowCause::Held),
        (Error::Follow(ahead), FollowCause::Restarted),
        (missing, FollowCause::Damaged),
        (disk, FollowCause::Local),
    ] {
        assert_eq!(FollowCause::of(&error), cause, "{error}");
    }
}
