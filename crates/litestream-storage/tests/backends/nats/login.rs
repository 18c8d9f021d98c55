//! Who may log in to NATS, and to whom: certificates of both sides, tokens and their keys.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use litestream_storage::{ErrorKind, NatsLogin, NatsSettings};
use nkeys::KeyPair;
use serde_json::{Value, json};
use testkit::server::Nats;
use testkit::tls::Certificates;

use super::{BUCKET, refused, works};

/// Makes the object store as somebody who may.
async fn make_bucket(nats: &Nats, options: ConnectOptions) {
    let client = options.connect(nats.url()).await.expect("may connect");
    let config = Config {
        name: format!("OBJ_{BUCKET}"),
        subjects: ["C", "M"]
            .map(|part| format!("$O.{BUCKET}.{part}.>"))
            .to_vec(),
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        ..Config::default()
    };
    let made = async_nats::jetstream::new(client)
        .create_stream(config)
        .await;
    made.expect("may make streams");
}

fn tls(certificates: &Certificates, more: &str) -> String {
    let (certificate, key) = certificates.server();
    let [certificate, key, root] =
        [certificate, key, certificates.root()].map(|file| file.display().to_string());
    format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {root:?}\n{more} }}")
}

#[tokio::test]
async fn the_certificate_of_the_server_decides() {
    let certificates = Certificates::new().expect("files");
    let Some(nats) = Nats::start_with_or_skip(&tls(&certificates, "")) else {
        return;
    };
    let options = ConnectOptions::new().add_root_certificates(certificates.root());
    make_bucket(&nats, options).await;
    let plain = NatsSettings::new(nats.url(), BUCKET);
    let with = |roots: &[PathBuf]| NatsSettings {
        root_cas: roots.to_vec(),
        ..plain.clone()
    };
    works(with(&[certificates.root()])).await;
    works(with(&[certificates.other_root(), certificates.root()])).await;

    // The server wants TLS: whether it is asked for or not, it must be trusted.
    let hint = "root-cas names whom to trust";
    refused(plain.clone(), ErrorKind::Denied, hint).await;
    let strict = NatsSettings {
        tls: true,
        ..plain.clone()
    };
    refused(strict, ErrorKind::Denied, hint).await;
    refused(with(&[certificates.other_root()]), ErrorKind::Denied, hint).await;
    // The certificate is for 127.0.0.1 and localhost.
    let other_name = NatsSettings {
        url: nats.url().replace("127.0.0.1", "127.0.0.2"),
        ..with(&[certificates.root()])
    };
    let error = super::error_of(other_name).await;
    assert!(error.kind() != ErrorKind::NotFound, "{error}");

    let missing = certificates.file("none.pem");
    let named = format!("root-cas {}", missing.display());
    refused(
        with(&[certificates.root(), missing]),
        ErrorKind::Invalid,
        &named,
    )
    .await;
    let (_, key) = certificates.server();
    refused(with(&[key]), ErrorKind::Invalid, "no certificate").await;
}

