//! SIGINT and SIGTERM: the first asks for an orderly end, the second for a quick one.

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// The handlers; everything but these two signals keeps its default action.
pub(in crate::commands) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    last: Signal,
}

impl Signals {
    pub(in crate::commands) fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            last: Signal::TERM,
        })
    }

    /// Waits for the first signal and says so.
    pub(super) async fn wait(&mut self) {
        self.wait_again().await;
        let name = if self.last == Signal::INT {
            "interrupt"
        } else {
            "terminated"
        };
        tracing::info!(signal = name, "signal received, litestream shutting down");
    }

    /// Waits for another signal.
    pub(in crate::commands) async fn wait_again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => self.last = Signal::INT,
            _ = self.terminate.recv() => self.last = Signal::TERM,
        }
    }

    /// The signal that came last.
    pub(super) fn last(&self) -> Signal {
        self.last
    }
}
