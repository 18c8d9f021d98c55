//! Who we are to Google: application default credentials.
//!
//! Invariant: the first source that is configured decides. One that fails is an error, never a
//! reason to go on with the next, which might be another identity.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, header};
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::subject;
use crate::http::token::{Token, ask, denied, form, oauth};
use crate::moment::parse_rfc3339;
use crate::{HttpClient, Operation, Result, blocking};

/// What the store needs: objects, no buckets and no permissions.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// What a token needs that is exchanged for another.
const SCOPE_TO_EXCHANGE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GsCredentials {
    /// None: for emulators and public buckets.
    Anonymous,
    /// A credentials file (`GOOGLE_APPLICATION_CREDENTIALS`). It must be there.
    File(PathBuf),
    /// The file that `gcloud auth application-default login` writes, if it is there, else the
    /// metadata server of the machine.
    Default {
        /// Where `gcloud` writes; `None` when there is no home folder.
        well_known: Option<PathBuf>,
        /// Host and port of the metadata server.
        metadata_host: String,
    },
}

impl GsCredentials {
    /// Host of the metadata server on Google's machines.
    pub const METADATA_HOST: &'static str = "169.254.169.254";
}

/// What issuing a token takes.
pub(super) struct Issuer<'a> {
    pub(super) http: &'a HttpClient,
    /// Without proxies: metadata servers are on the machine's own link.
    pub(super) direct: &'a HttpClient,
    pub(super) operation: Operation,
    /// Wall clock in Unix milliseconds.
    pub(super) now_ms: i64,
}

