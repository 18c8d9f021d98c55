//! From the settings of a replica to a [`Replica`]: the rules of each type.

mod error;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use litestream_storage::{Pace, Rate};

use super::decode::Bytes;
use super::raw::RawReplica;
use super::settings::ReplicaSettings;
use super::target::{
    AbsTarget, AzureIdentities, FileTarget, GsTarget, LeaseConfig, NatsTarget, OssTarget, Replica,
    SftpTarget, Target, WebdavTarget,
};
use super::{DatabaseConfig, Location, Network, defaults, s3_target};
use crate::duration::Span;
use crate::env::Env;
use crate::paths;
use crate::url::{Url, escape_fragment, escape_path};

pub use error::BuildError;

impl DatabaseConfig {
    /// Builds the replicas of a database file: one, or several in the order of the file. Of a
    /// folder, the part that its databases share.
    pub fn replicas(&self, env: &Env) -> Result<Vec<Replica>, BuildError> {
        match self.location {
            Location::File(_) => self
                .replica_settings()?
                .iter()
                .map(|replica| build(env, replica))
                .collect(),
            Location::Directory(_) => self.replicas_below(env, ""),
        }
    }
}

impl Replica {
    /// Refuses types that this program cannot open.
    pub fn ensure_available(&self) -> Result<(), BuildError> {
        if crate::backend::is_available(&self.target) {
            Ok(())
        } else {
            Err(BuildError::NotAvailable(self.target.kind()))
        }
    }
}

/// The replica that a URL on the command line names, with default settings.
pub fn replica_from_url(env: &Env, url: &str) -> Result<Replica, BuildError> {
    build(
        env,
        &RawReplica {
            url: Some(url.to_owned()),
            ..RawReplica::default()
        },
    )
}

pub(super) fn build(env: &Env, raw: &RawReplica) -> Result<Replica, BuildError> {
    let built = built(env, raw);
    if raw.registered {
        return built.map_err(BuildError::of_registered);
    }
    built
}

fn built(env: &Env, raw: &RawReplica) -> Result<Replica, BuildError> {
    let path = raw.path.clone().unwrap_or_default();
    if paths::is_url(&path) {
        return Err(BuildError::PathIsUrl(path));
    }
    let settings = &raw.settings;
    if !settings.age.identities.is_empty() || !settings.age.recipients.is_empty() {
        return Err(BuildError::Age);
    }
    let url = match raw.url.as_deref().filter(|url| !url.is_empty()) {
        Some(text) => Some(parse_url(text)?),
        None => None,
    };
    let word = match (&url, raw.kind.as_deref()) {
        (Some(url), _) if url.scheme == "webdavs" => "webdav",
        (Some(url), _) => url.scheme.as_str(),
        (None, None | Some("")) => "file",
        (None, Some(kind)) => kind,
    };
    let source = Source {
        env,
        settings,
        path,
        url: url.as_ref(),
        registered: raw.registered,
    };
    let target = match word {
        "file" => Target::File(source.file()?),
        "s3" => Target::S3(s3_target::build(&source)?),
        "gs" => Target::Gs(source.gs()?),
        "abs" => Target::Abs(source.abs()?),
        "sftp" => Target::Sftp(source.sftp()?),
        "webdav" => Target::Webdav(source.webdav()?),
        "nats" => Target::Nats(source.nats()?),
        "oss" => Target::Oss(source.oss()?),
        other => return Err(BuildError::UnknownType(other.to_owned())),
    };
    let batch = settings
        .max_sync_ltx_files
        .map_or(Some(defaults::MAX_SYNC_LTX_FILES), |count| {
            usize::try_from(count).ok().filter(|count| *count > 0)
        });
    Ok(Replica {
        name: raw.name.clone().filter(|name| !name.is_empty()),
        sync_interval: span(settings.sync_interval, defaults::SYNC_INTERVAL),
        max_sync_ltx_files: batch,
        auto_recover: settings.auto_recover.unwrap_or(false),
        network: Network::of(env),
        pace: pace(settings)?,
        lease: (settings.lease.enabled == Some(true)).then(|| LeaseConfig {
            ttl: span(settings.lease.ttl, defaults::LEASE_TTL),
            owner: settings.lease.owner.clone(),
        }),
        target,
    })
}

