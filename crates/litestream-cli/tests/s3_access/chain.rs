//! The sources of credentials, in their order.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::program::Program;

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};
use super::sources::{CONTAINER, PORTAL, Sources};

/// The program in a home of its own.
pub(crate) fn at_home(home: &Path) -> Program {
    ours().with_variable("HOME", home.to_str().expect("UTF-8"))
}

/// Who signs the requests of a program.
pub(crate) fn signer(program: &Program) -> (String, Option<String>) {
    let bucket = Bucket::start();
    let listed = program.run(["ltx", &bucket.url()]);
    listed.unwrap_or_else(|failure| panic!("{failure}"));
    let mut signed = bucket.state().signed();
    signed.dedup();
    assert_eq!(signed.len(), 1, "{signed:?}");
    signed.remove(0)
}

fn alone(key: &str) -> (String, Option<String>) {
    (key.to_owned(), None)
}

pub(crate) fn with_token(key: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(format!("token of {key}")))
}

/// Files in a home, and what they say.
pub(crate) fn write(home: &Path, name: &str, text: &str) -> String {
    let file = home.join(name);
    std::fs::write(&file, text).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

#[test]
fn each_source_gives_way_to_the_one_before() {
    let (sources, home) = (Sources::start(), tempfile::tempdir().expect("folder"));
    let home = home.path();
    // From the last choice to the first: each is added to those before.
    let machine = sources.on_machine(&at_home(home));
    assert_eq!(signer(&machine), with_token("MACHINE1"));
    let asked = sources.asked();
    assert!(asked[0].starts_with("PUT /latest/api/token"), "{asked:?}");

    let container = machine
        .with_variable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/container", sources.endpoint()),
        )
        .with_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER);
    assert_eq!(signer(&container), with_token("CONTAINER"));

    let text = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n\
                [work]\naws_access_key_id = WORK\naws_secret_access_key = s\n";
    let file = write(home, "credentials", text);
    let shared = container.with_variable("AWS_SHARED_CREDENTIALS_FILE", &file);
    assert_eq!(signer(&shared), alone("DEFAULT"));
    let work = shared.with_variable("AWS_PROFILE", "work");
    assert_eq!(signer(&work), alone("WORK"));

    let token = write(home, "token", "trusted");
    let web = work
        .with_variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .with_variable("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
        .with_variable("AWS_ENDPOINT_URL_STS", &sources.endpoint());
    assert_eq!(signer(&web), with_token("WEB"));

    let before = sources.asked().len();
    let second = web
        .with_variable("LITESTREAM_ACCESS_KEY_ID", "SECOND")
        .with_variable("LITESTREAM_SECRET_ACCESS_KEY", "s");
    assert_eq!(signer(&second), alone("SECOND"));
    let first = second
        .with_variable("AWS_ACCESS_KEY_ID", "FIRST")
        .with_variable("AWS_SECRET_ACCESS_KEY", "s");
    assert_eq!(signer(&first), alone("FIRST"));
    let temporary = first.with_variable("AWS_SESSION_TOKEN", "token of FIRST");
    assert_eq!(signer(&temporary), with_token("FIRST"));

    // The configuration is before them all, and brings no token of others.
    let (bucket, place) = (Bucket::start(), Place::new());
    let config = place.configure(&Settings {
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": bucket.endpoint(),
            "access-key-id": "CONFIGURED", "secret-access-key": "s",
        }),
        ..Settings::default()
    });
    let db = place.db();
    let args = [Path::new("ltx"), Path::new("-config"), &config, &db];
    temporary
        .run(args)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(bucket.state().signed(), [alone("CONFIGURED")]);
    assert_eq!(
        sources.asked().len(),
        before,
        "nobody is asked for what is there"
    );
}

#[test]
fn profiles_take_roles_and_run_programs() {
    let (sources, home) = (Sources::start(), tempfile::tempdir().expect("folder"));
    let home = home.path();
    let token = write(home, "token", "trusted");
    let text = format!(
        "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n\
         [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n\
         [profile web]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = {token}\n\
         [profile run]\ncredential_process = echo \
         '{{\"Version\":1,\"AccessKeyId\":\"RUN\",\"SecretAccessKey\":\"s\"}}'\n"
    );
    let file = write(home, "config", &text);
    let program = sources
        .on_machine(&at_home(home))
        .with_variable("AWS_CONFIG_FILE", &file)
        .with_variable("AWS_ENDPOINT_URL_STS", &sources.endpoint());
    for (profile, expected) in [
        ("base", alone("BASE")),
        ("role", with_token("ROLE")),
        ("web", with_token("WEB")),
        ("run", alone("RUN")),
    ] {
        let program = program.with_variable("AWS_PROFILE", profile);
        assert_eq!(signer(&program), expected, "{profile}");
    }
}

