//! Starting servers: ports, ends, skips.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use super::{Moto, RcloneS3, Server, absence, ask};

/// A server of a few lines that every machine with the tests has.
fn python(port: u16) -> Command {
    let mut command = Command::new("python3");
    let script = "import http.server, sys\n\
                  http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])),\n\
                  http.server.SimpleHTTPRequestHandler).serve_forever()";
    command.args(["-c", script, &port.to_string()]);
    command
}

#[test]
fn a_taken_port_is_answered_by_another_one() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let theirs = taken.local_addr().unwrap().port();
    let mut ports = Vec::new();
    let server = Server::start("python", |port, folder| {
        ports.push(port);
        let port = if ports.len() == 1 { theirs } else { port };
        let mut command = python(port);
        command.current_dir(folder);
        Ok(command)
    });
    let server = server.unwrap();
    assert_eq!(ports.len(), 2, "the first ended");
    assert_eq!(ports.last(), Some(&server.port()));
    std::fs::write(server.folder().join("file"), "text").unwrap();
    let answer = ask(&server.address(), "GET", "/file", &[], b"").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "text"));
    let missing = ask(&server.address(), "GET", "/none", &[], b"").unwrap();
    assert_eq!(
        missing.success().unwrap_err().to_string()[..10],
        *"status 404"
    );
}

#[test]
fn a_server_that_never_starts_fails_with_its_log() {
    let error = Server::start("broken", |_, _| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo what is wrong >&2; exit 3"]);
        Ok(command)
    });
    let text = format!("{:#}", error.unwrap_err());
    assert!(text.contains("broken ended 8 times"), "{text}");
    assert!(text.contains("what is wrong"), "{text}");
}

#[test]
fn the_banner_tells_what_to_do() {
    let text = absence("moto", Path::new("cache/servers/moto"), "SKIPPED");
    assert!(text.contains("scripts/install-servers.sh moto"), "{text}");
}

#[test]
fn moto_starts_with_a_bucket() {
    let Some(mut moto) = Moto::start_or_skip("bkt") else {
        return;
    };
    let address = moto.server().address();
    let list = ask(&address, "GET", "/bkt?list-type=2", &[], b"").unwrap();
    assert!(list.body.contains("<KeyCount>0</KeyCount>"), "{list:?}");
}

#[test]
fn rclone_starts_and_wants_signatures() {
    let Some(mut rclone) = RcloneS3::start_or_skip("bkt") else {
        return;
    };
    let address = rclone.server().address();
    let unsigned = ask(&address, "GET", "/bkt?list-type=2", &[], b"").unwrap();
    assert_eq!(unsigned.status, 400, "{unsigned:?}");
    assert!(unsigned.body.contains("<Code>"), "{unsigned:?}");
}
