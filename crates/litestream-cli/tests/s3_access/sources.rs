//! Where credentials come from: the metadata service of a machine, that of a container, STS, the
//! portal of IAM Identity Center, and the service behind `aws login`.

use std::sync::{Arc, Mutex};

use serde_json::json;
use testkit::program::Program;
use testkit::server::stand_in::{Asked, Said, StandIn};

/// All of them, on one port.
pub(crate) struct Sources {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What the access keys of the machine end with.
    generation: u32,
    /// Whether the machine has a role.
    has_role: bool,
}

/// What a container says to prove itself.
pub(crate) const CONTAINER: &str = "container token";
/// What the portal gave to somebody who logged in.
pub(crate) const PORTAL: &str = "portal token";

impl Sources {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            generation: 1,
            has_role: true,
        }));
        let shared = Arc::clone(&state);
        let handler = move |asked: &Asked| answer(&shared.lock().expect("no panic"), asked);
        let server = StandIn::start(handler).expect("a free port");
        Self { server, state }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.server.asked()
    }

    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The program on a machine that has this metadata service.
    pub(crate) fn on_machine(&self, program: &Program) -> Program {
        program
            .with_variable("AWS_EC2_METADATA_DISABLED", "false")
            .with_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.endpoint())
    }

    /// From now on the machine has other credentials: `MACHINE` and the number.
    pub(crate) fn rotate(&self, generation: u32) {
        self.state.lock().expect("no panic").generation = generation;
    }

    /// Takes the role of the machine away, or gives it back.
    pub(crate) fn give_role(&self, has_role: bool) {
        self.state.lock().expect("no panic").has_role = has_role;
    }
}

fn answer(state: &State, asked: &Asked) -> Said {
    const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
    let keys = |name: &str| {
        let keys = json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-11-22T00:00:00Z",
            "AccessKeyId": name, "SecretAccessKey": "secret", "Token": format!("token of {name}"),
            "Expiration": "2100-01-01T00:00:00Z",
        });
        Said::status(200)
            .with(keys.to_string())
            .header("Content-Type", "application/json")
    };
    match (asked.method.as_str(), asked.path.as_str()) {
        ("PUT", "/latest/api/token") => Said::status(200)
            .with("metadata token")
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600"),
        ("GET", path) if path.starts_with(ROLE) => {
            if asked.header("x-aws-ec2-metadata-token") != Some("metadata token") {
                return Said::status(401);
            }
            match path.strip_prefix(ROLE).filter(|_| state.has_role) {
                Some("") => Said::status(200).with("role"),
                Some("role") => keys(&format!("MACHINE{}", state.generation)),
                _ => Said::status(404),
            }
        }
        ("GET", "/container") if asked.header("authorization") == Some(CONTAINER) => {
            keys("CONTAINER")
        }
        ("GET", "/federation/credentials")
            if asked.query == "role_name=r&account_id=1"
                && asked.header("x-amz-sso_bearer_token") == Some(PORTAL) =>
        {
            let keys = json!({"roleCredentials": {
                "accessKeyId": "PORTAL", "secretAccessKey": "secret",
                "sessionToken": "token of PORTAL", "expiration": 4_102_444_800_000_u64,
            }});
            Said::status(200).with(keys.to_string())
        }
        ("POST", "/v1/token") if is_signed_with_a_key(asked) => {
            let keys = json!({
                "accessToken": {
                    "accessKeyId": "RENEWED", "secretAccessKey": "secret",
                    "sessionToken": "token of RENEWED",
                },
                "tokenType": "aws_sigv4", "expiresIn": 900, "refreshToken": "and again",
            });
            Said::status(200).with(keys.to_string())
        }
        ("POST", "/") => sts(asked),
        _ => Said::status(404),
    }
}

/// Whether a request to renew a login comes with a proof of possession (RFC 9449).
fn is_signed_with_a_key(asked: &Asked) -> bool {
    let proof = asked.header("dpop").unwrap_or_default();
    let body = String::from_utf8_lossy(&asked.body);
    proof.split('.').count() == 3 && body.contains("\"again\"")
}

fn sts(asked: &Asked) -> Said {
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let action = ["AssumeRoleWithWebIdentity", "AssumeRole"]
        .into_iter()
        .find(|action| body.contains(&format!("Action={action}&")));
    let name = match action {
        Some("AssumeRoleWithWebIdentity") if body.contains("WebIdentityToken=trusted") => "WEB",
        Some("AssumeRole") => "ROLE",
        _ => {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                         <Message>who are you</Message></Error></ErrorResponse>";
            return Said::status(403).with(error);
        }
    };
    let action = action.unwrap_or_default();
    Said::status(200).with(format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{name}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>token of {name}</SessionToken>\
         <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>\
         <AssumedRoleId>r:s</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"
    ))
}
