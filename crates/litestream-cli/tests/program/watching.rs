//! What a running daemon shows: metrics, readiness, the state of each replica.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use testkit::process::wait_for;
use testkit::program::Daemon;

use super::place::{Place, Settings, ours};
use super::{Application, LONG};

/// Where the metrics are, as the daemon's log says.
fn address(daemon: &Daemon) -> String {
    let log = daemon.log().expect("log");
    let (_, rest) = log.split_once("url=http://").expect("an address");
    let (address, _) = rest.split_once("/metrics").expect("a path");
    address.to_owned()
}

/// Status line with headers, and body.
fn get(address: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LONG)).expect("a limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the request goes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.expect("an end of the headers");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head, answer[end + 4..].to_vec())
}

fn scrape(address: &str) -> String {
    let (head, body) = get(address, "/metrics", "");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    String::from_utf8(body).expect("UTF-8")
}

fn value<'a>(text: &'a str, series: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.trim()
}

fn number(text: &str, series: &str) -> f64 {
    value(text, series).parse().expect("a number")
}

fn live(place: &Place) -> Value {
    ours().live(place.socket()).expect("status")
}

fn until(place: &Place, state: &str) -> Value {
    wait_for(LONG, state, || {
        let status = live(place)[0]["replicas"][0].clone();
        (status["state"] == state).then_some(status)
    })
    .expect("the state comes")
}

#[test]
fn metrics_tell_of_databases_replicas_and_the_process() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(3);
    place.configure(&Settings {
        top: json!({"addr": "127.0.0.1:0"}),
        ..Settings::default()
    });
    let mut daemon = place.start(&ours());
    let position = ours().sync_wait(place.socket(), &place.db()).expect("sync");
    let address = address(&daemon);
    let text = scrape(&address);
    let db = place.db();
    let of_db = format!("{{db=\"{}\"}} ", db.display());
    let of_replica = format!(
        "{{db=\"{}\",replica=\"0\",replica_type=\"file\"}} ",
        db.display()
    );
    let txid = position.txid.to_string();
    assert_eq!(value(&text, &format!("litestream_txid{of_db}")), txid);
    assert_eq!(
        value(&text, &format!("litestream_replica_txid{of_replica}")),
        txid
    );
    assert!(number(&text, &format!("litestream_db_size{of_db}")) >= 4096.0);
    assert_eq!(
        value(&text, &format!("litestream_sync_error_count{of_db}")),
        "0"
    );
    for lag in ["seconds", "bytes", "transactions"] {
        let series = format!("litestream_replication_lag_{lag}{of_replica}");
        assert_eq!(value(&text, &series), "0", "{series}");
    }
    assert!(number(&text, "process_resident_memory_bytes ") > 0.0);
    // Every family is announced once.
    let mut families: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let announced = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), announced);

    let (head, body) = get(
        &address,
        "/metrics",
        "Accept-Encoding: deflate, gzip;q=0.5\r\n",
    );
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut plain = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&body[..]);
    decoder.read_to_string(&mut plain).expect("gzip");
    assert!(plain.starts_with("# HELP litestream_db_size"), "{plain}");
    let (head, body) = get(&address, "/readyz", "");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert_eq!(body, b"ok\n");
    assert!(
        get(&address, "/healthz", "")
            .0
            .starts_with("http/1.1 200 ok")
    );
    assert!(get(&address, "/other", "").0.starts_with("http/1.1 404"));
    let puts = "litestream_replica_operation_total{operation=\"PUT\",replica_type=\"file\"} ";
    assert!(number(&text, puts) >= 1.0);
    daemon.stop(LONG).expect("stop");
}

#[test]
fn a_replica_that_cannot_be_written_is_seen_everywhere_and_recovers() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(1);
    place.configure(&Settings {
        top: json!({"addr": "127.0.0.1:0"}),
        ..Settings::default()
    });
    let mut daemon = place.start(&ours());
    ours().sync_wait(place.socket(), &place.db()).expect("sync");
    let address = address(&daemon);
    until(&place, "replicating");

    // A file where the folder was: nobody can write there, also not the superuser.
    let (folder, aside) = (place.replica(), place.path("aside"));
    std::fs::rename(&folder, &aside).expect("renamed");
    std::fs::write(&folder, "not a folder").expect("written");
    application.insert(2);
    let status = until(&place, "failed");
    assert!(status["lag_transactions"].as_u64() > Some(0), "{status}");
    let cause = status["cause"].as_str().expect("a cause");
    assert!(cause.starts_with("upload: file: put"), "{cause}");
    let (head, body) = get(&address, "/readyz", "");
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("failed"));
    let text = scrape(&address);
    assert_eq!(value(&text, "litestream_databases{state=\"failed\"} "), "1");
    daemon.wait_for_log(LONG, "replica failed").expect("log");

    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&aside, &folder).expect("renamed");
    ours().sync_wait(place.socket(), &place.db()).expect("sync");
    until(&place, "replicating");
    daemon.wait_for_log(LONG, "replica recovered").expect("log");
    assert!(get(&address, "/readyz", "").0.starts_with("http/1.1 200"));
    daemon.stop(LONG).expect("stop");
}

/// The first check comes fifteen seconds after the start, which makes this test a slow one.
#[test]
fn a_heartbeat_arrives_while_everything_is_replicated() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(1);
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = receiver.local_addr().expect("an address").port();
    place.configure(&Settings {
        top: json!({"heartbeat-url": format!("http://127.0.0.1:{port}/beat?x=1")}),
        ..Settings::default()
    });
    let (sender, beats) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = receiver.accept() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            if stream.write_all(answer).is_err() || sender.send(request[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut daemon = place.start(&ours());
    let beat = beats.recv_timeout(LONG).expect("a beat");
    let beat = String::from_utf8_lossy(&beat).into_owned();
    assert!(beat.starts_with("GET /beat?x=1 HTTP/1.1\r\n"), "{beat}");
    assert!(!daemon.log().expect("log").contains("heartbeat withheld"));
    daemon.stop(LONG).expect("stop");
}

#[test]
fn an_address_without_a_port_is_refused_before_anything_starts() {
    let place = Place::new();
    place.configure(&Settings {
        top: json!({"addr": "localhost"}),
        ..Settings::default()
    });
    let config = place.path("litestream.yml");
    let config = config.to_str().expect("UTF-8");
    let failure = ours()
        .run(["replicate", "-config", config])
        .expect_err("refused");
    let said = failure.to_string();
    assert!(
        said.contains("must specify port for bind address: \"localhost\""),
        "{said}"
    );
}
