//! Random histories, replicated and restored by this program and by the real v0.5.17 in every
//! combination: each state that was recorded comes back, page for page the same from both.
//!
//! Seeds are fixed; `LITESTREAM_TEST_SEEDS=N` adds N more to every test, and
//! `LITESTREAM_TEST_SEED=S` runs that one alone, to look into a failure.
//!
//! The reference is never told to sync while it may initialise or checkpoint: it ties its long
//! read transaction to the request then, and loses commits when the request is over.

mod following;
mod judge;
#[path = "../shared/place.rs"]
mod place;
mod scene;
mod trail;

use testkit::program::{Daemon, Program, replica_files};
use testkit::reference::{Version, reference_or_skip};

use self::judge::Judge;
use self::place::{Place, Settings, ours};
use self::scene::{Pace, Scene};
use self::trail::Trail;

/// The fixed seeds and those that the environment adds.
fn seeds(fixed: &[u64]) -> Vec<u64> {
    let given = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(
            value
                .parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    if let Some(only) = given("LITESTREAM_TEST_SEED") {
        return vec![only];
    }
    let more = given("LITESTREAM_TEST_SEEDS").unwrap_or(0);
    let first = fixed.first().copied().unwrap_or(0);
    let added = (0..more).map(|number| 1000 * (number + 1) + first);
    fixed.iter().copied().chain(added).collect()
}

/// We replicate a history; both restore it.
fn we_replicate(fixed: &[u64]) {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    for seed in seeds(fixed) {
        let place = Place::new();
        let scene = Scene::of(seed);
        let mut writer = scene.writer(&place.db());
        let mut trail = Trail::new(seed);
        // The application is there before the daemon.
        trail.steps(&mut writer, 5);
        place.configure(&scene.settings());
        let mut daemon = place.start(&ours());
        trail.follow(&place, &ours(), &mut writer, 70);
        scene.settle(&place, &mut daemon);
        daemon.stop(trail::LONG).expect("a clean end");
        let judge = Judge::new(&place, &reference, &scene, &trail);
        judge.latest();
        judge.marks();
        judge.times();
        judge.listings();
    }
}

#[test]
fn our_replicas_restore_alike_even_seeds() {
    we_replicate(&[0, 2, 4, 6]);
}

#[test]
fn our_replicas_restore_alike_odd_seeds() {
    we_replicate(&[1, 3, 5, 7]);
}

/// The reference replicates, with marks but without checkpoints of its own.
#[test]
fn replicas_of_the_reference_restore_alike() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    for seed in seeds(&[10, 11, 12]) {
        let place = Place::new();
        let scene = Scene::of(seed);
        let mut writer = scene.writer(&place.db());
        let mut trail = Trail::new(seed);
        trail.steps(&mut writer, 5);
        let mut daemon = start_reference(&place, &scene.settings_without_checkpoints(), &reference);
        trail.follow(&place, &reference, &mut writer, 70);
        scene.settle(&place, &mut daemon);
        daemon.stop(trail::LONG).expect("a clean end");
        let judge = Judge::new(&place, &reference, &scene, &trail);
        judge.latest();
        judge.marks();
        judge.times();
        judge.listings();
    }
}

/// The reference replicates and checkpoints as it likes, and is not told anything.
#[test]
fn replicas_of_the_reference_with_checkpoints_restore_alike() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    for seed in seeds(&[30, 31, 33, 34]) {
        let place = Place::new();
        let scene = Scene::of(seed);
        let mut writer = scene.writer(&place.db());
        let mut trail = Trail::new(seed);
        trail.steps(&mut writer, 5);
        let mut daemon = start_reference(&place, &scene.settings(), &reference);
        trail.steps(&mut writer, 120);
        scene.settle(&place, &mut daemon);
        daemon.stop(trail::LONG).expect("a clean end");
        let judge = Judge::new(&place, &reference, &scene, &trail);
        judge.latest();
        judge.listings();
    }
}

fn start_reference(place: &Place, settings: &Settings, reference: &Program) -> Daemon {
    place.configure(settings);
    let before = replica_files(&place.replica());
    let mut daemon = place.start(reference);
    // Its first look at the database is its own, not that of a request; one that is stopped
    // before it has looked replicates nothing.
    daemon
        .wait_while_alive(trail::LONG, "the first file of the reference", |_| {
            Ok(replica_files(&place.replica()) != before)
        })
        .expect("the reference begins");
    daemon
}

/// The reference begins, we go on with its state, and it takes over again; before we come, the
/// application goes on alone, and in every other seed it ends and returns between turns.
fn takes_over(reference: &Program, seed: u64) {
    let place = Place::new();
    let scene = Scene::of(seed);
    let mut writer = scene.writer(&place.db());
    let mut trail = Trail::new(seed);
    trail.steps(&mut writer, 5);
    for turn in 0..4 {
        let is_ours = turn % 2 == 1;
        let program = if is_ours { &ours() } else { reference };
        // Something for the first look to find.
        trail.steps(&mut writer, 3);
        let mut daemon = if is_ours {
            place.configure(&scene.settings());
            place.start(program)
        } else {
            start_reference(&place, &scene.settings_without_checkpoints(), program)
        };
        trail.follow(&place, program, &mut writer, 25);
        daemon.stop(trail::LONG).expect("a clean end");
        if !is_ours {
            trail.steps(&mut writer, 6);
        }
        if seed % 2 == 1 {
            writer.quit().expect("the application ends");
            writer = scene.writer(&place.db());
        }
    }
    let judge = Judge::new(&place, reference, &scene, &trail);
    judge.latest();
    judge.marks();
    judge.listings();
}

#[test]
fn databases_and_replicas_change_hands() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    for seed in seeds(&[20, 21, 23]) {
        takes_over(&reference, seed);
    }
}

#[test]
fn every_pace_is_among_the_fixed_seeds() {
    let paces: Vec<Pace> = (0..8).map(|seed| Scene::of(seed).pace()).collect();
    for pace in [Pace::Default, Pace::Brisk, Pace::Forgetful] {
        assert!(paces.contains(&pace), "{pace:?}");
    }
}
