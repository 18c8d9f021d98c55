//! Credentials: signatures in the query, and identities that bring a token.

use litestream_storage::{
    AbsCredentials, AbsIdentity, AbsSettings, AbsStore, ErrorKind, HttpClient, HttpSettings,
    ObjectStore as _, RetryPolicy, Retrying,
};
use serde_json::json;
use testkit::server::stand_in::{Asked, Said, StandIn};

fn open(server: &StandIn, credentials: AbsCredentials) -> AbsStore {
    let settings = AbsSettings {
        container: "bkt".into(),
        prefix: String::new(),
        endpoint: server.endpoint(),
        credentials,
        block_size: AbsSettings::BLOCK_SIZE,
        concurrency: AbsSettings::CONCURRENCY,
    };
    let http = HttpClient::new(HttpSettings::default()).expect("sound settings");
    AbsStore::new(settings, http, Retrying::new(RetryPolicy::default())).expect("sound settings")
}

/// Blobs for whoever has the token `good`, which `issue` gives.
fn service(issue: impl Fn(&Asked) + Send + Sync + 'static) -> StandIn {
    StandIn::start(move |asked| {
        if asked.path.starts_with("/bkt") {
            return match asked.header("authorization") {
                Some("Bearer good") => Said::status(200).header("Content-Length", "3"),
                _ => Said::status(401),
            };
        }
        issue(asked);
        let answer = json!({"access_token": "good", "expires_in": "3600"});
        Said::status(200).with(answer.to_string())
    })
    .expect("loopback")
}

async fn size(store: &AbsStore) -> u64 {
    store.head("key".into()).await.expect("authorized").size
}

#[tokio::test]
async fn signatures_are_added_to_every_query() {
    let server = StandIn::start(|asked| {
        assert_eq!(asked.header("authorization"), None);
        match asked.parameter("sig").as_deref() {
            Some("a/b=") if asked.path == "/bkt" => {
                assert_eq!(asked.parameter("comp").as_deref(), Some("list"));
                Said::status(200).with("<EnumerationResults><Blobs/></EnumerationResults>")
            }
            Some("a/b=") => Said::status(200).header("Content-Length", "3"),
            _ => Said::status(403),
        }
    })
    .expect("loopback");
    let store = open(&server, AbsCredentials::Sas("?sv=1&sig=a%2Fb%3D".into()));
    assert_eq!(size(&store).await, 3);
    let mut listing = store.list(String::new(), litestream_storage::ListOptions::default());
    assert!(futures_util::StreamExt::next(&mut listing).await.is_none());
}

#[tokio::test]
async fn applications_show_their_secret_or_a_token_from_a_file() {
    let server = service(|asked| {
        assert_eq!(asked.path, "/tenant/oauth2/v2.0/token");
        let body = String::from_utf8_lossy(&asked.body);
        assert!(body.contains("client_id=client"), "{body}");
        assert!(
            body.contains("client_secret=s%26s") || body.contains("client_assertion=from-file"),
            "{body}"
        );
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "from-file\n").expect("writable");
    let (authority, tenant, client) = (server.endpoint(), "tenant".to_owned(), "client".to_owned());
    for identity in [
        AbsIdentity::Secret {
            authority: authority.clone(),
            tenant: tenant.clone(),
            client: client.clone(),
            secret: "s&s".into(),
        },
        AbsIdentity::Workload {
            authority,
            tenant,
            client,
            token_file,
        },
    ] {
        let store = open(&server, AbsCredentials::Identity(identity));
        assert_eq!(size(&store).await, 3);
    }
}

#[tokio::test]
async fn machines_and_apps_ask_their_own_service() {
    let server = service(|asked| {
        let own = asked
            .header("metadata")
            .or(asked.header("x-identity-header"));
        assert!(own.is_some(), "{asked:?}");
        let resource = asked.parameter("resource");
        assert_eq!(resource.as_deref(), Some("https://storage.azure.com/"));
    });
    let endpoint = server.endpoint();
    for identity in [
        AbsIdentity::Machine {
            endpoint: endpoint.clone(),
            client: None,
        },
        AbsIdentity::App {
            endpoint: format!("{endpoint}/msi/token"),
            header: "h".into(),
            client: Some("c".into()),
        },
    ] {
        let store = open(&server, AbsCredentials::Identity(identity));
        assert_eq!(size(&store).await, 3);
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_an_error_and_nobody_is_asked() {
    let server = StandIn::start(|asked| panic!("{asked:?}")).expect("loopback");
    let folder = tempfile::tempdir().expect("temporary folder");
    let identity = AbsIdentity::Workload {
        authority: server.endpoint(),
        tenant: "t".into(),
        client: "c".into(),
        token_file: folder.path().join("missing"),
    };
    let store = open(&server, AbsCredentials::Identity(identity));
    let error = store.head("key".into()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(server.asked().is_empty());
}
