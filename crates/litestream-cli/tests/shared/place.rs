//! A folder of its own with a database, a file replica, a configuration and a control socket.
//!
//! Invariant: two places share nothing, so tests can run side by side; the daemons started in a
//! place die with the test.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::process::SocketPath;
use testkit::program::{Daemon, Program, Start, write_config};

/// See the module.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    socket: SocketPath,
}

/// Settings beside paths and socket, as members of JSON objects.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// At the top of the configuration.
    pub(crate) top: Value,
    /// Of the database.
    pub(crate) db: Value,
    /// Of the replica.
    pub(crate) replica: Value,
}

impl Default for Settings {
    /// All defaults.
    fn default() -> Self {
        Self {
            top: json!({}),
            db: json!({}),
            replica: json!({}),
        }
    }
}

/// The program under test.
pub(crate) fn ours() -> Program {
    Program::new(env!("CARGO_BIN_EXE_litestream"))
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("temporary folder"),
            socket: SocketPath::new().expect("path for a socket"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.path("db")
    }

    pub(crate) fn replica(&self) -> PathBuf {
        self.path("replica")
    }

    pub(crate) fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Writes the configuration of one database with one replica and tells where it is.
    pub(crate) fn configure(&self, settings: &Settings) -> PathBuf {
        let mut replica = json!({"type": "file", "path": self.replica()});
        add(&mut replica, &settings.replica);
        let mut db = json!({"path": self.db(), "replica": replica});
        add(&mut db, &settings.db);
        let mut top = json!({"socket": {"enabled": true, "path": self.socket()}, "dbs": [db]});
        add(&mut top, &settings.top);
        let file = self.path("litestream.yml");
        write_config(&file, &top).expect("configuration is written");
        file
    }

    /// Starts `program` with the configuration that was written last, up to its control socket.
    pub(crate) fn start(&self, program: &Program) -> Daemon {
        let config = Start::Config(self.path("litestream.yml"));
        let mut daemon = program.daemon(&config).expect("daemon starts");
        daemon.wait_socket(self.socket()).expect("control socket");
        daemon
    }
}

fn add(object: &mut Value, more: &Value) {
    let (Value::Object(object), Value::Object(more)) = (object, more) else {
        panic!("settings are JSON objects");
    };
    object.extend(more.clone());
}
