//! The key `lease`: inheritance, defaults, refusals.

use super::*;
use crate::config::LeaseConfig;

fn leases(text: &str) -> Vec<Option<LeaseConfig>> {
    let replicas = config(text).dbs[0].replicas(&env()).unwrap();
    replicas.into_iter().map(|replica| replica.lease).collect()
}

fn lease(seconds: u64, owner: Option<&str>) -> LeaseConfig {
    LeaseConfig {
        ttl: Duration::from_secs(seconds),
        owner: owner.map(str::to_owned),
    }
}

#[test]
fn nothing_is_leased_unless_it_is_said() {
    assert_eq!(leases(DB), [None]);
    let text = "lease: {ttl: 1m, owner: web}\ndbs:\n- path: a\n  replica: {path: r}\n";
    assert_eq!(leases(text), [None]);
}

#[test]
fn each_member_is_inherited() {
    let text = "lease: {enabled: true, ttl: 1m, owner: web}\ndbs:\n- path: a\n  replicas:\n  \
                - {path: r}\n  - {path: s, lease: {enabled: false}}\n  \
                - {path: t, lease: {ttl: 6s}}\n  - {path: u, lease: {owner: other}}\n";
    let expected = [
        Some(lease(60, Some("web"))),
        None,
        Some(lease(6, Some("web"))),
        Some(lease(60, Some("other"))),
    ];
    assert_eq!(leases(text), expected);
}

#[test]
fn an_empty_owner_is_none() {
    let text = "dbs:\n- path: a\n  replica: {path: r, lease: {enabled: true, owner: ''}}\n";
    assert_eq!(leases(text), [Some(lease(30, None))]);
}

#[test]
fn a_life_that_is_too_short_is_refused() {
    for ttl in ["5999ms", "0s", "-1s"] {
        let text = format!("dbs:\n- path: /a\n  replica: {{path: r, lease: {{ttl: {ttl}}}}}\n");
        let refused = refusal(&text);
        let expected = "dbs[/a].replica.lease.ttl: lease ttl must be at least 6s (got ";
        assert!(refused.starts_with(expected), "{refused}");
    }
}
