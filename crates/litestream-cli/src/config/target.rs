//! A replica that is ready to be opened: where it is and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use litestream_storage::Pace;

use super::network::Network;
use super::s3_target::S3Target;
use crate::env::Env;

/// One replica of a database.
#[derive(Debug, Clone, PartialEq)]
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
    /// How fast it may be used.
    pub pace: Pace,
    /// The right to write; `None`: none is needed.
    pub lease: Option<LeaseConfig>,
    /// Where it is.
    pub target: Target,
}

/// How the right to write to a replica is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// How long it lasts without renewal.
    pub ttl: Duration,
    /// Who holds it, if that was given.
    pub owner: Option<String>,
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
    /// `STORAGE_EMULATOR_HOST`: instead of the service, and without credentials.
    pub emulator: Option<String>,
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    pub credentials_file: Option<PathBuf>,
    /// Where `gcloud` keeps the default credentials.
    pub well_known_file: Option<PathBuf>,
    /// `GCE_METADATA_HOST`.
    pub metadata_host: Option<String>,
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
    /// Identities, used without signature and key.
    pub azure: AzureIdentities,
}

/// What the environment says about identities: the variables `AZURE_*` and `IDENTITY_*`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AzureIdentities {
    /// `AZURE_AUTHORITY_HOST`.
    pub authority: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub tenant: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub secret: Option<String>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`.
    pub certificate: Option<PathBuf>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// `IDENTITY_HEADER`.
    pub identity_header: Option<String>,
}

impl AzureIdentities {
    pub(super) fn of(env: &Env) -> Self {
        let text = |name: &str| env.non_empty(name).map(str::to_owned);
        let path = |name: &str| env.non_empty(name).map(PathBuf::from);
        Self {
            authority: text("AZURE_AUTHORITY_HOST"),
            tenant: text("AZURE_TENANT_ID"),
            client: text("AZURE_CLIENT_ID"),
            secret: text("AZURE_CLIENT_SECRET"),
            certificate: path("AZURE_CLIENT_CERTIFICATE_PATH"),
            token_file: path("AZURE_FEDERATED_TOKEN_FILE"),
            identity_endpoint: text("IDENTITY_ENDPOINT"),
            identity_header: text("IDENTITY_HEADER"),
        }
    }
}

impl std::fmt::Debug for AzureIdentities {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AzureIdentities")
            .field("authority", &self.authority)
            .field("tenant", &self.tenant)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
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
    /// Socket of the SSH agent, for logins with neither password nor key file.
    pub agent: Option<String>,
    /// Files with the keys of known hosts, asked without an expected key.
    pub known_hosts: Vec<PathBuf>,
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
    /// Token of temporary credentials, with those of the environment.
    pub session_token: Option<String>,
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
