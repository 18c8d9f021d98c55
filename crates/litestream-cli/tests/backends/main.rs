//! Replicas on servers: what one program wrote, another one restores.
//!
//! One file per type of replica; the story that all of them share is `cross`.

#[cfg(feature = "abs")]
mod abs;
mod cross;
#[cfg(all(
    feature = "abs",
    feature = "gs",
    feature = "nats",
    feature = "s3",
    feature = "sftp",
    feature = "webdav"
))]
mod doctor;
#[cfg(feature = "gs")]
mod gs;
#[cfg(feature = "s3")]
mod leases;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "oss")]
mod oss;
#[path = "../shared/place.rs"]
mod place;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "webdav")]
mod webdav;
