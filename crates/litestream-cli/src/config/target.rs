//! A replica that is ready to be opened: where it is and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use super::network::Network;
use super::s3_target::S3Target;

/// One replica of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// A name for people, if one was given.
    pub name: Option<String>,
    /// Time between uploads.
    pub sync_interval: Duration,
    /// Files per upload batch; `None`: all.
    pub max_sync_ltx_files: Option<usize>,
    /// Reset local state when a local file is missing or damaged.
    pub auto_recover: bool,
    /// How stores on the network are reached.
    pub network: Network,
    /// Where it is.
    pub target: Target,
}

/// A place for replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder.
    File(FileTarget),
    /// S3 and what speaks its protocol.
    S3(S3Target),
    /// Google Cloud Storage.
    Gs(GsTarget),
    /// Azure Blob Storage.
    Abs(AbsTarget),
    /// SFTP.
    Sftp(SftpTarget),
    /// `WebDAV`.
    Webdav(WebdavTarget),
    /// NATS `JetStream` object store.
    Nats(NatsTarget),
    /// Alibaba OSS.
    Oss(OssTarget),
}

impl Target {
    /// The type word: `file`, `s3`, `gs`, `abs`, `sftp`, `webdav`, `nats`, `oss`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::S3(_) => "s3",
            Self::Gs(_) => "gs",
            Self::Abs(_) => "abs",
            Self::Sftp(_) => "sftp",
            Self::Webdav(_) => "webdav",
            Self::Nats(_) => "nats",
            Self::Oss(_) => "oss",
        }
    }
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    /// Absolute.
    pub path: PathBuf,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GsTarget {
    /// Bucket.
    pub bucket: String,
    /// Prefix of keys, verbatim.
    pub path: String,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsTarget {
    /// Account; may be empty with an endpoint.
    pub account_name: String,
    /// Key of the account.
    pub account_key: Option<String>,
    /// Shared access signature; wins over the key.
    pub sas_token: Option<String>,
    /// Container.
    pub bucket: String,
    /// Prefix of keys, verbatim.
    pub path: String,
    /// Address of the service, if not that of the account.
    pub endpoint: Option<String>,
}

/// A folder on an SFTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpTarget {
    /// Host, with or without port.
    pub host: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Option<String>,
    /// Folder.
    pub path: String,
    /// Private key file.
    pub key_path: Option<String>,
    /// Expected host key, as a line of `authorized_keys`.
    pub host_key: Option<String>,
    /// Several writes in flight.
    pub concurrent_writes: bool,
}

/// A folder on a `WebDAV` server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebdavTarget {
    /// Address of the server.
    pub url: String,
    /// User.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Folder.
    pub path: String,
}

/// A NATS object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsTarget {
    /// Address of the server, without user; empty: the client's default.
    pub url: String,
    /// Object store.
    pub bucket: String,
    /// User JWT.
    pub jwt: Option<String>,
    /// Seed of the JWT.
    pub seed: Option<String>,
    /// Credentials file.
    pub creds: Option<String>,
    /// Nkey.
    pub nkey: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
    /// Use TLS.
    pub tls: bool,
    /// Certificate files to trust.
    pub root_cas: Vec<String>,
    /// Client certificate and key file.
    pub client_certificate: Option<(String, String)>,
    /// Reconnection attempts; negative: without end.
    pub max_reconnects: i64,
    /// Pause between reconnections.
    pub reconnect_wait: Duration,
    /// Limit of an operation.
    pub timeout: Duration,
}

/// A bucket of Alibaba OSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OssTarget {
    /// Access key and its secret; both or none.
    pub access_key_id: Option<String>,
    /// Secret of the access key.
    pub secret_access_key: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of keys, verbatim.
    pub path: String,
    /// Region.
    pub region: String,
    /// Address of the service, if not that of the region.
    pub endpoint: Option<String>,
    /// Size of upload parts in bytes.
    pub part_size: u64,
    /// Parts uploaded at a time.
    pub concurrency: usize,
}
