//! The client of the daemon's control socket.

mod http;
mod response;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::de::DeserializeOwned;

pub use http::{ExchangeError, Request};
pub use response::{DatabaseEntry, Details, Listing, StateChange, Synced};

use crate::flags::{Flag, Parsed};

/// The control socket as the flags describe it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Path of the socket, as typed.
    pub socket: String,
    /// Longest wait for connection and answer together.
    pub limit: Limit,
}

/// How long a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// For ever.
    None,
    /// This long.
    Within(Duration),
    /// The time is over before it begins: a negative timeout.
    Over,
}

/// The daemon could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There was no answer.
    #[error("failed to connect to control socket: {method} \"http://localhost{path}\": {cause}")]
    Exchange {
        /// `Get` or `Post`.
        method: &'static str,
        /// Path of the endpoint.
        path: &'static str,
        /// Why.
        cause: ExchangeError,
    },
    /// The daemon answered with an error.
    #[error("{command} failed: {message}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The daemon's text.
        message: String,
    },
    /// The answer cannot be read.
    #[error("failed to parse response: {0}")]
    Response(#[from] serde_json::Error),
}

impl Client {
    /// The client that the flags `-socket` and `-timeout` describe.
    pub fn from_flags(parsed: &Parsed, socket: &Flag, timeout: &Flag) -> Self {
        let limit = match parsed.int(timeout) {
            0 => Limit::None,
            seconds => u64::try_from(seconds).map_or(Limit::Over, |seconds| {
                Limit::Within(Duration::from_secs(seconds))
            }),
        };
        Self {
            socket: parsed.text(socket).to_owned(),
            limit,
        }
    }

    /// Sends `body` (or asks, without one) and reads the answer of a successful command.
    pub fn call<T: DeserializeOwned + Default>(
        &self,
        command: &'static str,
        path: &'static str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, ControlError> {
        let request = Request {
            path,
            body: body.map(serde_json::Value::to_string),
        };
        let method = if body.is_some() { "Post" } else { "Get" };
        let response = http::exchange(&self.socket, self.limit, request).map_err(|cause| {
            ControlError::Exchange {
                method,
                path,
                cause,
            }
        })?;
        if response.status != 200 {
            return Err(ControlError::Refused {
                command,
                message: refusal(&response.body),
            });
        }
        // `null` stands for an answer without any value.
        Ok(serde_json::from_slice::<Option<T>>(&response.body)?.unwrap_or_default())
    }
}

/// The text of a refusal: the field `error`, or the body as it is.
fn refusal(body: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| body.get("error")?.as_str().map(str::to_owned))
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}
