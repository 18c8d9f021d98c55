//! Whose socket listens on a port, read from the kernel's tables.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// State of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

/// Whether process `pid` has a socket that listens on TCP `port`.
///
/// To connect would not tell: another process may have taken the port in the meantime.
pub(super) fn owns(pid: u32, port: u16) -> Result<bool> {
    let sockets = listening(port)?;
    if sockets.is_empty() {
        return Ok(false);
    }
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        // It is ending or has ended: then it owns nothing.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(false),
        Err(error) => return Err(error).context(format!("cannot read {}", folder.display())),
    };
    let mut links = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.any(|link| {
        sockets
            .iter()
            .any(|socket| link.as_os_str() == socket.as_str())
    }))
}

/// The sockets that listen on `port`, as links of open files name them.
fn listening(port: u16) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            Ok(text) => text,
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(format!("cannot read {table}")),
        };
        found.extend(text.lines().skip(1).filter_map(|line| socket(line, port)));
    }
    Ok(found)
}

/// `socket:[INODE]` if this line of the table is about a socket that listens on `port`.
fn socket(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(hex, 16).ok()? == port;
    listens.then_some(())?;
    Some(format!("socket:[{}]", fields.get(9)?))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::owns;

    #[test]
    fn a_listening_socket_is_found_with_its_owner_only() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(owns(std::process::id(), port).unwrap());
        let mut other = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let theirs = owns(other.id(), port);
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!theirs.unwrap(), "another process owns nothing");
        assert!(!owns(other.id(), port).unwrap(), "a process that ended");
    }
}
