//! Flags that several commands share.

use super::{Flag, Kind};

/// `-config PATH`.
pub const CONFIG: Flag = Flag {
    name: "config",
    kind: Kind::Text(""),
    value: "PATH",
    doc: &["Configuration file to read.", "Defaults to {config}"],
};

/// `-no-expand-env`.
pub const NO_EXPAND_ENV: Flag = Flag {
    name: "no-expand-env",
    kind: Kind::Bool,
    value: "",
    doc: &["Takes $NAME in the configuration file literally."],
};

/// `-json`.
pub const JSON: Flag = Flag {
    name: "json",
    kind: Kind::Bool,
    value: "",
    doc: &["Prints JSON instead of text."],
};

/// `-socket PATH`.
pub const SOCKET: Flag = Flag {
    name: "socket",
    kind: Kind::Text("/var/run/litestream.sock"),
    value: "PATH",
    doc: &[
        "Control socket of the daemon.",
        "Defaults to /var/run/litestream.sock",
    ],
};

/// `-live` of `status`.
pub const LIVE: Flag = Flag {
    name: "live",
    kind: Kind::Bool,
    value: "",
    doc: &["Asks the running daemon for the state and lag of each replica."],
};

/// `-timeout SECONDS` of commands that only ask.
pub const TIMEOUT_10: Flag = Flag {
    name: "timeout",
    kind: Kind::Int(10),
    value: "SECONDS",
    doc: &[
        "Longest wait for the daemon's answer, in seconds.",
        "Defaults to 10",
    ],
};

/// `-timeout SECONDS` of commands that make the daemon work.
pub const TIMEOUT_30: Flag = Flag {
    name: "timeout",
    kind: Kind::Int(30),
    value: "SECONDS",
    doc: &[
        "Longest wait for the daemon's answer, in seconds.",
        "Defaults to 30",
    ],
};
