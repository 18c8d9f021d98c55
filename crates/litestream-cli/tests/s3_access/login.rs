//! Who logged in with `aws login`: a profile with `login_session`, whose token is in the home in a file
//! named after the SHA-256 of the session.

use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use testkit::server::hmac::hex;

use super::bucket::Bucket;
use super::chain::{at_home, signer, with_token, write};
use super::sources::Sources;

const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/r/me";
/// Requests for a new token are signed with it. Made for this test; it protects nothing.
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
     MHcCAQEEIH6uPi+y4IgL9XdrC0+NVV24edb3Ez27KwdioAKvjb0HoAoGCCqGSM49\n\
     AwEHoUQDQgAE6FhdUr0CdR88jvzZiO05I1l/rgFI4c+Ba8RSP2Zi1x43bY7Rw4ZP\n\
     QwcfJwuWkzCj5XmUxPRxMIq1fGIF4nHaLQ==\n\
     -----END EC PRIVATE KEY-----\n";

/// A login in this home, until then.
fn log_in(home: &Path, until: &str) {
    let cache = home.join(".aws/login/cache");
    std::fs::create_dir_all(&cache).expect("a folder");
    let name = hex(&Sha256::digest(SESSION));
    let token = json!({
        "accessToken": {
            "accessKeyId": "LOGIN", "secretAccessKey": "secret", "sessionToken": "token of LOGIN",
            "accountId": "123456789012", "expiresAt": until,
        },
        "tokenType": "aws_sigv4", "refreshToken": "again", "dpopKey": KEY,
        "clientId": "arn:aws:signin:::devtools/same-device",
    });
    write(&cache, &format!("{name}.json"), &token.to_string());
}

#[test]
fn who_logged_in_has_the_keys_of_the_session() {
    let (sources, home) = (Sources::start(), tempfile::tempdir().expect("folder"));
    let home = home.path();
    let text = format!("[default]\nlogin_session = {SESSION}\nregion = us-east-1\n");
    let program = sources
        .on_machine(&at_home(home))
        .with_variable("AWS_CONFIG_FILE", &write(home, "config", &text))
        .with_variable("AWS_ENDPOINT_URL_SIGNIN", &sources.endpoint());
    let bucket = Bucket::start();
    let failure = program.run(["ltx", &bucket.url()]).expect_err("nobody");
    let said = failure.to_string();
    assert!(said.contains("`aws login`"), "{said}");
    assert!(!said.contains("given up after"), "{said}");

    log_in(home, "2100-01-01T00:00:00Z");
    assert_eq!(signer(&program), with_token("LOGIN"));
    log_in(home, "2020-01-01T00:00:00Z");
    assert_eq!(signer(&program), with_token("RENEWED"));
    // The new token is kept for whoever comes next.
    let asked = sources.asked().len();
    assert_eq!(signer(&program), with_token("RENEWED"));
    assert_eq!(sources.asked().len(), asked);
}
