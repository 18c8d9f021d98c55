//! Replicas on servers: what one program wrote, another one restores.
//!
//! One file per type of replica; the story that all of them share is `cross`.

mod cross;
#[path = "../shared/place.rs"]
mod place;
#[cfg(feature = "s3")]
mod s3;