/// Parses a replica URL; S3 access points have a form of their own.
fn parse_url(text: &str) -> Result<Url, BuildError> {
    if let Some(arn) = s3_target::access_point(text)? {
        return Ok(arn);
    }
    let url = Url::parse(text)?;
    if url.scheme.is_empty() {
        return Err(BuildError::Scheme(text.to_owned()));
    }
    Ok(url)
}

/// The value, or a default when it is absent or negative.
fn span(value: Option<Span>, default: std::time::Duration) -> std::time::Duration {
    value.and_then(Span::to_std).unwrap_or(default)
}

/// What a replica is built from.
pub(super) struct Source<'a> {
    pub(super) env: &'a Env,
    pub(super) settings: &'a ReplicaSettings,
    /// The key `path`; empty when absent.
    pub(super) path: String,
    pub(super) url: Option<&'a Url>,
    /// The URL came over the control socket.
    pub(super) registered: bool,
}

impl Source<'_> {
    /// Refuses `path` and another key beside a URL.
    pub(super) fn exclude(
        &self,
        kind: &'static str,
        key: &'static str,
        value: Option<&String>,
    ) -> Result<(), BuildError> {
        if self.url.is_some() && !self.path.is_empty() {
            return Err(BuildError::UrlAnd { key: "path", kind });
        }
        if self.url.is_some() && value.is_some() {
            return Err(BuildError::UrlAnd { key, kind });
        }
        Ok(())
    }

    /// The path inside a bucket: that of the URL without leading slash, else the key verbatim.
    ///
    /// No path at all in the URL gives `.`: existing replicas are laid out like that.
    pub(super) fn object_path(&self) -> String {
        self.url.map_or_else(
            || self.path.clone(),
            |url| {
                let clean = paths::clean(&url.path);
                clean.strip_prefix('/').unwrap_or(&clean).to_owned()
            },
        )
    }

    /// Bucket and path of types whose URL host is the bucket.
    fn bucket(&self, kind: &'static str) -> Result<(String, String), BuildError> {
        self.exclude(kind, "bucket", self.settings.bucket.as_ref())?;
        let bucket = match self.url {
            Some(url) => url.host.clone(),
            None => self.settings.bucket.clone().unwrap_or_default(),
        };
        if bucket.is_empty() {
            return Err(BuildError::Required {
                what: "bucket",
                kind,
            });
        }
        Ok((bucket, self.object_path()))
    }

    fn file(&self) -> Result<FileTarget, BuildError> {
        self.exclude("file", "path", None)?;
        let path = match self.url {
            Some(url) => file_path(url),
            None if self.path.is_empty() => return Err(BuildError::FilePath),
            None => self.path.clone(),
        };
        Ok(FileTarget {
            path: paths::expand(self.env, &path),
        })
    }

    fn gs(&self) -> Result<GsTarget, BuildError> {
        let (bucket, path) = self.bucket("gs")?;
        let text = |name: &str| self.env.non_empty(name).map(str::to_owned);
        let home = self.env.home().map(PathBuf::from);
        Ok(GsTarget {
            bucket,
            path,
            emulator: text("STORAGE_EMULATOR_HOST"),
            credentials_file: text("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            well_known_file: home
                .map(|home| home.join(".config/gcloud/application_default_credentials.json")),
            metadata_host: text("GCE_METADATA_HOST"),
        })
    }

    fn abs(&self) -> Result<AbsTarget, BuildError> {
        let (bucket, path) = self.bucket("abs")?;
        let settings = self.settings;
        let in_url = self
            .url
            .and_then(|url| url.user.as_ref())
            .map(|(name, _)| name.clone());
        let or_variable = |given: &Option<String>, name: &str| {
            let variable = || self.env.non_empty(name).map(str::to_owned);
            given.clone().or_else(variable)
        };
        Ok(AbsTarget {
            account_name: settings.account_name.clone().or(in_url).unwrap_or_default(),
            account_key: or_variable(&settings.account_key, "LITESTREAM_AZURE_ACCOUNT_KEY"),
            sas_token: or_variable(&settings.sas_token, "LITESTREAM_AZURE_SAS_TOKEN"),
            bucket,
            path,
            endpoint: settings.endpoint.clone(),
            azure: AzureIdentities::of(self.env),
        })
    }

    fn sftp(&self) -> Result<SftpTarget, BuildError> {
        self.exclude("sftp", "host", self.settings.host.as_ref())?;
        let settings = self.settings;
        let in_url = self
            .url
            .and_then(|url| url.user.clone())
            .unwrap_or_default();
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let (host, path) = match self.url {
            Some(url) => (url.host.clone(), url.path.clone()),
            None => (settings.host.clone().unwrap_or_default(), self.path.clone()),
        };
        if host.is_empty() {
            return Err(BuildError::Required {
                what: "host",
                kind: "sftp",
            });
        }
        let user = settings.user.clone().or_else(|| given(in_url.0));
        Ok(SftpTarget {
            host,
            user: user.ok_or(BuildError::Required {
                what: "user",
                kind: "sftp",
            })?,
            password: settings.password.clone().or(in_url.1),
            path,
            key_path: settings.key_path.clone(),
            host_key: settings.host_key.clone(),
            agent: self
                .env
                .var("SSH_AUTH_SOCK")
                .filter(|socket| !socket.is_empty())
                .map(str::to_owned),
            known_hosts: known_hosts(self.env),
            concurrent_writes: settings.concurrent_writes.unwrap_or(true),
        })
    }

    fn webdav(&self) -> Result<WebdavTarget, BuildError> {
        self.exclude("webdav", "webdav-url", self.settings.webdav_url.as_ref())?;
        let settings = self.settings;
        let in_url = self.url.and_then(|url| url.user.clone());
        let (user, password) = in_url.map_or((None, None), |(user, word)| (Some(user), word));
        let (address, path) = match self.url {
            Some(url) if url.host.is_empty() => (None, String::new()),
            Some(url) => {
                let scheme = if url.scheme == "webdavs" {
                    "https"
                } else {
                    "http"
                };
                (Some(format!("{scheme}://{}", url.host)), url.path.clone())
            }
            None => (settings.webdav_url.clone(), self.path.clone()),
        };
        Ok(WebdavTarget {
            url: address.ok_or(BuildError::Required {
                what: "webdav-url",
                kind: "webdav",
            })?,
            username: settings.webdav_username.clone().or(user),
            password: settings.webdav_password.clone().or(password),
            path,
        })
    }

    fn nats(&self) -> Result<NatsTarget, BuildError> {
        let settings = self.settings;
        let (url, in_url) = self.url.map_or_else(
            || (String::new(), String::new()),
            |url| {
                let address = if url.host.is_empty() {
                    String::new()
                } else {
                    format!("nats://{}", url.host)
                };
                (address, url.path.trim_matches('/').to_owned())
            },
        );
        let bucket = if in_url.is_empty() {
            settings.bucket.clone().unwrap_or_default()
        } else {
            in_url
        };
        if bucket.is_empty() {
            return Err(BuildError::Required {
                what: "bucket",
                kind: "NATS",
            });
        }
        let client_certificate = match (&settings.client_cert, &settings.client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(BuildError::HalfCertificate),
        };
        Ok(NatsTarget {
            url,
            bucket,
            jwt: settings.jwt.clone(),
            seed: settings.seed.clone(),
            creds: settings.creds.clone(),
            nkey: settings.nkey.clone(),
            username: settings.username.clone(),
            password: settings.password.clone(),
            token: settings.token.clone(),
            tls: settings.tls.unwrap_or(false),
            root_cas: settings.root_cas.clone(),
            client_certificate,
            max_reconnects: settings
                .max_reconnects
                .unwrap_or(defaults::NATS_MAX_RECONNECTS),
            reconnect_wait: span(settings.reconnect_wait, defaults::NATS_RECONNECT_WAIT),
            timeout: span(settings.timeout, defaults::NATS_TIMEOUT),
        })
    }

    /// Access key, secret and token: the configured ones, else those of the environment.
    fn oss_keys(&self) -> (Option<String>, Option<String>, Option<String>) {
        let id = self.settings.access_key_id.clone();
        let secret = self.settings.secret_access_key.clone();
        if id.is_some() && secret.is_some() {
            return (id, secret, None);
        }
        let variable = |name: &str| self.env.non_empty(name).map(str::to_owned);
        (
            variable("OSS_ACCESS_KEY_ID"),
            variable("OSS_ACCESS_KEY_SECRET"),
            variable("OSS_SESSION_TOKEN"),
        )
    }

    fn oss(&self) -> Result<OssTarget, BuildError> {
        let (host, path) = self.bucket("oss")?;
        let settings = self.settings;
        let (bucket, in_url) = match self.url {
            Some(_) => oss_host(&host),
            None => (host, None),
        };
        if bucket.is_empty() {
            return Err(BuildError::Required {
                what: "bucket",
                kind: "oss",
            });
        }
        let region = settings.region.clone().or(in_url);
        let concurrency = settings
            .concurrency
            .and_then(|count| usize::try_from(count).ok());
        let (access_key_id, secret_access_key, session_token) = self.oss_keys();
        Ok(OssTarget {
            access_key_id,
            secret_access_key,
            session_token,
            bucket,
            path,
            region: region.unwrap_or_else(|| defaults::OSS_REGION.into()),
            endpoint: settings.endpoint.as_deref().map(s3_target::with_https),
            part_size: settings
                .part_size
                .map_or(defaults::PART_SIZE, |size| size.0),
            concurrency: concurrency
                .filter(|count| *count > 0)
                .unwrap_or(defaults::OSS_CONCURRENCY),
        })
    }
}

