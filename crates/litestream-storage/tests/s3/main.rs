//! The S3 backend: the contract, in process and against real servers; its requests; its errors.

mod bucket;
mod fake;
mod faults;
mod place;
mod real;
mod requests;
mod sigv4;
