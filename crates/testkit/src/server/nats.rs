//! nats-server with `JetStream`, and the creation of object stores, which replicas never make.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Server, installed_or_skip};

/// How long the server may think about a request.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A server with `JetStream` in its folder.
#[derive(Debug)]
pub struct Nats(Server);

impl Nats {
    /// Starts one that lets everybody in; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip() -> Option<Self> {
        Self::start_with_or_skip("")
    }

    /// Starts one with more lines of configuration, `authorization { .. }` for example.
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_with_or_skip(more: &str) -> Option<Self> {
        let program = installed_or_skip("nats")?.join("nats-server");
        let started = Server::start("nats-server", |port, folder| {
            configure(port, folder, more)?;
            let mut command = Command::new(&program);
            command.arg("-c").arg(folder.join("config"));
            Ok(command)
        });
        Some(Self(started.unwrap_or_else(|error| panic!("{error:?}"))))
    }

    /// Gives it other lines of configuration, which it takes over soon.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reconfigure(&mut self, more: &str) -> Result<()> {
        configure(self.0.port(), self.0.folder(), more)?;
        self.0.child().signal(crate::process::Signal::HUP)
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.0.address())
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// Creates the object store `bucket`, as the tools of NATS do. `login` are members of the
    /// CONNECT message: `"user":"u","pass":"p"`.
    pub fn create_bucket(&self, bucket: &str, login: &str) -> Result<()> {
        self.create_limited_bucket(bucket, login, -1)
    }

    /// The same with room for so many bytes; -1 for all that there is.
    pub fn create_limited_bucket(&self, bucket: &str, login: &str, bytes: i64) -> Result<()> {
        let config =
            format!(r#"{{"name":"OBJ_{bucket}","subjects":["$O.{bucket}.C.>","$O.{bucket}.M.>"],"#)
                + r#""retention":"limits","max_consumers":-1,"max_msgs":-1,"max_age":0,"#
                + &format!(r#""max_bytes":{bytes},"#)
                + r#""max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"new","storage":"file","#
                + r#""num_replicas":1,"allow_rollup_hdrs":true,"allow_direct":true}"#;
        let subject = format!("$JS.API.STREAM.CREATE.OBJ_{bucket}");
        let answer = self.request(login, &subject, &config)?;
        ensure!(!answer.contains("\"error\""), "{subject}: {answer}");
        Ok(())
    }

    /// One request over a connection of its own.
    fn request(&self, login: &str, subject: &str, payload: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.0.address())?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let comma = if login.is_empty() { "" } else { "," };
        write!(
            stream,
            "CONNECT {{\"verbose\":false,\"pedantic\":false{comma}{login}}}\r\n\
             SUB answers 1\r\nPUB {subject} answers {}\r\n{payload}\r\n",
            payload.len()
        )?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            ensure!(
                reader.read_line(&mut line)? > 0,
                "{subject}: connection closed"
            );
            ensure!(!line.starts_with("-ERR"), "{subject}: {line}");
            if line.starts_with("PING") {
                stream.write_all(b"PONG\r\n")?;
            }
            if line.starts_with("MSG ") {
                let size = line.trim_end().rsplit(' ').next();
                let size: usize = size.context("MSG without size")?.parse()?;
                let mut answer = vec![0; size];
                reader.read_exact(&mut answer)?;
                return Ok(String::from_utf8(answer)?);
            }
        }
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.0
    }
}

fn configure(port: u16, folder: &Path, more: &str) -> Result<()> {
    let store = folder.join("jetstream").display().to_string();
    let text =
        format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?} }}\n{more}\n");
    Ok(fs::write(folder.join("config"), text)?)
}
