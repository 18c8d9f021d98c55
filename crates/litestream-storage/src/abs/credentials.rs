//! Who we are to Azure.
//!
//! Invariant: the first source that is configured decides. One that fails is an error, never a
//! reason to go on with the next, which might be another identity.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::http::token::{Token, ask, denied, form, oauth};
use crate::{Error, ErrorKind, HttpClient, Operation, Result, blocking, encode_component};

/// What tokens are for.
const RESOURCE: &str = "https://storage.azure.com/";
const SCOPE: &str = "https://storage.azure.com/.default";

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq)]
pub enum AbsCredentials {
    /// The key of the account.
    AccountKey {
        /// Account.
        account: String,
        /// Its key, in base64.
        key: String,
    },
    /// A shared access signature: the query of an address, without `?`.
    Sas(String),
    /// An identity of Entra ID.
    Identity(AbsIdentity),
}

/// An identity, and how it proves itself.
#[derive(Clone, PartialEq, Eq)]
pub enum AbsIdentity {
    /// An application with a secret (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`).
    Secret {
        /// Address of the authority, `https://login.microsoftonline.com`.
        authority: String,
        /// Tenant.
        tenant: String,
        /// Application.
        client: String,
        /// Its secret.
        secret: String,
    },
    /// An application with a token of another provider (`AZURE_FEDERATED_TOKEN_FILE`), as
    /// Kubernetes gives.
    Workload {
        /// Address of the authority.
        authority: String,
        /// Tenant.
        tenant: String,
        /// Application.
        client: String,
        /// File with the token; read anew each time.
        token_file: PathBuf,
    },
    /// The identity that App Service and its kin give (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`).
    App {
        /// Address to ask.
        endpoint: String,
        /// What to show there.
        header: String,
        /// Application, for an identity of the user's own.
        client: Option<String>,
    },
    /// The identity of the virtual machine, and, when there is none, that of the user of the
    /// command line tool `az`.
    Machine {
        /// Address of the metadata service.
        endpoint: String,
        /// Application, for an identity of the user's own.
        client: Option<String>,
    },
}

impl AbsIdentity {
    /// Address of the public authority.
    pub const AUTHORITY: &'static str = "https://login.microsoftonline.com";
    /// Address of the metadata service of virtual machines.
    pub const METADATA: &'static str = "http://169.254.169.254";
}

/// What issuing a token takes.
pub(super) struct Issuer<'a> {
    pub(super) http: &'a HttpClient,
    /// Without proxies: metadata services are on the machine's own link.
    pub(super) direct: &'a HttpClient,
    pub(super) operation: Operation,
    /// Wall clock in Unix milliseconds.
    pub(super) now_ms: i64,
}

impl Issuer<'_> {
    pub(super) async fn issue(&self, identity: &AbsIdentity) -> Result<Token> {
        match identity {
            AbsIdentity::Secret {
                authority,
                tenant,
                client,
                secret,
            } => {
                let proof = [("client_secret", secret.as_str())];
                self.of_application(authority, tenant, client, &proof).await
            }
            AbsIdentity::Workload {
                authority,
                tenant,
                client,
                token_file,
            } => {
                let assertion = self.read(token_file.clone()).await?;
                let proof = [
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    ),
                    ("client_assertion", assertion.trim()),
                ];
                self.of_application(authority, tenant, client, &proof).await
            }
            AbsIdentity::App {
                endpoint,
                header,
                client,
            } => {
                let url = managed(endpoint, "2019-08-01", client.as_deref());
                let request = Request::get(url).header("X-IDENTITY-HEADER", header);
                self.of_service(request).await
            }
            AbsIdentity::Machine { endpoint, client } => {
                let path = format!("{endpoint}/metadata/identity/oauth2/token");
                let url = managed(&path, "2018-02-01", client.as_deref());
                let request = Request::get(url).header("Metadata", "true");
                match self.of_service(request).await {
                    // Nobody there: not a machine of Azure.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::Unavailable { .. } | ErrorKind::Timeout
                        ) =>
                    {
                        self.of_command_line(error).await
                    }
                    other => other,
                }
            }
        }
    }

    async fn of_application(
        &self,
        authority: &str,
        tenant: &str,
        client: &str,
        proof: &[(&str, &str)],
    ) -> Result<Token> {
        let authority = authority.trim_end_matches('/');
        let url = format!("{authority}/{}/oauth2/v2.0/token", encode_component(tenant));
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", SCOPE),
        ];
        fields.extend_from_slice(proof);
        let answer = ask(self.http, self.operation, form(&url, &fields)).await?;
        oauth(self.operation, &answer)
    }

    async fn of_service(&self, request: http::request::Builder) -> Result<Token> {
        let request = request.body(Full::<Bytes>::default());
        let answer = ask(self.direct, self.operation, request).await?;
        // Some services answer with the time of the end instead of a span.
        if answer.get("expires_in").is_none()
            && let Some(end) = answer.get("expires_on")
        {
            let end = end.as_i64().or_else(|| end.as_str()?.parse().ok());
            let mut token = oauth(self.operation, &answer)?;
            if let Some(end) = end {
                let left = end.saturating_mul(1000) - self.now_ms;
                token.lifetime = Duration::from_millis(left.max(0) as u64);
            }
            return Ok(token);
        }
        oauth(self.operation, &answer)
    }

    /// Asks `az`, which must be logged in.
    async fn of_command_line(&self, before: Error) -> Result<Token> {
        let operation = self.operation;
        let output = blocking::run(operation, move || {
            let output = std::process::Command::new("az")
                .args(["account", "get-access-token", "--output", "json"])
                .args(["--resource", RESOURCE])
                .stdin(std::process::Stdio::null())
                .output();
            output.map_err(|error| {
                let detail = "credentials: no key, signature or identity is configured, the \
                              metadata service does not answer, and az cannot be started";
                before.with_detail(format!("{detail}: {error}"))
            })
        });
        let output = output.await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(denied(operation, format!("az: {}", said.trim())));
        }
        let answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| denied(operation, format!("answer of az: {error}")))?;
        let text = answer.get("accessToken").and_then(Value::as_str);
        let text = text.ok_or_else(|| denied(operation, "az gives no accessToken"))?;
        let end = answer.get("expires_on").and_then(Value::as_i64);
        let left = end.map_or(0, |end| end.saturating_mul(1000) - self.now_ms);
        Ok(Token {
            text: text.to_owned(),
            lifetime: Duration::from_millis(left.max(0) as u64),
        })
    }

    async fn read(&self, path: PathBuf) -> Result<String> {
        let operation = self.operation;
        blocking::run(operation, move || {
            std::fs::read_to_string(&path)
                .map_err(|error| denied(operation, format!("read {}: {error}", path.display())))
        })
        .await
    }
}

fn managed(endpoint: &str, version: &str, client: Option<&str>) -> String {
    let mut url = format!(
        "{endpoint}?api-version={version}&resource={}",
        encode_component(RESOURCE)
    );
    if let Some(client) = client {
        url.push_str("&client_id=");
        url.push_str(&encode_component(client));
    }
    url
}
