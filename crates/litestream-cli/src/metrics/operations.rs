//! The metric families of requests to replicas, one series per type and operation that was used.
//!
//! The reference counts a part of them only, and nothing of file replicas; names and labels are its.

use std::collections::BTreeMap;
use std::sync::Arc;

use litestream_storage::{DURATION_BUCKETS, Meter, Operation, OperationCounts};

use super::exposition::{Exposition, Kind};

/// Type word, operation and what was counted.
type Counted = (&'static str, &'static str, OperationCounts);

pub(super) fn write(to: &mut Exposition, meters: &BTreeMap<&'static str, Arc<Meter>>) {
    let counted: Vec<Counted> = meters
        .iter()
        .flat_map(|(kind, meter)| {
            let snapshot = meter.snapshot().into_iter();
            snapshot.map(|(operation, counts)| (*kind, operation.name(), counts))
        })
        .filter(|(_, _, counts)| counts.calls > 0)
        .collect();
    if counted.is_empty() {
        return;
    }
    simple(
        to,
        &counted,
        "litestream_replica_operation_total",
        "Operations on replicas: objects put and deleted, else calls",
        |operation, counts| match operation {
            // By the key, as the reference counts them.
            _ if operation == Operation::Put.name() => counts.objects as f64,
            _ if operation == Operation::Delete.name() => counts.objects as f64,
            _ => counts.calls as f64,
        },
    );
    simple(
        to,
        &counted,
        "litestream_replica_operation_bytes",
        "Bytes moved to and from replicas",
        |_, counts| counts.bytes as f64,
    );
    simple(
        to,
        &counted,
        "litestream_replica_requests_total",
        "Calls of replicas, each try of its own",
        |_, counts| counts.calls as f64,
    );
    durations(to, &counted);
    errors(to, &counted);
}

fn simple(
    to: &mut Exposition,
    counted: &[Counted],
    name: &str,
    help: &str,
    value: fn(&str, &OperationCounts) -> f64,
) {
    to.family(name, Kind::Counter, help);
    for (kind, operation, counts) in counted {
        let labels = [("operation", *operation), ("replica_type", *kind)];
        to.sample(name, &labels, value(operation, counts));
    }
}

fn durations(to: &mut Exposition, counted: &[Counted]) {
    let name = "litestream_replica_operation_duration_seconds";
    to.family(
        name,
        Kind::Histogram,
        "Duration of operations on replicas, in seconds",
    );
    for (kind, operation, counts) in counted {
        let bucket = format!("{name}_bucket");
        for (bound, count) in DURATION_BUCKETS.iter().zip(counts.durations) {
            let bound = bound.to_string();
            let labels = [
                ("operation", *operation),
                ("replica_type", *kind),
                ("le", &bound),
            ];
            to.sample(&bucket, &labels, count as f64);
        }
        let labels = [
            ("operation", *operation),
            ("replica_type", *kind),
            ("le", "+Inf"),
        ];
        to.sample(&bucket, &labels, counts.ended as f64);
        let labels = [("operation", *operation), ("replica_type", *kind)];
        to.sample(&format!("{name}_sum"), &labels, counts.total.as_secs_f64());
        to.sample(&format!("{name}_count"), &labels, counts.ended as f64);
    }
}

fn errors(to: &mut Exposition, counted: &[Counted]) {
    let name = "litestream_replica_operation_errors_total";
    if counted
        .iter()
        .all(|(_, _, counts)| counts.errors.is_empty())
    {
        return;
    }
    to.family(
        name,
        Kind::Counter,
        "Operations on replicas that failed, by error code",
    );
    for (kind, operation, counts) in counted {
        for (code, count) in &counts.errors {
            let labels = [
                ("code", code.as_str()),
                ("operation", *operation),
                ("replica_type", *kind),
            ];
            to.sample(name, &labels, *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use litestream_storage::{
        Body, ErrorKind, Fault, Faulty, Key, MemoryStore, Metered, ObjectStore, PutOptions,
        SystemClock,
    };

    use super::*;

    #[test]
    fn every_operation_is_shown_once_it_was_used() {
        let faulty = Faulty::new(MemoryStore::new());
        faulty.fail_nth(Operation::Put, 2, Fault::Before(ErrorKind::Denied));
        let metered = Metered::new(faulty, Arc::new(SystemClock::new()));
        let mut meters = BTreeMap::new();
        meters.insert("memory", Arc::clone(metered.meter()));
        let shown = || {
            let mut to = Exposition::default();
            write(&mut to, &meters);
            to.into_text()
        };
        assert_eq!(shown(), "");
        for _ in 0..2 {
            let put = metered.put(
                Key::new("a"),
                Body::from(b"12345".to_vec()),
                PutOptions::default(),
            );
            let _outcome = put.now_or_never().expect("memory does not wait");
        }
        let text = shown();
        for line in [
            "litestream_replica_operation_total{operation=\"PUT\",replica_type=\"memory\"} 1",
            "litestream_replica_operation_bytes{operation=\"PUT\",replica_type=\"memory\"} 5",
            "litestream_replica_requests_total{operation=\"PUT\",replica_type=\"memory\"} 2",
            "litestream_replica_operation_duration_seconds_count{operation=\"PUT\",replica_type=\"memory\"} 2",
            "litestream_replica_operation_duration_seconds_bucket{operation=\"PUT\",replica_type=\"memory\",le=\"+Inf\"} 2",
            "litestream_replica_operation_errors_total{code=\"Denied\",operation=\"PUT\",replica_type=\"memory\"} 1",
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "{line} not in\n{text}"
            );
        }
        assert!(!text.contains("GET"), "{text}");
    }
}
