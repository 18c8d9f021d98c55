//! S3 services and their habits, told apart by the endpoint.

/// Adds the scheme to the endpoint parameter of a URL: local hosts are spoken to without TLS.
pub(super) fn with_scheme(endpoint: &str) -> String {
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        endpoint.to_owned()
    } else if is_local(endpoint) {
        format!("http://{endpoint}")
    } else {
        format!("https://{endpoint}")
    }
}

/// Adds `https://` to an endpoint key that has no scheme, local hosts included.
pub(in crate::config) fn with_https(endpoint: &str) -> String {
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        endpoint.to_owned()
    } else {
        format!("https://{endpoint}")
    }
}

fn is_local(endpoint: &str) -> bool {
    const PREFIXES: [&str; 9] = [
        "192.168.", "10.", "172.16.", "172.17.", "172.18.", "172.19.", "172.2", "172.30.",
        "172.31.",
    ];
    let authority = host_of(endpoint);
    let host = authority.split(':').next().unwrap_or_default();
    matches!(host, "localhost" | "127.0.0.1")
        || PREFIXES.iter().any(|prefix| host.starts_with(prefix))
        || [".local", ".localhost"]
            .iter()
            .any(|suffix| host.ends_with(suffix))
}

/// Services with habits of their own, told apart by the endpoint's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Other,
    Tigris,
    R2,
    Backblaze,
    Filebase,
    Supabase,
    MinioLike,
    Google,
}

impl Provider {
    pub(super) fn of(endpoint: &str) -> Self {
        let host = host_of(endpoint);
        let ends = |suffix: &str| host.ends_with(suffix);
        if host == "fly.storage.tigris.dev" || host == "t3.storage.dev" {
            Self::Tigris
        } else if ends(".r2.cloudflarestorage.com") {
            Self::R2
        } else if ends(".backblazeb2.com") {
            Self::Backblaze
        } else if host == "s3.filebase.com" {
            Self::Filebase
        } else if ends(".supabase.co") {
            Self::Supabase
        } else if is_google(&host) {
            Self::Google
        } else if host.contains(':') && !KNOWN_HOSTS.iter().any(|known| host.contains(known)) {
            Self::MinioLike
        } else {
            Self::Other
        }
    }

    pub(super) fn wants_path_style(self) -> bool {
        matches!(
            self,
            Self::Backblaze | Self::Filebase | Self::Supabase | Self::MinioLike
        )
    }
}

/// A port at one of these does not make a host look like `MinIO`.
const KNOWN_HOSTS: [&str; 9] = [
    ".amazonaws.com",
    ".digitaloceanspaces.com",
    ".backblazeb2.com",
    ".filebase.com",
    ".scw.cloud",
    ".r2.cloudflarestorage.com",
    "tigris.dev",
    "t3.storage.dev",
    ".supabase.co",
];

/// The host of an endpoint, lower case, port kept; empty when it holds user information.
fn host_of(endpoint: &str) -> String {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = rest
        .split(['/', '?'])
        .next()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    if host.contains('@') {
        String::new()
    } else {
        host
    }
}

/// True for the storage service of Google Cloud, not for its other services or bucket hosts.
fn is_google(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = host.split('.').collect();
    if !host.ends_with(".googleapis.com") || labels.len() < 3 || labels.contains(&"") {
        return false;
    }
    let names_storage = |label: &str| label.split('-').any(|segment| segment == "storage");
    names_storage(labels[0]) && (labels.len() == 3 || !names_storage(labels[1]))
}