/// Where the programs of OpenSSH look for the keys of hosts.
fn known_hosts(env: &Env) -> Vec<PathBuf> {
    let own = env
        .home()
        .map(|home| Path::new(home).join(".ssh/known_hosts"));
    own.into_iter()
        .chain([PathBuf::from("/etc/ssh/ssh_known_hosts")])
        .collect()
}

/// How fast a replica may be used.
fn pace(settings: &ReplicaSettings) -> Result<Pace, BuildError> {
    let requests = match (settings.max_requests_per_second, settings.max_request_burst) {
        (None, None) => None,
        (None, Some(_)) => return Err(BuildError::BurstAlone),
        (Some(rate), burst) => {
            let burst = burst.unwrap_or(rate);
            let positive = |key, value: i64| {
                let value = u64::try_from(value).ok().and_then(NonZeroU64::new);
                value.ok_or(BuildError::NotPositive(key))
            };
            let per_second = positive("max-requests-per-second", rate)?;
            let burst = positive("max-request-burst", burst)?;
            Rate::new(per_second.get() as f64, burst)
        }
    };
    let bandwidth = |key, size: Option<Bytes>| match size {
        None => Ok(None),
        Some(size) => match NonZeroU64::new(size.0) {
            Some(rate) if rate.get() >= defaults::LEAST_BANDWIDTH => Ok(Some(Rate::bytes(rate))),
            _ => Err(BuildError::Bandwidth(key)),
        },
    };
    Ok(Pace {
        requests,
        upload: bandwidth("max-upload-bandwidth", settings.max_upload_bandwidth)?,
        download: bandwidth("max-download-bandwidth", settings.max_download_bandwidth)?,
    })
}

/// The folder that a file URL names: decoded, encoded again, fragment kept, query dropped.
///
/// That the folder name is percent-encoded is how existing replicas are laid out.
fn file_path(url: &Url) -> String {
    if !url.opaque.is_empty() {
        return url.opaque.clone();
    }
    let mut path = if url.host.is_empty() {
        escape_path(&url.path)
    } else {
        format!("//{}{}", url.host, escape_path(&url.path))
    };
    if !url.fragment.is_empty() {
        path.push('#');
        path.push_str(&escape_fragment(&url.fragment));
    }
    path
}

/// Bucket and region of `[BUCKET.]oss-REGION[-internal].aliyuncs.com`; without a bucket it is
/// missing, not named like the host.
fn oss_host(host: &str) -> (String, Option<String>) {
    let place = host.strip_suffix(".aliyuncs.com").and_then(|rest| {
        // First: the name of a bucket may begin so as well.
        rest.split_once(".oss-")
            .or_else(|| rest.strip_prefix("oss-").map(|region| ("", region)))
    });
    match place {
        None => (host.to_owned(), None),
        Some((bucket, region)) => {
            let region = region.strip_suffix("-internal").unwrap_or(region);
            (bucket.to_owned(), Some(region.to_owned()))
        }
    }
}
