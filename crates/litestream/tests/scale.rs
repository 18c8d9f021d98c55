//! Many databases in one store: lives, fairness, descriptors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scale {
    mod descriptors;
    mod fairness;
    mod hanging;
    mod lives;
    mod scene;
}
