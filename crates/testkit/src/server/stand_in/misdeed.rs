//! How a stand-in goes wrong.

use super::{Asked, Said};

/// What happens to a request instead of its answer.
#[derive(Debug, Clone)]
pub enum Misdeed {
    /// This answer, and no effect.
    Instead(Said),
    /// The effect, but this answer.
    After(Said),
    /// The connection is closed without an answer.
    Hangup {
        /// Whether the request had its effect.
        after_effect: bool,
    },
    /// No answer ever; the connection stays open until the client closes it.
    Silence {
        /// Whether the request had its effect.
        after_effect: bool,
    },
    /// The answer, but the connection is closed after so many bytes of its body.
    Cut(usize),
    /// The connection is closed after so many bytes of the body of the request, which has no
    /// effect.
    Deaf(usize),
    /// As [`Deaf`](Self::Deaf), but the service sees what came.
    Half(usize),
}

impl Misdeed {
    /// `503`, before any effect.
    pub fn overloaded() -> Self {
        Self::Instead(Said::status(503))
    }

    /// Most bytes of the body that are read.
    pub(super) fn most(&self) -> usize {
        match self {
            Self::Deaf(most) | Self::Half(most) => *most,
            _ => usize::MAX,
        }
    }
}

/// Says of each request, whose body has not come yet, whether and how it goes wrong.
pub type Rule = Box<dyn FnMut(&Asked) -> Option<Misdeed> + Send>;