/// `aws sso login` leaves a token in the home; its file is named after the SHA-1 of the address of the
/// portal, or of the name of the session.
#[test]
fn who_logged_in_at_the_portal_has_its_role() {
    let (sources, home) = (Sources::start(), tempfile::tempdir().expect("folder"));
    let home = home.path();
    let start = "https://portal.example/start";
    let role = "sso_account_id = 1\nsso_role_name = r\n";
    let text = format!(
        "[profile old]\nsso_start_url = {start}\nsso_region = us-east-1\n{role}\
         [profile new]\nsso_session = team\n{role}\
         [sso-session team]\nsso_start_url = {start}\nsso_region = us-east-1\n"
    );
    let file = write(home, "config", &text);
    let cache = home.join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).expect("a folder");
    let program = sources
        .on_machine(&at_home(home))
        .with_variable("AWS_CONFIG_FILE", &file)
        .with_variable("AWS_ENDPOINT_URL_SSO", &sources.endpoint());
    for (profile, name) in [
        ("old", "5863e3e4b5a9564b6e829cf4aa6724bdbf9788a5"),
        ("new", "d25187dc137f35c88bc80ec8c3ffbdb17b5eb873"),
    ] {
        let program = program.with_variable("AWS_PROFILE", profile);
        let token = json!({"accessToken": PORTAL, "expiresAt": "2100-01-01T00:00:00Z"});
        write(&cache, &format!("{name}.json"), &token.to_string());
        assert_eq!(signer(&program), with_token("PORTAL"), "{profile}");
    }
}

#[test]
fn a_source_that_is_named_and_fails_is_not_replaced_by_another() {
    let (sources, home) = (Sources::start(), tempfile::tempdir().expect("folder"));
    let home = home.path();
    let token = write(home, "token", "nobody knows it");
    let program = sources
        .on_machine(&at_home(home))
        .with_variable("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
        .with_variable("AWS_ENDPOINT_URL_STS", &sources.endpoint());
    let bucket = Bucket::start();
    for (token, text) in [
        (token, "AccessDenied"),
        (home.join("none").display().to_string(), "none"),
    ] {
        let program = program.with_variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
        let failure = program.run(["ltx", &bucket.url()]).expect_err("nobody");
        let said = failure.to_string();
        assert!(said.contains(text), "{said}");
        let asked = sources.asked();
        let machine = asked.iter().any(|line| line.contains("/latest/"));
        assert!(!machine, "signed as somebody else: {asked:?}");
    }
    assert!(bucket.state().signed().is_empty(), "nothing can be asked");
}

/// A program that gives nothing, and a portal where nobody is logged in, would say the same again.
#[test]
fn a_source_that_will_not_change_is_asked_once() {
    let home = tempfile::tempdir().expect("folder");
    let home = home.path();
    let runs = home.join("runs");
    let start = "sso_start_url = https://portal.example/start\nsso_region = us-east-1\n";
    let role = "sso_account_id = 1\nsso_role_name = r\n";
    let text = format!(
        "[profile old]\n{start}{role}[profile new]\nsso_session = team\n{role}\
         [sso-session team]\n{start}\
         [profile run]\ncredential_process = echo run >> {} && echo no key today >&2 && false\n",
        runs.display()
    );
    let program = at_home(home).with_variable("AWS_CONFIG_FILE", &write(home, "config", &text));
    let bucket = Bucket::start();
    for (profile, expected) in [
        ("old", "aws sso login"),
        ("new", "aws sso login"),
        ("run", "no key today"),
    ] {
        let program = program.with_variable("AWS_PROFILE", profile);
        let failure = program.run(["ltx", &bucket.url()]).expect_err("nobody");
        let said = failure.to_string();
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("access denied"), "{said}");
        assert!(!said.contains("given up after"), "{said}");
    }
    let runs = std::fs::read_to_string(runs).expect("it ran");
    assert_eq!(runs, "run\n");
    assert!(bucket.state().signed().is_empty(), "nothing can be asked");
}

#[test]
fn without_credentials_it_ends_soon_and_says_what_was_missing() {
    let home = tempfile::tempdir().expect("folder");
    let bucket = Bucket::start();
    // A machine without a metadata service, and one whose service never answers.
    let none = at_home(home.path());
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let deaf = none
        .with_variable("AWS_EC2_METADATA_DISABLED", "false")
        .with_variable(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            &format!("http://{address}"),
        );
    for program in [none, deaf] {
        let begun = Instant::now();
        let failure = program.run(["ltx", &bucket.url()]).expect_err("nobody");
        let said = failure.to_string();
        assert!(said.contains("no credentials"), "{said}");
        assert!(said.contains("AWS_ACCESS_KEY_ID"), "{said}");
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{:?}",
            begun.elapsed()
        );
    }
    assert!(bucket.state().signed().is_empty(), "nothing can be asked");
}

#[test]
fn settings_of_other_tools_do_no_harm() {
    let home = tempfile::tempdir().expect("folder");
    let program = at_home(home.path())
        .with_variable("AWS_ACCESS_KEY_ID", "KEY")
        .with_variable("AWS_SECRET_ACCESS_KEY", "s");
    for (name, value) in [
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_RETRY_MODE", "nonsense"),
        ("AWS_CONFIG_FILE", "/none"),
        ("AWS_DEFAULTS_MODE", "nonsense"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "nonsense"),
    ] {
        let program = program.with_variable(name, value);
        assert_eq!(signer(&program), alone("KEY"), "{name}");
    }
}
