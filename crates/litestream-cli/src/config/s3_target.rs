//! S3 replicas: buckets, endpoints and the habits of providers.

mod provider;
mod registered;

use super::build::{BuildError, Source};
use super::decode::Bytes;
use super::defaults;
use crate::os_error;
use crate::paths;
use crate::url::Url;

pub(super) use provider::with_https;
use provider::{Provider, with_scheme};
use registered::Encryption;

/// A bucket of S3 or of something that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
pub struct S3Target {
    /// Access key; with the secret it takes precedence over the environment.
    pub access_key_id: Option<String>,
    /// Secret of the access key.
    pub secret_access_key: Option<String>,
    /// Token of temporary credentials, with those of the environment.
    pub session_token: Option<String>,
    /// Bucket, or the ARN of an access point.
    pub bucket: String,
    /// Prefix of keys, verbatim.
    pub path: String,
    /// Region; `None`: ask for the bucket's location, or the default with an endpoint.
    pub region: Option<String>,
    /// Address of the service, with scheme; `None`: AWS.
    pub endpoint: Option<String>,
    /// Bucket in the path instead of the host name.
    pub force_path_style: bool,
    /// Do not verify certificates.
    pub skip_verify: bool,
    /// Sign the body.
    pub sign_payload: bool,
    /// Content-MD5 on deletion of many objects.
    pub require_content_md5: bool,
    /// Sign the Accept-Encoding header.
    pub sign_accept_encoding: bool,
    /// Send `X-Tigris-Consistent: true`.
    pub consistent_header: bool,
    /// Storage class of new objects.
    pub storage_class: Option<String>,
    /// Size of upload parts in bytes.
    pub part_size: u64,
    /// Parts uploaded at a time.
    pub concurrency: usize,
    /// Algorithm of the customer key.
    pub sse_customer_algorithm: String,
    /// Customer key, base64.
    pub sse_customer_key: Option<String>,
    /// MD5 of the customer key, base64, for comparison.
    pub sse_customer_key_md5: Option<String>,
    /// Key of the provider's key service.
    pub sse_kms_key_id: Option<String>,
    /// `LITESTREAM_S3_DEBUG`: what of the requests is logged, words with commas between.
    pub debug: String,
}

/// What the host of an S3 URL stands for.
#[derive(Debug, Default, PartialEq, Eq)]
struct HostForm {
    bucket: String,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: bool,
}

const ARN_PREFIX: &str = "s3://arn:";
const ACCESS_POINT: &str = ":accesspoint/";

/// Reads `s3://ARN[/KEY][?QUERY]`; `None` when the text has another form.
pub(super) fn access_point(text: &str) -> Result<Option<Url>, BuildError> {
    if !text
        .get(..ARN_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(ARN_PREFIX))
    {
        return Ok(None);
    }
    let (arn, query) = text["s3://".len()..]
        .split_once('?')
        .unwrap_or((&text["s3://".len()..], ""));
    let invalid = || BuildError::Arn(arn.to_owned());
    let marker = arn
        .to_ascii_lowercase()
        .find(ACCESS_POINT)
        .ok_or_else(invalid)?;
    let name_at = marker + ACCESS_POINT.len();
    let end = arn[name_at..]
        .find('/')
        .map_or(arn.len(), |at| name_at + at);
    if end == name_at {
        return Err(invalid());
    }
    let mut url = Url::of_query("s3", query);
    arn[..end].clone_into(&mut url.host);
    let key = paths::clean(&format!("/{}", &arn[end..]));
    url.path = key;
    Ok(Some(url))
}

