//! Who the program is towards S3, and whom it trusts: the sources of credentials in their order,
//! their renewal while it runs, signatures for all regions,
//! certificates and proxies.
#![cfg(feature = "s3")]

mod bucket;
mod chain;
mod debug;
mod doctor;
mod login;
#[path = "../shared/place.rs"]
mod place;
mod regions;
mod renewal;
mod sigv4a;
mod sources;
mod trust;
