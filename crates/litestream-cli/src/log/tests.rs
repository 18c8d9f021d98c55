//! The three formats, record by record.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::log::attribute::{Value, quoted_if_needed};
use crate::time::Moment;

fn logged(logging: &Logging, emit: impl FnOnce()) -> String {
    let sink = Arc::new(Mutex::new(Vec::new()));
    let env = Env::of(&[], "/", None, 1);
    let layer = Layer::new(logging, &env, sink.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), emit);
    let bytes = sink.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The line without its time, which differs from run to run.
fn after_time(line: &str) -> &str {
    line.split_once(" level=").map_or(line, |(_, rest)| rest)
}

fn emit_compaction() {
    let span = tracing::info_span!("db", system = "store", db = "w x.db");
    let _entered = span.enter();
    tracing::info!(
        level = 1,
        txid.min = "0000000000000001",
        txid.max = "0000000000000002",
        size = 566_u64,
        "compaction complete"
    );
}

#[test]
fn text_has_dotted_groups_and_quotes_what_needs_it() {
    let text = logged(&Logging::default(), emit_compaction);
    assert_eq!(
        after_time(&text),
        "INFO msg=\"compaction complete\" system=store db=\"w x.db\" level=1 \
         txid.min=0000000000000001 txid.max=0000000000000002 size=566\n"
    );
}

#[test]
fn json_nests_groups() {
    let text = logged(
        &Logging {
            format: Format::Json,
            ..Logging::default()
        },
        emit_compaction,
    );
    let (_, rest) = text.split_once("\",").unwrap();
    assert_eq!(
        rest,
        "\"level\":\"INFO\",\"msg\":\"compaction complete\",\"system\":\"store\",\"db\":\"w x.db\",\
         \"level\":1,\"txid\":{\"min\":\"0000000000000001\",\"max\":\"0000000000000002\"},\
         \"size\":566}\n"
    );
    assert!(text.starts_with("{\"time\":\"2"), "{text}");
}

#[test]
fn durations_are_text_or_nanoseconds() {
    let emit = || {
        tracing::info!(
            kind = "file",
            sync_interval = "1s",
            interval = ?Duration::from_hours(1),
            backoff = ?Duration::from_micros(1500),
            signal = "interrupt",
            "replicating to"
        );
    };
    let text = logged(&Logging::default(), emit);
    assert_eq!(
        after_time(&text),
        "INFO msg=\"replicating to\" kind=file sync_interval=1s interval=1h0m0s backoff=1.5ms \
         signal=interrupt\n"
    );
    let json = logged(
        &Logging {
            format: Format::Json,
            ..Logging::default()
        },
        emit,
    );
    assert!(
        json.ends_with("\"interval\":3600000000000,\"backoff\":1500000,\"signal\":2}\n"),
        "{json}"
    );
}

#[test]
fn source_is_the_base_name_and_line() {
    let with_source = Logging {
        source: true,
        ..Logging::default()
    };
    let text = logged(&with_source, || tracing::warn!("x"));
    assert!(
        after_time(&text).starts_with("WARN source=tests.rs:"),
        "{text}"
    );
    let json = logged(
        &Logging {
            format: Format::Json,
            ..with_source
        },
        || tracing::warn!("x"),
    );
    assert!(
        json.contains("\"source\":{\"function\":\"litestream_cli::log::tests\",\"file\":\"tests.rs\",\"line\":"),
        "{json}"
    );
}

#[test]
fn levels_below_the_threshold_are_dropped() {
    let emit = || {
        tracing::info!("shown not");
        tracing::error!("shown");
    };
    let logging = Logging {
        level: "ErRoR".into(),
        ..Logging::default()
    };
    let text = logged(&logging, emit);
    assert_eq!(after_time(&text), "ERROR msg=shown\n");
}

#[test]
fn events_of_libraries_are_dropped() {
    let text = logged(
        &Logging::default(),
        || tracing::error!(target: "hyper", "noise"),
    );
    assert_eq!(text, "");
}

#[test]
fn pretty_is_short_and_coloured_only_at_a_terminal() {
    let record = Record {
        time: Moment::parse_rfc3339("2026-11-22T07:02:52Z").unwrap(),
        level: tracing::Level::WARN,
        source: None,
        message: "retention disabled".into(),
        attributes: vec![("hint", Value::Text("a b".into()))],
    };
    assert_eq!(
        pretty::line(&record, false),
        "07:02:52 WRN retention disabled hint=\"a b\""
    );
    assert_eq!(
        pretty::line(&record, true),
        "\u{1b}[2m07:02:52\u{1b}[0m \u{1b}[93mWRN\u{1b}[0m retention disabled \
         \u{1b}[2mhint=\u{1b}[0m\"a b\""
    );
}

#[test]
fn text_times_have_milliseconds_and_json_times_nanoseconds() {
    let record = Record {
        time: Moment::parse_rfc3339("2026-11-22T12:32:52.270100+05:30").unwrap(),
        level: tracing::Level::TRACE,
        source: None,
        message: "m".into(),
        attributes: vec![],
    };
    assert_eq!(
        text::line(&record),
        "time=2026-11-22T12:32:52.270+05:30 level=TRACE msg=m"
    );
    assert_eq!(
        json::line(&record),
        "{\"time\":\"2026-11-22T12:32:52.2701+05:30\",\"level\":\"TRACE\",\"msg\":\"m\"}"
    );
}

#[test]
fn values_are_quoted_when_they_would_not_read_back() {
    for (value, shown) in [
        ("", "\"\""),
        ("plain/path", "plain/path"),
        ("a b", "\"a b\""),
        ("a=b", "\"a=b\""),
        ("a\"b", "\"a\\\"b\""),
        ("a\\b", "a\\b"),
        ("a\nb", "\"a\\nb\""),
        ("\u{e9}", "\u{e9}"),
        ("a\u{a0}b", "\"a\\u00a0b\""),
    ] {
        assert_eq!(quoted_if_needed(value), shown);
    }
}

#[test]
fn level_words_in_any_case() {
    for (word, level) in [
        ("TRACE", tracing::Level::TRACE),
        ("Debug", tracing::Level::DEBUG),
        ("WaRnInG", tracing::Level::WARN),
        ("error", tracing::Level::ERROR),
        ("", tracing::Level::INFO),
        ("loud", tracing::Level::INFO),
    ] {
        assert_eq!(level_of(word), level, "{word}");
    }
    let env = Env::of(&[("LOG_LEVEL", "error")], "/", None, 1);
    let logging = Logging {
        level: "debug".into(),
        ..Logging::default()
    };
    assert_eq!(logging.threshold(&env), tracing::Level::ERROR);
}
