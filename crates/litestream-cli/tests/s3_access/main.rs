//! Who the program is towards S3, and whom it trusts: the sources of credentials in their order,
//! their renewal while it runs, signatures for all regions, certificates and proxies; and what it
//! does when the service has a bad day.
#![cfg(feature = "s3")]

mod amazon;
mod bucket;
mod chain;
mod debug;
mod doctor;
mod login;
mod outage;
#[path = "../shared/place.rs"]
mod place;
mod proxy;
mod regions;
mod renewal;
mod sigv4a;
mod sources;
mod trust;
