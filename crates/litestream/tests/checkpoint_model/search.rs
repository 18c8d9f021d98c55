//! The enumerator: breadth first over all reachable states, with shortest traces and reachability.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::config::Config;
use crate::invariant::{self, Broken, Scope};
use crate::state::{CkptAt, EngineAt, NONE, State};
use crate::{app, ckpt, engine};

/// How a step may be used in an argument about progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Somebody goes on with what is under way, or the engine does its work.
    Fair,
    /// The application takes up something new, or an accident happens.
    NewWork,
    /// Somebody stops waiting and fails.
    GiveUp,
}

/// The steps that are possible in one state.
#[derive(Default)]
pub(crate) struct Steps(Vec<(Kind, &'static str, State)>);

impl Steps {
    pub(crate) fn fair(&mut self, label: &'static str, next: State) {
        self.0.push((Kind::Fair, label, next));
    }

    pub(crate) fn new_work(&mut self, label: &'static str, next: State) {
        self.0.push((Kind::NewWork, label, next));
    }

    pub(crate) fn give_up(&mut self, label: &'static str, next: State) {
        self.0.push((Kind::GiveUp, label, next));
    }

    /// The step to take where one actor runs alone: go on if possible, else give up.
    pub(crate) fn alone(&self) -> Option<(State, bool)> {
        let of = |kind: Kind| self.0.iter().find(|(is, ..)| *is == kind);
        of(Kind::Fair)
            .map(|(_, _, next)| (*next, false))
            .or_else(|| of(Kind::GiveUp).map(|(_, _, next)| (*next, true)))
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut State> {
        self.0.last_mut().map(|(_, _, next)| next)
    }

    pub(crate) fn first_fair(&self) -> Option<State> {
        self.0
            .iter()
            .find(|(kind, ..)| *kind == Kind::Fair)
            .map(|(_, _, next)| *next)
    }
}

fn all_steps(state: &State, config: &Config, out: &mut Steps) {
    out.0.clear();
    engine::steps(state, config, out);
    app::steps(state, config, out);
    ckpt::steps(state, config, out);
}

/// A broken invariant with the shortest way there.
pub(crate) struct Violation {
    pub(crate) broken: Broken,
    pub(crate) trace: Vec<&'static str>,
    pub(crate) state: State,
}

/// What was found.
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) violation: Option<Violation>,
    /// States from which a goal cannot be reached by fair steps, per goal, with a sample.
    pub(crate) stuck: Vec<(&'static str, usize, State)>,
}

/// Every reachable state of `config`, checked for the invariants of `scope`; with `progress` also for
/// the goals.
pub(crate) fn explore(config: &Config, scope: Scope, progress: bool) -> Outcome {
    let mut states = vec![State::new(config)];
    let mut parents = vec![u32::MAX];
    let mut index = Index::default();
    index.intern(&states[0], 0, &[]);
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let (mut at, mut steps) = (0, 0);
    let mut out = Steps::default();
    while at < states.len() {
        let state = states[at];
        if let Some(broken) = invariant::check(&state, config, scope) {
            let violation = Violation {
                broken,
                trace: trace(&states, &parents, at, config),
                state,
            };
            let found = Some(violation);
            return Outcome {
                states: states.len(),
                steps,
                violation: found,
                stuck: Vec::new(),
            };
        }
        all_steps(&state, config, &mut out);
        steps += out.0.len();
        for (kind, _, next) in &out.0 {
            let fresh = u32::try_from(states.len()).expect("bounded by memory long before");
            let id = index.intern(next, fresh, &states);
            if id == fresh {
                states.push(*next);
                parents.push(at as u32);
            }
            if progress && *kind == Kind::Fair && id != at as u32 {
                edges.push((id, at as u32));
            }
        }
        at += 1;
    }
    let stuck = if progress {
        unreachable_goals(&states, edges, config)
    } else {
        Vec::new()
    };
    Outcome {
        states: states.len(),
        steps,
        violation: None,
        stuck,
    }
}

/// Labels of the steps from the first state to `at`.
fn trace(states: &[State], parents: &[u32], mut at: usize, config: &Config) -> Vec<&'static str> {
    let mut labels = Vec::new();
    let mut out = Steps::default();
    while parents[at] != u32::MAX {
        let parent = parents[at] as usize;
        all_steps(&states[parent], config, &mut out);
        let step = out.0.iter().find(|(_, _, next)| *next == states[at]);
        labels.push(step.expect("the parent has this step").1);
        at = parent;
    }
    labels.reverse();
    labels
}

type Goal = (&'static str, fn(&State, &Config) -> bool);

/// What the engine and the application can always get to without new work of the application.
const GOALS: [Goal; 3] = [
    ("captured == committed", |state, _| {
        let engine = &state.engine;
        engine.at == EngineAt::Idle && engine.trusted && engine.position.seq == state.committed
    }),
    ("the next write restarts the WAL", |state, config| {
        let shm = &state.shm;
        // Without own checkpoints only the application's can bring this about.
        !config.own_checkpoint
            || (state.engine.at == EngineAt::Idle
                && shm.backfill == shm.header.mx
                && (shm.header.mx == 0 || state.are_slots_free(config)))
    }),
    ("no checkpoint of the application waits", |state, _| {
        state.ckpt.at == CkptAt::Idle && state.reader == NONE
    }),
];

/// For each goal: how many states cannot reach it by fair steps.
fn unreachable_goals(
    states: &[State],
    mut edges: Vec<(u32, u32)>,
    config: &Config,
) -> Vec<(&'static str, usize, State)> {
    edges.sort_unstable();
    let mut first = vec![0_u32; states.len() + 1];
    for &(to, _) in &edges {
        first[to as usize + 1] += 1;
    }
    for at in 0..states.len() {
        first[at + 1] += first[at];
    }
    let mut stuck = Vec::new();
    for (name, holds) in GOALS {
        let mut reached: Vec<bool> = states.iter().map(|state| holds(state, config)).collect();
        let mut work: Vec<usize> = (0..states.len()).filter(|&at| reached[at]).collect();
        while let Some(at) = work.pop() {
            for &(_, from) in &edges[first[at] as usize..first[at + 1] as usize] {
                if !reached[from as usize] {
                    reached[from as usize] = true;
                    work.push(from as usize);
                }
            }
        }
        let missing = reached.iter().filter(|&&is| !is).count();
        if let Some(sample) = reached.iter().position(|&is| !is) {
            stuck.push((name, missing, states[sample]));
        }
    }
    stuck
}

/// From states to their numbers, without keeping a second copy of them.
#[derive(Default)]
struct Index(HashMap<u64, u32, BuildHasherDefault<Mix>>);

impl Index {
    /// The number of `state`, which becomes `fresh` if it was never seen.
    fn intern(&mut self, state: &State, fresh: u32, states: &[State]) -> u32 {
        let mut mix = Mix::default();
        state.hash(&mut mix);
        let mut key = mix.finish();
        loop {
            let id = *self.0.entry(key).or_insert(fresh);
            if id == fresh || states[id as usize] == *state {
                return id;
            }
            key = key.wrapping_add(1); // Another state with this hash.
        }
    }
}

/// A fast hash for states, which are all small integers.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(9) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.add(value as u64);
    }
}