#[tokio::test]
async fn the_certificate_of_the_client_decides() {
    let certificates = Certificates::new().expect("files");
    let Some(nats) = Nats::start_with_or_skip(&tls(&certificates, "verify: true")) else {
        return;
    };
    let (certificate, key) = certificates.client();
    let options = ConnectOptions::new()
        .add_root_certificates(certificates.root())
        .add_client_certificate(certificate.clone(), key.clone());
    make_bucket(&nats, options).await;
    let with = |client_certificate: Option<(PathBuf, PathBuf)>| NatsSettings {
        root_cas: vec![certificates.root()],
        client_certificate,
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    works(with(Some(certificates.client()))).await;
    refused(with(None), ErrorKind::Denied, "client-cert").await;
    let other = with(Some(certificates.other_client()));
    refused(other, ErrorKind::Denied, "client-cert").await;

    let (_, other_key) = certificates.other_client();
    let mixed = with(Some((certificate.clone(), other_key)));
    refused(mixed, ErrorKind::Invalid, "do not fit together").await;
    let missing = certificates.file("none.pem");
    let no_key = with(Some((certificate.clone(), missing.clone())));
    let named = format!("client-key {}", missing.display());
    refused(no_key, ErrorKind::Invalid, &named).await;
    let named = format!("client-cert {}", missing.display());
    refused(with(Some((missing, key))), ErrorKind::Invalid, &named).await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let Some(nats) = super::start() else { return };
    let certificates = Certificates::new().expect("files");
    let plain = NatsSettings {
        timeout: Duration::from_secs(2),
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    works(plain.clone()).await;
    for settings in [
        NatsSettings {
            tls: true,
            ..plain.clone()
        },
        // Whom to trust says that somebody is to be trusted.
        NatsSettings {
            root_cas: vec![certificates.root()],
            ..plain.clone()
        },
        NatsSettings {
            client_certificate: Some(certificates.client()),
            ..plain
        },
    ] {
        let error = super::error_of(settings).await;
        let said = crate::chain(&error);
        assert!(error.is_retryable(), "{said}");
        assert!(said.contains("does not speak TLS"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("free port");
    let address = silent.local_addr().expect("bound").to_string();
    let settings = NatsSettings {
        timeout: Duration::from_millis(50),
        ..NatsSettings::new(format!("nats://{address}"), BUCKET)
    };
    refused(settings, ErrorKind::Timeout, &address).await;
}

/// An operator with one account beside that of the system.
struct Operator {
    key: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        Self {
            key: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// The configuration of a server that believes this operator.
    fn configuration(&self) -> String {
        let operator = token(&self.key, &self.key, json!({"type": "operator"}));
        let account = |key: &KeyPair, storage: i64| {
            let claims = json!({"type": "account", "limits": {
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                "disk_storage": storage, "streams": storage, "consumer": storage,
            }});
            let jwt = token(&self.key, key, claims);
            format!("{}: {jwt:?}", key.public_key())
        };
        format!(
            "operator: {operator:?}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{ {}, {} }}\n",
            self.system.public_key(),
            account(&self.account, -1),
            account(&self.system, 0),
        )
    }

    /// A token of the account for the owner of a key.
    fn user(&self, key: &KeyPair, expires: Option<u64>) -> String {
        let claims = json!({"type": "user", "subs": -1, "data": -1, "payload": -1});
        token_until(&self.account, key, claims, expires)
    }
}

fn token(issuer: &KeyPair, subject: &KeyPair, claims: Value) -> String {
    token_until(issuer, subject, claims, None)
}

/// A JSON web token as NATS has them: signed with the issuer's key.
fn token_until(issuer: &KeyPair, subject: &KeyPair, claims: Value, expires: Option<u64>) -> String {
    let mut nats = claims;
    nats["version"] = json!(2);
    let mut body = json!({
        "jti": "test", "iat": now() - 60, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    });
    if let Some(expires) = expires {
        body["exp"] = json!(expires);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let text = format!("{}.{}", part(&head), part(&body));
    let signature = issuer.sign(text.as_bytes()).expect("has a private key");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn file(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         *** IMPORTANT ***\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n***\n"
    )
}

#[tokio::test]
async fn tokens_of_an_operator_are_checked() {
    let operator = Operator::new();
    let Some(nats) = Nats::start_with_or_skip(&operator.configuration()) else {
        return;
    };
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = |key: &KeyPair| key.seed().expect("has one");
    let jwt = operator.user(&key, None);
    let options = ConnectOptions::new().credentials(&file(&jwt, &seed(&key)));
    make_bucket(&nats, options.expect("a credentials file")).await;

    let with = |login| NatsSettings {
        login,
        ..NatsSettings::new(nats.url(), BUCKET)
    };
    let pair = |jwt: &str, seed: &str| NatsLogin::Jwt {
        jwt: jwt.to_owned(),
        seed: seed.to_owned(),
    };
    works(with(pair(&jwt, &seed(&key)))).await;
    let later = operator.user(&key, Some(now() + 3600));
    works(with(pair(&later, &seed(&key)))).await;

    let hint = "authorization";
    refused(with(NatsLogin::None), ErrorKind::Denied, hint).await;
    refused(with(pair(&jwt, &seed(&other))), ErrorKind::Denied, hint).await;
    let expired = operator.user(&key, Some(now() - 1));
    refused(with(pair(&expired, &seed(&key))), ErrorKind::Denied, hint).await;
    let foreign = Operator::new().user(&key, None);
    refused(with(pair(&foreign, &seed(&key))), ErrorKind::Denied, hint).await;
    let nonsense = with(pair(&jwt, "SUnonsense"));
    refused(nonsense.clone(), ErrorKind::Invalid, "seed is not the seed").await;
    let said = crate::chain(&super::error_of(nonsense).await);
    assert!(!said.contains("nonsense"), "a secret shows: {said}");

    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("user.creds");
    let from = |text: &str| {
        std::fs::write(&path, text).expect("written");
        with(NatsLogin::Credentials(path.clone()))
    };
    works(from(&file(&jwt, &seed(&key)))).await;
    refused(from(&file(&expired, &seed(&key))), ErrorKind::Denied, hint).await;
    let named = format!("creds {}", path.display());
    refused(from("no token"), ErrorKind::Invalid, &named).await;
    refused(from(&file(&jwt, "SUnonsense")), ErrorKind::Invalid, &named).await;
}
