//! From facts about a replica to its state: the one place where the rules are.

use std::time::Duration;

use ltx::Txid;

use super::{Lag, State, StatusSettings};

/// An error that attempts end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) text: String,
    /// How long there has been nothing but errors.
    pub(crate) lasts: Duration,
    /// It does not pass by itself.
    pub(crate) permanent: bool,
}

/// What is known of a replica at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) enabled: bool,
    pub(crate) position: Option<Txid>,
    pub(crate) acknowledged: Option<Txid>,
    pub(crate) lag: Lag,
    /// How long the normal pace of captures and uploads lets a commit wait.
    pub(crate) pace: Duration,
    pub(crate) capture: Option<Trouble>,
    pub(crate) upload: Option<Trouble>,
    /// How long a capture has been at work, when it is at work.
    pub(crate) capturing: Option<Duration>,
}

/// The state, and the cause where there is something to say.
pub(crate) fn assess(facts: &Facts, settings: StatusSettings) -> (State, Option<String>) {
    if !facts.enabled {
        return (State::Disabled, None);
    }
    let troubles = [("capture", &facts.capture), ("upload", &facts.upload)];
    let error = troubles.iter().find_map(|(step, trouble)| {
        let trouble = trouble.as_ref()?;
        let failed = trouble.permanent || trouble.lasts >= settings.failed_after;
        failed.then(|| format!("{step}: {}", trouble.text))
    });
    if error.is_some() {
        return (State::Failed, error);
    }
    let error = troubles.iter().find_map(|(step, trouble)| {
        let trouble = trouble.as_ref()?;
        Some(format!("{step}: {}", trouble.text))
    });
    if facts.lag.time >= settings.behind_after {
        return (
            State::Behind,
            Some(error.unwrap_or_else(|| waiting_for(facts))),
        );
    }
    if error.is_some() {
        return (State::CatchingUp, error);
    }
    if facts.position.is_none() {
        return (
            State::CatchingUp,
            Some("waits for the database to have content in WAL mode".to_owned()),
        );
    }
    if facts.acknowledged.is_none() || facts.lag.time > facts.pace {
        return (State::CatchingUp, Some(waiting_for(facts)));
    }
    (State::Replicating, None)
}

fn waiting_for(facts: &Facts) -> String {
    if let Some(time) = facts.capturing.filter(|time| *time > facts.pace) {
        return format!("a capture has been at work for {} s", time.as_secs());
    }
    if facts.position.is_some() && facts.position <= facts.acknowledged {
        return "commits wait to be captured".to_owned();
    }
    "captured transactions wait to be uploaded".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn healthy() -> Facts {
        Facts {
            enabled: true,
            position: Some(Txid::FIRST),
            acknowledged: Some(Txid::FIRST),
            pace: SECOND * 5,
            ..Facts::default()
        }
    }

    fn trouble(lasts: Duration, permanent: bool) -> Trouble {
        Trouble {
            text: "no route".to_owned(),
            lasts,
            permanent,
        }
    }

    fn state(facts: &Facts) -> (State, Option<String>) {
        assess(facts, StatusSettings::default())
    }

    #[test]
    fn what_is_up_to_date_replicates() {
        assert_eq!(state(&healthy()), (State::Replicating, None));
        let mut facts = healthy();
        facts.lag.time = SECOND * 5;
        assert_eq!(state(&facts), (State::Replicating, None));
        facts.enabled = false;
        assert_eq!(state(&facts), (State::Disabled, None));
    }

    #[test]
    fn what_waits_catches_up_and_then_is_behind() {
        let mut facts = healthy();
        facts.acknowledged = None;
        let expected = "captured transactions wait to be uploaded".to_owned();
        assert_eq!(state(&facts), (State::CatchingUp, Some(expected.clone())));
        facts.lag.time = SECOND * 60;
        assert_eq!(state(&facts), (State::Behind, Some(expected)));
        facts.acknowledged = Some(Txid::FIRST);
        facts.capturing = Some(SECOND * 70);
        let expected = "a capture has been at work for 70 s".to_owned();
        assert_eq!(state(&facts), (State::Behind, Some(expected)));
        facts.capturing = None;
        let expected = "commits wait to be captured".to_owned();
        assert_eq!(state(&facts), (State::Behind, Some(expected)));
        facts = healthy();
        facts.position = None;
        assert_eq!(state(&facts).0, State::CatchingUp);
    }

    #[test]
    fn what_persists_has_failed() {
        let mut facts = healthy();
        facts.upload = Some(trouble(SECOND * 29, false));
        let expected = Some("upload: no route".to_owned());
        assert_eq!(state(&facts), (State::CatchingUp, expected.clone()));
        facts.upload = Some(trouble(SECOND * 30, false));
        assert_eq!(state(&facts), (State::Failed, expected.clone()));
        facts.upload = Some(trouble(Duration::ZERO, true));
        assert_eq!(state(&facts), (State::Failed, expected));
        facts.upload = None;
        facts.capture = Some(trouble(SECOND * 31, false));
        let expected = Some("capture: no route".to_owned());
        assert_eq!(state(&facts), (State::Failed, expected.clone()));
        // The lag says more than an error that may pass.
        facts.capture = Some(trouble(SECOND, false));
        facts.lag.time = SECOND * 61;
        assert_eq!(state(&facts), (State::Behind, expected));
    }
}
