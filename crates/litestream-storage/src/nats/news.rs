//! What the client says about its connection while it mends it.
//!
//! Invariant: an error that only says that nobody answered says why, when the client knows: a
//! server that refuses the login, or the loss of the connection.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Event;
use futures_util::future::{Ready, ready};

use crate::{Error, ErrorKind};

/// What was heard last. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct News(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    is_away: bool,
    last: Option<String>,
}

impl News {
    /// To be called by the client with each event.
    pub(super) fn listener(&self) -> impl Fn(Event) -> Ready<()> + Send + Sync + 'static + use<> {
        let news = self.clone();
        move |event| {
            let mut heard = news.0.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Connected => *heard = Heard::default(),
                Event::Disconnected => {
                    heard.is_away = true;
                    // What came before says more.
                    heard.last.get_or_insert_with(|| "lost".to_owned());
                }
                Event::ServerError(error) => heard.last = Some(error.to_string()),
                Event::ClientError(error) => heard.last = Some(error.to_string()),
                Event::LameDuckMode | Event::Draining | Event::Closed | Event::SlowConsumer(_) => {}
            }
            ready(())
        }
    }

    /// The error with the reason for which nobody answers, if there is one.
    pub(super) fn explain(&self, error: Error) -> Error {
        let is_silent = matches!(
            error.kind(),
            ErrorKind::Timeout | ErrorKind::Unavailable { .. } | ErrorKind::Io
        );
        if !is_silent {
            return error;
        }
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, what) = if heard.is_away {
            (heard.last.clone(), "connection")
        } else {
            // A refusal on a connection that stays is the reason of one silence only.
            (heard.last.take(), "server")
        };
        let Some(last) = last else { return error };
        let lower = last.to_ascii_lowercase();
        let refused = ["authorization", "authentication", "permissions"];
        let kind = if refused.iter().any(|word| lower.contains(word)) {
            ErrorKind::Denied
        } else {
            error.kind()
        };
        Error::new(kind, error.operation())
            .with_detail(format!("{what}: {last}"))
            .with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use async_nats::{ClientError, Event};

    use super::News;
    use crate::{Error, ErrorKind, Operation};

    #[test]
    fn silence_is_explained_until_the_connection_is_back() {
        let news = News::default();
        let hear = news.listener();
        let silent = || Error::new(ErrorKind::Timeout, Operation::Put);
        assert_eq!(news.explain(silent()).to_string(), silent().to_string());

        hear(Event::Disconnected).into_inner();
        let error = news.explain(silent());
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("connection: lost"), "{error}");

        let refused = ClientError::Other("authorization violation".to_owned());
        hear(Event::ClientError(refused)).into_inner();
        hear(Event::Disconnected).into_inner();
        let error = news.explain(silent());
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        // An answer is an answer.
        let missing = Error::new(ErrorKind::NotFound, Operation::Head);
        assert_eq!(news.explain(missing).kind(), ErrorKind::NotFound);

        hear(Event::Connected).into_inner();
        assert_eq!(news.explain(silent()).kind(), ErrorKind::Timeout);

        // A refusal on a connection that stays.
        let refused = ClientError::Other("permissions violation for publish".to_owned());
        hear(Event::ClientError(refused)).into_inner();
        assert_eq!(news.explain(silent()).kind(), ErrorKind::Denied);
        assert_eq!(news.explain(silent()).kind(), ErrorKind::Timeout);
    }
}
