//! Settings of a replica, which may also stand at top level as defaults for all replicas.

use super::decode::{Bytes, section};
use crate::duration::Span;

section! {
    /// `age`: the client-side encryption of v0.3.x, which is refused.
    pub struct AgeSection("main.AgeConfig", "[]main.AgeConfig") {
        /// Private keys.
        identities: Vec<String> = "identities",
        /// Public keys.
        recipients: Vec<String> = "recipients",
    }
}

section! {
    /// `lease`: of several processes on one replica, one writes.
    pub struct LeaseSection("main.LeaseConfig", "[]main.LeaseConfig") {
        /// Whether a lease is needed to write. Default false.
        enabled: Option<bool> = "enabled",
        /// How long it lasts without renewal. Default 30 s, at least 6 s. A crashed holder is
        /// replaced after this time and a sixth of it. Costs three requests in this time.
        ttl: Option<Span> = "ttl",
        /// Who holds it, for people. Default `HOSTNAME:PID`.
        owner: Option<String> = "owner",
    }
}

section! {
    /// The keys shared by replicas and the top level. Empty texts count as absent.
    pub struct ReplicaSettings("main.ReplicaSettings", "[]main.ReplicaSettings") {
        /// Time between uploads. Default 1 s. Commits of this window are lost with the disk;
        /// shorter means more PUT requests.
        sync_interval: Option<Span> = "sync-interval",
        /// Read by v0.3.x; has no effect here.
        validation_interval: Option<Span> = "validation-interval",
        /// Files per upload batch. Default 256, 0 = all.
        max_sync_ltx_files: Option<i64> = "max-sync-ltx-files",
        /// Reset local state when a local file is missing or damaged. Default false. True costs a
        /// new snapshot where false stops with an error.
        auto_recover: Option<bool> = "auto-recover",
        /// Requests per second to the replica. Default: no limit. Slower uploads lag behind.
        max_requests_per_second: Option<i64> = "max-requests-per-second",
        /// Requests that may be made at once after a pause. Default: those of one second.
        max_request_burst: Option<i64> = "max-request-burst",
        /// Bytes per second to the replica. Default: no limit. Slower uploads lag behind.
        max_upload_bandwidth: Option<Bytes> = "max-upload-bandwidth",
        /// Bytes per second from the replica. Default: no limit. Slower restores take longer.
        max_download_bandwidth: Option<Bytes> = "max-download-bandwidth",
        /// S3, OSS: access key.
        access_key_id: Option<String> = "access-key-id",
        /// S3, OSS: secret of the access key.
        secret_access_key: Option<String> = "secret-access-key",
        /// S3, OSS: region. Default: looked up (S3), `us-east-1` with an endpoint, `cn-hangzhou`.
        region: Option<String> = "region",
        /// Bucket, or container (ABS).
        bucket: Option<String> = "bucket",
        /// S3, ABS, OSS: address of the service.
        endpoint: Option<String> = "endpoint",
        /// S3: bucket in the path instead of the host name. Default: true with an endpoint.
        force_path_style: Option<bool> = "force-path-style",
        /// S3: sign the body. Default true.
        sign_payload: Option<bool> = "sign-payload",
        /// S3: Content-MD5 on deletion of many objects. Default true.
        require_content_md5: Option<bool> = "require-content-md5",
        /// S3: sign the Accept-Encoding header. Default true.
        sign_accept_encoding: Option<bool> = "sign-accept-encoding",
        /// S3: do not verify certificates. Default false; a true at top level wins.
        skip_verify: Option<bool> = "skip-verify",
        /// S3: storage class of new objects. Cheaper classes charge for early deletion.
        storage_class: Option<String> = "storage-class",
        /// S3, OSS: size of upload parts. Default 5 MiB. Not inherited.
        part_size: Option<Bytes> = "part-size",
        /// S3, OSS: parts uploaded at a time. Default 5 (S3), 2 (R2), 3 (OSS). Not inherited.
        concurrency: Option<i64> = "concurrency",
        /// S3: algorithm of the customer key. Default AES256. A lost key is a lost backup.
        sse_customer_algorithm: Option<String> = "sse-customer-algorithm",
        /// S3: customer key, base64 of 32 bytes.
        sse_customer_key: Option<String> = "sse-customer-key",
        /// S3: file that holds the customer key; wins over the key.
        sse_customer_key_path: Option<String> = "sse-customer-key-path",
        /// S3: key of the provider's key service.
        sse_kms_key_id: Option<String> = "sse-kms-key-id",
        /// ABS: account.
        account_name: Option<String> = "account-name",
        /// ABS: key of the account.
        account_key: Option<String> = "account-key",
        /// ABS: shared access signature; wins over the key.
        sas_token: Option<String> = "sas-token",
        /// SFTP: host, with or without port.
        host: Option<String> = "host",
        /// SFTP: user.
        user: Option<String> = "user",
        /// SFTP, NATS: password.
        password: Option<String> = "password",
        /// SFTP: private key file.
        key_path: Option<String> = "key-path",
        /// SFTP: several writes in flight. Default true.
        concurrent_writes: Option<bool> = "concurrent-writes",
        /// SFTP: expected host key. Absent: not checked, with a warning. Not inherited.
        host_key: Option<String> = "host-key",
        /// `WebDAV`: address. Not inherited.
        webdav_url: Option<String> = "webdav-url",
        /// `WebDAV`: user. Not inherited.
        webdav_username: Option<String> = "webdav-username",
        /// `WebDAV`: password. Not inherited.
        webdav_password: Option<String> = "webdav-password",
        /// NATS: user JWT.
        jwt: Option<String> = "jwt",
        /// NATS: seed that belongs to the JWT.
        seed: Option<String> = "seed",
        /// NATS: credentials file.
        creds: Option<String> = "creds",
        /// NATS: nkey.
        nkey: Option<String> = "nkey",
        /// NATS: user name.
        username: Option<String> = "username",
        /// NATS: token.
        token: Option<String> = "token",
        /// NATS: use TLS. Default false.
        tls: Option<bool> = "tls",
        /// NATS: certificate files to trust.
        root_cas: Vec<String> = "root-cas",
        /// NATS: client certificate file; needs the key too.
        client_cert: Option<String> = "client-cert",
        /// NATS: client key file; needs the certificate too.
        client_key: Option<String> = "client-key",
        /// NATS: reconnection attempts. Default -1 = without end.
        max_reconnects: Option<i64> = "max-reconnects",
        /// NATS: pause between reconnections. Default 2 s.
        reconnect_wait: Option<Span> = "reconnect-wait",
        /// NATS: limit of an operation. Default 10 s.
        timeout: Option<Span> = "timeout",
        /// The right to write.
        lease: LeaseSection = "lease",
        /// Encryption of v0.3.x: refused when not empty.
        age: AgeSection = "age",
    }
}