impl Issuer<'_> {
    /// A new token; `None` for anonymous access.
    pub(super) async fn issue(&self, credentials: &GsCredentials) -> Result<Token> {
        match credentials {
            GsCredentials::Anonymous => Err(denied(self.operation, "none are configured")),
            GsCredentials::File(path) => match self.read(path).await? {
                Some(file) => self.of_file(&file, path, SCOPE).await,
                None => Err(denied(
                    self.operation,
                    format!("there is no file {}", path.display()),
                )),
            },
            GsCredentials::Default {
                well_known,
                metadata_host,
            } => {
                if let Some(path) = well_known
                    && let Some(file) = self.read(path).await?
                {
                    return self.of_file(&file, path, SCOPE).await;
                }
                self.of_machine(metadata_host).await
            }
        }
    }

    /// The JSON in a file; `None` when there is none.
    async fn read(&self, path: &Path) -> Result<Option<Value>> {
        let (operation, path) = (self.operation, path.to_owned());
        blocking::run(operation, move || {
            let name = path.display();
            let content = match std::fs::read(&path) {
                Ok(content) => content,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(denied(operation, format!("read {name}: {error}"))),
            };
            let value = serde_json::from_slice(&content);
            value.map_err(|error| denied(operation, format!("{name}: {error}")))
        })
        .await
    }

    /// By the `type` of a credentials file.
    fn of_file<'a>(
        &'a self,
        file: &'a Value,
        path: &'a Path,
        scope: &'static str,
    ) -> BoxFuture<'a, Result<Token>> {
        async move {
            let fields = Fields {
                operation: self.operation,
                file,
                path,
            };
            match fields.text("type")? {
                "service_account" => self.of_service_account(&fields, scope).await,
                "authorized_user" => self.of_user(&fields).await,
                "external_account" => self.of_external_account(&fields, scope).await,
                "impersonated_service_account" => {
                    let source = fields.value("source_credentials")?;
                    let own = self.of_file(source, path, SCOPE_TO_EXCHANGE).await?;
                    self.impersonate(&fields, &own, scope).await
                }
                other => Err(fields.wrong(format!("credentials of type {other:?} are not known"))),
            }
        }
        .boxed()
    }

    /// Signs a statement with the key of the account and exchanges it.
    async fn of_service_account(&self, fields: &Fields<'_>, scope: &str) -> Result<Token> {
        let url = fields.text("token_uri")?;
        let now = self.now_ms / 1000;
        let head = json!({
            "alg": "RS256",
            "typ": "JWT",
            "kid": fields.file.get("private_key_id"),
        });
        let claims = json!({
            "iss": fields.text("client_email")?,
            "scope": scope,
            "aud": url,
            "iat": now,
            "exp": now + 3600,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let statement = format!("{}.{}", encode(&head), encode(&claims));
        let signature = sign(fields.text("private_key")?, statement.as_bytes())
            .map_err(|why| fields.wrong(format!("private_key: {why}")))?;
        let assertion = format!("{statement}.{}", URL_SAFE_NO_PAD.encode(signature));
        let request = form(
            url,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ],
        );
        oauth(
            self.operation,
            &ask(self.http, self.operation, request).await?,
        )
    }

    async fn of_user(&self, fields: &Fields<'_>) -> Result<Token> {
        let url = fields.file.get("token_uri").and_then(Value::as_str);
        let request = form(
            url.unwrap_or("https://oauth2.googleapis.com/token"),
            &[
                ("grant_type", "refresh_token"),
                ("client_id", fields.text("client_id")?),
                ("client_secret", fields.text("client_secret")?),
                ("refresh_token", fields.text("refresh_token")?),
            ],
        );
        oauth(
            self.operation,
            &ask(self.http, self.operation, request).await?,
        )
    }

    /// Exchanges the token of another identity provider.
    async fn of_external_account(&self, fields: &Fields<'_>, scope: &str) -> Result<Token> {
        let impersonates = fields
            .file
            .get("service_account_impersonation_url")
            .is_some_and(|url| !url.is_null());
        let subject = subject::token(self, fields).await?;
        let wanted = if impersonates {
            SCOPE_TO_EXCHANGE
        } else {
            scope
        };
        let request = form(
            fields.text("token_url")?,
            &[
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                ("audience", fields.text("audience")?),
                ("scope", wanted),
                (
                    "requested_token_type",
                    "urn:ietf:params:oauth:token-type:access_token",
                ),
                ("subject_token", &subject),
                ("subject_token_type", fields.text("subject_token_type")?),
            ],
        );
        let own = oauth(
            self.operation,
            &ask(self.http, self.operation, request).await?,
        )?;
        if impersonates {
            return self.impersonate(fields, &own, scope).await;
        }
        Ok(own)
    }

    /// Exchanges our own token for one of a service account.
    async fn impersonate(&self, fields: &Fields<'_>, own: &Token, scope: &str) -> Result<Token> {
        let lifetime = fields
            .file
            .pointer("/service_account_impersonation/token_lifetime_seconds")
            .and_then(Value::as_u64)
            .unwrap_or(3600);
        let wish = json!({
            "scope": [scope],
            "lifetime": format!("{lifetime}s"),
            "delegates": fields.file.get("delegates").unwrap_or(&json!([])),
        });
        let request = Request::post(fields.text("service_account_impersonation_url")?)
            .header(header::AUTHORIZATION, format!("Bearer {}", own.text))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(wish.to_string()));
        let answer = ask(self.http, self.operation, request).await?;
        let text = answer.get("accessToken").and_then(Value::as_str);
        let expires = answer.get("expireTime").and_then(Value::as_str);
        match (text, expires.and_then(parse_rfc3339)) {
            (Some(text), Some(expires)) => Ok(Token {
                text: text.to_owned(),
                lifetime: Duration::from_millis((expires - self.now_ms).max(0) as u64),
            }),
            _ => Err(denied(
                self.operation,
                "the answer holds no accessToken with expireTime",
            )),
        }
    }

    /// Asks the metadata server.
    async fn of_machine(&self, host: &str) -> Result<Token> {
        let url = format!(
            "http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={}",
            crate::encode_component(SCOPE)
        );
        let request = Request::get(url)
            .header("Metadata-Flavor", "Google")
            .body(Full::<Bytes>::default());
        let answer = ask(self.direct, self.operation, request).await;
        let answer = answer.map_err(|error| {
            error.with_detail(format!(
                "credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud left no file, and \
                 the metadata server {host} gives no token"
            ))
        })?;
        oauth(self.operation, &answer)
    }
}

/// The fields of a credentials file.
pub(super) struct Fields<'a> {
    pub(super) operation: Operation,
    pub(super) file: &'a Value,
    path: &'a Path,
}

impl<'a> Fields<'a> {
    pub(super) fn value(&self, name: &str) -> Result<&'a Value> {
        let value = self.file.get(name);
        value.ok_or_else(|| self.wrong(format!("there is no {name:?}")))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str> {
        let value = self.value(name)?.as_str();
        value.ok_or_else(|| self.wrong(format!("{name:?} is no text")))
    }

    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> crate::Error {
        denied(self.operation, format!("{}: {what}", self.path.display()))
    }
}

fn sign(key: &str, statement: &[u8]) -> Result<Vec<u8>, String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|e| e.to_string())?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| e.to_string())?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        statement,
        &mut signature,
    )
    .map_err(|_| "signing failed".to_owned())?;
    Ok(signature)
}
