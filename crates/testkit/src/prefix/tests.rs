use super::*;

const PREFIX: Prefix = Prefix {
    seed: 11,
    accounts: 5,
    page_size: 1024,
};

/// A database after transactions 1..=last, changed by `damage`.
fn damaged(last: u64, damage: impl FnOnce(&mut Connection)) -> Result<u64, Damage> {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = PREFIX.create(&folder.path().join("db")).unwrap();
    for s in 1..=last {
        PREFIX.apply(&mut connection, s).unwrap();
    }
    damage(&mut connection);
    PREFIX.proves_of(&connection)
}

fn after_sql(last: u64, sql: &str) -> Result<u64, Damage> {
    damaged(last, |connection| connection.execute_batch(sql).unwrap())
}

#[test]
fn every_state_is_proved_and_every_next_transaction_changes_it() {
    for last in (0..13).chain([200]) {
        assert_eq!(damaged(last, |_| {}).unwrap(), last);
    }
}

#[test]
fn a_lost_transaction_is_found() {
    let lost = after_sql(12, "DELETE FROM log WHERE s = 7");
    assert!(
        matches!(
            lost,
            Err(Damage::Lost {
                s: 7,
                position: 7,
                found: 8
            })
        ),
        "{lost:?}"
    );
    let renumbered = after_sql(
        12,
        "DELETE FROM log WHERE s = 7; UPDATE log SET position = position - 1 WHERE s > 7",
    );
    assert!(
        matches!(renumbered, Err(Damage::Lost { s: 7, .. })),
        "{renumbered:?}"
    );
    // The last one: the log alone looks whole, the accounts do not.
    let newest = after_sql(12, "DELETE FROM log WHERE s = 12");
    assert!(
        matches!(
            newest,
            Err(Damage::Torn {
                last: 11,
                id: 2,
                s: 12,
                ..
            })
        ),
        "{newest:?}"
    );
}

#[test]
fn a_transaction_never_applied_is_found() {
    let skipped = damaged(12, |connection| PREFIX.apply(connection, 14).unwrap());
    assert!(
        matches!(
            skipped,
            Err(Damage::Lost {
                s: 13,
                found: 14,
                ..
            })
        ),
        "{skipped:?}"
    );
}

#[test]
fn a_doubled_transaction_is_found() {
    let doubled = damaged(12, |connection| PREFIX.apply(connection, 12).unwrap());
    let expected = matches!(
        doubled,
        Err(Damage::Doubled {
            s: 12,
            first: 12,
            second: 13
        })
    );
    assert!(expected, "{doubled:?}");
    let update = damaged(12, |connection| {
        let transaction = connection.transaction().unwrap();
        PREFIX.update(&transaction, 12).unwrap();
        transaction.commit().unwrap();
    });
    assert!(
        matches!(
            update,
            Err(Damage::Torn {
                id: 2,
                updates: 4,
                ..
            })
        ),
        "{update:?}"
    );
}

#[test]
fn a_torn_transaction_is_found() {
    for half in [Prefix::append, Prefix::update] {
        let torn = damaged(12, |connection| {
            let transaction = connection.transaction().unwrap();
            half(&PREFIX, &transaction, 13).unwrap();
            transaction.commit().unwrap();
        });
        assert!(matches!(torn, Err(Damage::Torn { id: 3, .. })), "{torn:?}");
    }
}

#[test]
fn reordered_transactions_are_found() {
    let swapped = "UPDATE log SET position = -position WHERE s IN (6, 7);
                   UPDATE log SET position = 13 + position WHERE position < 0";
    let swapped = after_sql(12, swapped);
    assert!(
        matches!(
            swapped,
            Err(Damage::Reordered {
                position: 6,
                found: 7
            })
        ),
        "{swapped:?}"
    );
    let late = damaged(0, |connection| {
        for s in [2, 1] {
            PREFIX.apply(connection, s).unwrap();
        }
    });
    assert!(
        matches!(
            late,
            Err(Damage::Reordered {
                position: 1,
                found: 2
            })
        ),
        "{late:?}"
    );
}

#[test]
fn altered_content_is_found() {
    let token = after_sql(12, "UPDATE log SET token = zeroblob(24) WHERE s = 3");
    assert!(
        matches!(
            token,
            Err(Damage::Altered {
                s: 3,
                column: "token"
            })
        ),
        "{token:?}"
    );
    let body = after_sql(12, "UPDATE log SET body = body || ' ' WHERE s = 4");
    assert!(
        matches!(
            body,
            Err(Damage::Altered {
                s: 4,
                column: "body"
            })
        ),
        "{body:?}"
    );
    let missing = after_sql(12, "DELETE FROM account WHERE id = 4");
    assert!(
        matches!(
            missing,
            Err(Damage::Accounts {
                found: 4,
                wanted: 5
            })
        ),
        "{missing:?}"
    );
    let added = after_sql(12, "INSERT INTO account VALUES(5, 0, 0, '')");
    assert!(
        matches!(
            added,
            Err(Damage::Accounts {
                found: 6,
                wanted: 5
            })
        ),
        "{added:?}"
    );
    let gone = after_sql(12, "DROP TABLE account");
    assert!(matches!(gone, Err(Damage::Unreadable(_))), "{gone:?}");
}

#[test]
fn pages_of_different_times_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut connection = PREFIX.create(&path).unwrap();
    for s in 1..=40 {
        PREFIX.apply(&mut connection, s).unwrap();
    }
    let early = crate::hash::image(&path, Access::Live).unwrap();
    for s in 41..=43 {
        PREFIX.apply(&mut connection, s).unwrap();
    }
    let late = crate::hash::image(&path, Access::Live).unwrap();
    assert_eq!(early.len(), late.len(), "the test wants equal sizes");
    let size = PREFIX.page_size as usize;
    let changed: Vec<usize> = (0..late.len() / size)
        .filter(|n| early.chunks(size).nth(*n) != late.chunks(size).nth(*n))
        .collect();
    assert!(changed.len() > 1);
    for number in changed {
        let mut mixed = late.clone();
        let page = number * size..(number + 1) * size;
        mixed[page.clone()].copy_from_slice(&early[page]);
        let copy = folder.path().join(format!("mixed-{number}"));
        std::fs::write(&copy, mixed).unwrap();
        // Page 1 of either time may be the same but for counters that carry no content.
        let proved = PREFIX.proves(&copy, Access::Rest);
        assert!(
            number == 0 || proved.is_err(),
            "page {number} of an earlier time: {proved:?}"
        );
    }
}

#[test]
fn a_wrong_seed_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut connection = PREFIX.create(&path).unwrap();
    PREFIX.apply(&mut connection, 1).unwrap();
    let other = Prefix { seed: 12, ..PREFIX };
    let error = other.proves(&path, Access::Live).unwrap_err();
    let damage = error.downcast_ref::<Damage>();
    assert!(
        matches!(damage, Some(Damage::Altered { s: 1, .. })),
        "{error:#}"
    );
}
