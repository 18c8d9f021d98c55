use super::*;

fn txid(number: u64) -> Txid {
    Txid::new(number).unwrap()
}

/// Files as level, first, last and size.
fn chosen(files: &[(u8, u64, u64, u64)], position: u64) -> Vec<(u8, u64, u64)> {
    let files = files.iter().map(|(level, min, max, size)| RemoteFile {
        level: Level::new(*level).unwrap(),
        range: TxidRange::new(txid(*min), txid(*max)).unwrap(),
        size: *size,
        created: Timestamp::from_millis(0),
    });
    let chain = chain(files, txid(position)).into_iter();
    chain
        .map(|file| (file.level.get(), file.range.min.get(), file.range.max.get()))
        .collect()
}

/// The scenarios that the reference's tests fix.
#[test]
fn gaps_of_level_zero_are_filled_from_above() {
    let files = [(1, 100, 200, 500), (0, 201, 201, 500)];
    assert_eq!(chosen(&files, 150), [(1, 100, 200), (0, 201, 201)]);
    assert_eq!(chosen(&[(1, 11, 12, 500)], 10), [(1, 11, 12)]);
    // Only a snapshot leads on: the reference stalls.
    let files = [(0, 1, 1, 500), (9, 1, 20, 500), (0, 21, 21, 500)];
    assert_eq!(chosen(&files, 10), [(9, 1, 20), (0, 21, 21)]);
}

#[test]
fn the_cheapest_way_is_taken() {
    let large = 10 << 20;
    // One transaction, or everything again.
    let files = [(0, 8, 8, 900), (3, 1, 8, large), (9, 1, 8, large)];
    assert_eq!(chosen(&files, 7), [(0, 8, 8)]);
    // Many small files cost more requests than one that is not much larger.
    let raw = (8..100).map(|number| (0, number, number, 900));
    let mut files: Vec<_> = raw.collect();
    files.push((1, 8, 99, 60_000));
    assert_eq!(chosen(&files, 7), [(1, 8, 99)]);
    // A large one in between is gone round, and overlap is fine.
    let files = [
        (0, 2, 2, 900),
        (0, 3, 3, 900),
        (1, 2, 4, large),
        (0, 4, 4, 900),
        (1, 4, 6, 900),
        (2, 1, 6, large),
    ];
    assert_eq!(chosen(&files, 1), [(0, 2, 2), (0, 3, 3), (1, 4, 6)]);
}

#[test]
fn what_does_not_lead_on_is_no_way() {
    assert_eq!(chosen(&[], 1), []);
    assert_eq!(chosen(&[(0, 1, 1, 900), (9, 1, 1, 900)], 1), []);
    assert_eq!(chosen(&[(0, 3, 3, 900)], 1), []);
    // As far as it goes.
    assert_eq!(chosen(&[(0, 2, 2, 900), (0, 4, 4, 900)], 1), [(0, 2, 2)]);
    let last = u64::MAX;
    assert_eq!(chosen(&[(0, last, last, 900)], last - 1), [(0, last, last)]);
}