/// Builds an S3 replica from its keys and its URL; keys win but for `skipVerify`.
pub(super) fn build(source: &Source<'_>) -> Result<S3Target, BuildError> {
    let settings = source.settings;
    source.exclude("s3", "bucket", settings.bucket.as_ref())?;
    let mut host = source
        .url
        .map_or_else(HostForm::default, |url| host_form(&url.host));
    let bucket = match source.url {
        Some(_) => std::mem::take(&mut host.bucket),
        None => settings.bucket.clone().unwrap_or_default(),
    };
    let region = host.region.take();
    let query = Query(source.url);
    let flag = |names: &[&str]| query.text(names).map(|value| is_true(&value));
    let address = Address::of(source, &query, host);
    let encryption = Encryption::of(source, &query)?;
    if bucket.is_empty() {
        return Err(BuildError::Required {
            what: "bucket",
            kind: "s3",
        });
    }
    let concurrency = match settings
        .concurrency
        .and_then(|count| u64::try_from(count).ok())
    {
        Some(count @ 1..) => Some(count),
        _ => query.number(&["concurrency"])?,
    };
    let part_size = match settings.part_size {
        Some(Bytes(size @ 1..)) => Some(size),
        _ => query.number(&["partSize", "part-size"])?,
    };
    let accept_encoding = settings
        .sign_accept_encoding
        .or_else(|| flag(&["signAcceptEncoding", "sign-accept-encoding"]));
    let (access_key_id, secret_access_key, session_token) = credentials(source);
    Ok(S3Target {
        access_key_id,
        secret_access_key,
        session_token,
        path: source.object_path(),
        region: settings
            .region
            .clone()
            .or_else(|| query.text(&["region"]))
            .or(region)
            .or_else(|| {
                arn_region(&bucket).or_else(|| {
                    address
                        .endpoint
                        .is_some()
                        .then(|| defaults::S3_REGION.into())
                })
            }),
        bucket,
        endpoint: address.endpoint,
        force_path_style: address.path_style,
        skip_verify: registered::switch(source, &query, registered::SKIP_VERIFY)
            .unwrap_or(settings.skip_verify == Some(true)),
        sign_payload: settings
            .sign_payload
            .or_else(|| flag(&["signPayload", "sign-payload"]))
            .unwrap_or(true),
        require_content_md5: settings
            .require_content_md5
            .or_else(|| flag(&["requireContentMD5", "require-content-md5"]))
            .unwrap_or(address.provider != Provider::Tigris),
        sign_accept_encoding: accept_encoding.unwrap_or(true)
            && address.provider != Provider::Google,
        consistent_header: address.provider == Provider::Tigris,
        storage_class: settings
            .storage_class
            .clone()
            .or_else(|| query.text(&["storageClass", "storage-class"])),
        part_size: part_size.unwrap_or(defaults::PART_SIZE),
        concurrency: concurrency
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(if address.provider == Provider::R2 {
                defaults::R2_CONCURRENCY
            } else {
                defaults::S3_CONCURRENCY
            }),
        sse_customer_algorithm: encryption
            .algorithm
            .unwrap_or_else(|| defaults::SSE_ALGORITHM.into()),
        sse_customer_key: encryption.key,
        sse_customer_key_md5: encryption.md5,
        sse_kms_key_id: encryption.kms_key,
        debug: source
            .env
            .non_empty("LITESTREAM_S3_DEBUG")
            .unwrap_or_default()
            .to_owned(),
    })
}

/// Access key, secret and token: the configured ones, else those of the environment, which come
/// first in the default chain too. Read here because they may be there under their second names.
fn credentials(source: &Source<'_>) -> (Option<String>, Option<String>, Option<String>) {
    let settings = source.settings;
    let variable = |name: &str| source.env.non_empty(name).map(str::to_owned);
    let configured = (&settings.access_key_id, &settings.secret_access_key);
    if let (Some(id), Some(secret)) = configured {
        return (Some(id.clone()), Some(secret.clone()), None);
    }
    let found = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    match found {
        Some((id, secret)) => (Some(id), Some(secret), variable("AWS_SESSION_TOKEN")),
        None => (None, None, None),
    }
}

/// Where the service is and how its buckets are named.
struct Address {
    endpoint: Option<String>,
    provider: Provider,
    path_style: bool,
}

impl Address {
    fn of(source: &Source<'_>, query: &Query<'_>, host: HostForm) -> Self {
        let settings = source.settings;
        let in_key = settings.endpoint.as_deref().map(with_https);
        let in_query = query
            .text(&["endpoint"])
            .or_else(|| registered::endpoint(source, &host))
            .map(|endpoint| with_scheme(&endpoint));
        let switch = registered::switch(source, query, registered::PATH_STYLE);
        let implied = switch.unwrap_or(in_query.is_some() || host.path_style);
        let has_key = in_key.is_some();
        let endpoint = in_key.or(in_query).or(host.endpoint);
        let provider = Provider::of(endpoint.as_deref().unwrap_or_default());
        let path_style = match (settings.force_path_style, switch) {
            (Some(true), _) => true,
            (Some(false), _) => implied,
            // There a switch is as good as a key of a configuration.
            (None, Some(switch)) if source.registered => switch,
            (None, _) => implied || has_key || provider.wants_path_style(),
        };
        Self {
            endpoint,
            provider,
            path_style,
        }
    }
}

