//! Who the program is towards S3, and whom it trusts: the sources of credentials in their order,
//! their renewal while it runs, certificates and proxies.
#![cfg(feature = "s3")]

mod bucket;
mod chain;
mod debug;
mod doctor;
#[path = "../shared/place.rs"]
mod place;
mod renewal;
mod sources;
mod trust;
