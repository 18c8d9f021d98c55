//! Object storage as the engine sees it: one narrow trait over keys and bytes, the backends that
//! implement it, and the wrappers that any backend can be dressed in.
//!
//! | Item | Is |
//! |---|---|
//! | [`ObjectStore`] | the contract: put, get, head, list, delete |
//! | [`FileStore`] | objects as files below a directory |
//! | `S3Store` | objects in a bucket (feature `s3`) |
//! | `AbsStore` | objects in Azure Blob Storage (feature `abs`) |
//! | `GsStore` | objects in Google Cloud Storage (feature `gs`) |
//! | [`MemoryStore`] | objects in memory, for tests and simulations |
//! | [`Lanes`] | so much blocking work at a time, mount by mount |
//! | `OssStore` | objects in Alibaba Cloud OSS (feature `oss`) |
//! | [`Retry`] | a store that tries again, and goes on where a transfer broke |
//! | [`Metered`] | a store that counts its calls |
//! | [`Paced`] | a store that is used at a limited pace |
//! | [`Faulty`] | a store that fails as told, for tests |
//!
//! This crate works on keys. What a key means (levels, transaction ranges, generations) is the
//! engine's business and must not be known here.

#[cfg(feature = "abs")]
mod abs;
mod behind;
mod blocking;
mod body;
#[cfg(any(
    feature = "abs",
    feature = "gs",
    feature = "nats",
    feature = "sftp",
    feature = "webdav"
))]
mod calls;
mod clock;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod faulty;
mod file;
#[cfg(feature = "gs")]
mod gs;
#[cfg(feature = "http")]
mod http;
mod key;
mod lanes;
mod memory;
mod metered;
#[cfg(feature = "rest")]
mod moment;
#[cfg(feature = "nats")]
mod nats;
mod object;
#[cfg(feature = "oss")]
mod oss;
mod paced;
#[cfg(feature = "rest")]
mod parts;
#[cfg(any(feature = "s3", feature = "webdav"))]
mod ranges;
#[cfg(any(feature = "sftp", feature = "webdav"))]
mod remote_path;
mod retry;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "sftp")]
mod sftp;
mod store;
mod tree;
#[cfg(feature = "webdav")]
mod webdav;

#[cfg(feature = "abs")]
pub use abs::{AbsCredentials, AbsIdentity, AbsSettings, AbsStore};
pub use behind::WriteBehind;
pub use body::{Body, CHUNK_SIZE};
pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Operation, Result};
pub use faulty::{Call, Fault, Faulty};
pub use file::{FileModes, FileStep, FileSteps, FileStore};
#[cfg(feature = "gs")]
pub use gs::{GsCredentials, GsSettings, GsStore};
#[cfg(feature = "http")]
pub use http::{
    BoxError, HttpBody, HttpClient, HttpError, HttpProxies, HttpSettings, HttpTls,
    encode_component, encode_path,
};
pub use key::Key;
pub use lanes::{Lane, Lanes};
pub use memory::{MemoryStore, StoredObject};
pub use metered::{DURATION_BUCKETS, Meter, Metered, OperationCounts};
#[cfg(feature = "nats")]
pub use nats::{NatsLogin, NatsSettings, NatsStore};
pub use object::{ByteRange, Condition, ListOptions, Object, ObjectMeta, PutOptions};
#[cfg(feature = "oss")]
pub use oss::{OssSettings, OssStore};
pub use paced::{Pace, Paced, Rate};
pub use retry::{Jitter, RandomJitter, Retry, RetryPolicy, Retrying};
#[cfg(feature = "s3")]
pub use s3::{
    MIN_PART_SIZE, S3Credentials, S3CustomerKey, S3Debug, S3Encryption, S3Settings,
    S3SettingsError, S3Store,
};
#[cfg(feature = "sftp")]
pub use sftp::{SftpSettings, SftpStore};
pub use store::ObjectStore;
#[cfg(feature = "webdav")]
pub use webdav::{WebdavSettings, WebdavStore};