/// The customer key: from its file when there is one, else from its key.
fn customer_key(source: &Source<'_>) -> Result<Option<String>, BuildError> {
    let Some(configured) = &source.settings.sse_customer_key_path else {
        return Ok(source.settings.sse_customer_key.clone());
    };
    let path = match (configured.strip_prefix('~'), source.env.var("HOME")) {
        (Some(below), Some(home)) => format!("{home}{below}"),
        _ => configured.clone(),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| BuildError::SseKey {
        path: configured.clone(),
        cause: os_error::describe("open", path.as_ref(), &error),
    })?;
    Ok(Some(text.trim().to_owned()))
}

/// The region of an access point: its fourth colon-separated field. One of many regions names none,
/// and any will do for it: requests to it are signed for all.
fn arn_region(bucket: &str) -> Option<String> {
    if !bucket.to_ascii_lowercase().starts_with("arn:") {
        return None;
    }
    let region = bucket.split(':').nth(3)?;
    Some(if region.is_empty() {
        defaults::S3_REGION.into()
    } else {
        region.to_owned()
    })
}

/// The parameters of a URL, if there is one.
struct Query<'a>(Option<&'a Url>);

impl Query<'_> {
    /// The first value that is not empty among several spellings of a name, with its spelling.
    fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        let url = self.0?;
        let values = names
            .iter()
            .filter_map(|name| Some((*name, url.query(name)?)));
        values.into_iter().find(|(_, value)| !value.is_empty())
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        self.first(names).map(|(_, value)| value.to_owned())
    }

    fn number(&self, names: &[&str]) -> Result<Option<u64>, BuildError> {
        let Some((name, value)) = self.first(names) else {
            return Ok(None);
        };
        match value.parse::<i64>().map(u64::try_from) {
            Ok(Ok(number @ 1..)) => Ok(Some(number)),
            _ => Err(BuildError::QueryNumber {
                key: name.to_owned(),
                value: value.to_owned(),
            }),
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "true" | "1" | "t" | "yes"
    )
}

/// Reads the host of an S3 URL; the first form that fits wins.
fn host_form(host: &str) -> HostForm {
    if host.to_ascii_lowercase().starts_with("arn:") {
        return HostForm {
            bucket: host.into(),
            ..HostForm::default()
        };
    }
    if host.contains(':') && !host.contains(".com") {
        return match host.split_once('.') {
            Some((bucket, rest)) => HostForm {
                bucket: bucket.into(),
                region: Some(defaults::S3_REGION.into()),
                endpoint: Some(format!("http://{rest}")),
                path_style: true,
            },
            None => HostForm {
                endpoint: Some(format!("http://{host}")),
                path_style: true,
                ..HostForm::default()
            },
        };
    }
    provider_host(host).unwrap_or_else(|| HostForm {
        bucket: host.into(),
        ..HostForm::default()
    })
}

fn provider_host(host: &str) -> Option<HostForm> {
    let labels: Vec<&str> = host.split('.').collect();
    let owned = |text: &str| Some(text.to_owned());
    match labels.as_slice() {
        [bucket @ .., "s3", "amazonaws", "com"] if !bucket.is_empty() => Some(HostForm {
            bucket: bucket.join("."),
            ..HostForm::default()
        }),
        [bucket @ .., "s3", region, "amazonaws", "com"] if !bucket.is_empty() => Some(HostForm {
            bucket: bucket.join("."),
            region: owned(region),
            ..HostForm::default()
        }),
        [bucket @ .., region, "digitaloceanspaces", "com"] => Some(HostForm {
            bucket: bucket.join("."),
            region: owned(region),
            endpoint: Some(format!("https://{region}.digitaloceanspaces.com")),
            path_style: false,
        }),
        [bucket @ .., "s3", region, "backblazeb2", "com"] => Some(HostForm {
            bucket: bucket.join("."),
            region: owned(region),
            endpoint: Some(format!("https://s3.{region}.backblazeb2.com")),
            path_style: true,
        }),
        [bucket @ .., "s3", "filebase", "com"] => Some(HostForm {
            bucket: bucket.join("."),
            endpoint: owned("https://s3.filebase.com"),
            ..HostForm::default()
        }),
        [bucket @ .., "s3", region, "scw", "cloud"] => Some(HostForm {
            bucket: bucket.join("."),
            region: owned(region),
            endpoint: Some(format!("https://s3.{region}.scw.cloud")),
            path_style: false,
        }),
        _ => None,
    }
}