macro_rules! fill {
    ($own:ident, $shared:ident: $($field:ident)*) => {
        $(if $own.$field.is_none() { $own.$field.clone_from(&$shared.$field); })*
    };
}

impl ReplicaSettings {
    /// Turns empty texts into absent ones, so that there is one form of "not set".
    pub fn drop_empty_texts(&mut self) {
        for text in [
            &mut self.access_key_id,
            &mut self.secret_access_key,
            &mut self.region,
            &mut self.bucket,
            &mut self.endpoint,
            &mut self.storage_class,
            &mut self.sse_customer_algorithm,
            &mut self.sse_customer_key,
            &mut self.sse_customer_key_path,
            &mut self.sse_kms_key_id,
            &mut self.account_name,
            &mut self.account_key,
            &mut self.sas_token,
            &mut self.host,
            &mut self.user,
            &mut self.password,
            &mut self.key_path,
            &mut self.host_key,
            &mut self.webdav_url,
            &mut self.webdav_username,
            &mut self.webdav_password,
            &mut self.jwt,
            &mut self.seed,
            &mut self.creds,
            &mut self.nkey,
            &mut self.username,
            &mut self.token,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.lease.owner,
        ] {
            if text.as_deref() == Some("") {
                *text = None;
            }
        }
    }

    /// Takes from the top level what is not set here. Sizes, concurrency, the host key and the
    /// `WebDAV` keys are not inherited.
    pub fn inherit(&mut self, shared: &Self) {
        fill!(self, shared: sync_interval validation_interval max_sync_ltx_files auto_recover
            max_requests_per_second max_request_burst max_upload_bandwidth max_download_bandwidth
            access_key_id secret_access_key region bucket endpoint force_path_style sign_payload
            require_content_md5 sign_accept_encoding storage_class sse_customer_algorithm
            sse_customer_key sse_customer_key_path sse_kms_key_id account_name account_key
            sas_token host user password key_path concurrent_writes jwt seed creds nkey username
            token tls client_cert client_key max_reconnects reconnect_wait timeout);
        let (own, given) = (&mut self.lease, &shared.lease);
        fill!(own, given: enabled ttl owner);
        if shared.skip_verify == Some(true) {
            self.skip_verify = Some(true);
        }
        if self.root_cas.is_empty() {
            self.root_cas.clone_from(&shared.root_cas);
        }
        if self.age.identities.is_empty() {
            self.age.identities.clone_from(&shared.age.identities);
        }
        if self.age.recipients.is_empty() {
            self.age.recipients.clone_from(&shared.age.recipients);
        }
    }
}
