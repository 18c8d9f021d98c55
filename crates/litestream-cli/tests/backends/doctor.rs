//! `doctor` on every server that there is: what it finds, how it ends, and that nothing is left.

use std::path::Path;

use serde_json::{Value, json};
use testkit::program::Program;
use testkit::server::{
    AZURITE_ACCOUNT, AZURITE_KEY, Azurite, FILES_PASSWORD, FILES_USER, FakeGcs, Moto, Nats, Nginx,
    RcloneS3, RcloneSftp, RcloneWebdav, S3_ACCESS_KEY, S3_SECRET_KEY, Sshd, Wsgidav, WsgidavLogin,
    ask,
};

use super::place::{Place, Settings, ours};

const BUCKET: &str = "bkt";

/// What was found: exit code 0, and the probes that do not say `ok`.
#[derive(Debug)]
struct Found {
    is_well: bool,
    others: Vec<(String, String)>,
    answer: Value,
}

impl Found {
    fn detail(&self, probe: &str) -> &str {
        let probes = self.answer["replicas"][0]["probes"].as_array();
        let mut probes = probes.expect("probes").iter();
        let found = probes.find(|found| found["probe"] == probe);
        found.expect(probe)["detail"].as_str().expect("text")
    }
}

fn examine(program: &Program, replica: &Value) -> Found {
    let place = Place::new();
    let config = place.configure(&Settings {
        replica: replica.clone(),
        ..Settings::default()
    });
    let db = place.db();
    let words = ["doctor", "-json", "-config"].map(Path::new);
    let words = words.into_iter().chain([&*config, &*db]);
    let (is_well, stdout) = match program.run(words) {
        Ok(done) => (true, done.stdout),
        Err(failure) => {
            assert_eq!(failure.status, Some(1), "{failure}");
            let said = failure.to_string();
            assert!(said.contains("replica cannot be used as it is"), "{said}");
            (false, failure.stdout)
        }
    };
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    let replica = &answer["replicas"][0];
    assert_eq!(replica["usable"], is_well, "{answer}");
    let probes = replica["probes"].as_array().expect("probes").iter();
    let others = probes
        .filter(|probe| probe["result"] != "ok")
        .map(|probe| {
            let text = |name: &str| probe[name].as_str().expect("text").to_owned();
            (text("probe"), text("result"))
        })
        .collect();
    Found {
        is_well,
        others,
        answer,
    }
}

/// The server works but for these probes, which say `missing`.
fn works_without(program: &Program, replica: &Value, missing: &[&str]) {
    let found = examine(program, replica);
    let expected: Vec<_> = missing
        .iter()
        .map(|probe| ((*probe).to_owned(), "missing".to_owned()))
        .collect();
    assert_eq!(found.others, expected, "{}", found.answer);
    assert!(found.is_well, "{}", found.answer);
    assert_eq!(found.answer["replicas"][0]["left_over"], Value::Null);
}

fn is_empty(folder: &Path) {
    let files = testkit::program::replica_files(folder);
    assert!(files.is_empty(), "left behind: {files:?}");
}

fn s3(endpoint: &str, bucket: &str, key: &str, secret: &str) -> Value {
    json!({
        "type": "s3", "bucket": bucket, "path": "app", "endpoint": endpoint,
        "region": "us-east-1", "access-key-id": key, "secret-access-key": secret,
    })
}

#[test]
fn moto_has_everything() {
    let Some(mut moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    works_without(&ours(), &s3(&moto.endpoint(), BUCKET, "x", "y"), &[]);
    let address = moto.server().address();
    for what in ["list-type=2", "uploads="] {
        let listed = ask(&address, "GET", &format!("/{BUCKET}?{what}"), &[], b"");
        let listed = listed.expect("answers").success().expect("listed").body;
        assert!(!listed.contains("<Key>"), "left behind: {listed}");
    }

    let found = examine(&ours(), &s3(&moto.endpoint(), "none", "x", "y"));
    assert!(!found.is_well);
    assert!(
        found.detail("list").contains("NoSuchBucket"),
        "{}",
        found.answer
    );
}

#[test]
fn rclone_ignores_conditions_and_knows_who_is_who() {
    let Some(rclone) = RcloneS3::start_or_skip(BUCKET) else {
        return;
    };
    let mut replica = s3(&rclone.endpoint(), BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY);
    // Its answers about uploads in parts cannot be read.
    let found = examine(&ours(), &replica);
    let large = ("large-put".to_owned(), "failed".to_owned());
    assert!(
        !found.is_well && found.others.contains(&large),
        "{}",
        found.answer
    );
    replica["part-size"] = json!("16MiB");
    works_without(
        &ours(),
        &replica,
        &["conditional-put", "conditional-delete"],
    );

    let wrong = s3(&rclone.endpoint(), BUCKET, S3_ACCESS_KEY, "another secret");
    let found = examine(&ours(), &wrong);
    assert!(!found.is_well);
    assert!(
        found.detail("list").contains("access denied"),
        "{}",
        found.answer
    );
}

#[test]
fn google_and_azure_keep_conditions() {
    let Some(gcs) = FakeGcs::start_or_skip(BUCKET) else {
        return;
    };
    let program = ours().with_variable("STORAGE_EMULATOR_HOST", &gcs.address());
    works_without(
        &program,
        // The emulator ignores the condition of a deletion.
        &json!({"type": "gs", "bucket": BUCKET, "path": "app"}),
        &["conditional-delete"],
    );

    let Some(azurite) = Azurite::start_or_skip(BUCKET) else {
        return;
    };
    let replica = json!({
        "type": "abs", "bucket": BUCKET, "path": "app", "endpoint": azurite.endpoint(),
        "account-name": AZURITE_ACCOUNT, "account-key": AZURITE_KEY,
    });
    works_without(&ours(), &replica, &[]);
}

#[test]
fn nats_has_everything() {
    let Some(nats) = Nats::start_or_skip() else {
        return;
    };
    let replica = json!({"url": format!("{}/{BUCKET}", nats.url())});
    let found = examine(&ours(), &replica);
    assert!(!found.is_well);
    assert!(
        found.detail("list").contains("create it first"),
        "{}",
        found.answer
    );
    nats.create_bucket(BUCKET, "").expect("bucket");
    works_without(&ours(), &replica, &[]);
}

fn sftp(sshd: &Sshd) -> Value {
    json!({
        "type": "sftp", "host": sshd.address(), "user": sshd.user(), "key-path": sshd.key(),
        "host-key": sshd.host_key(), "path": sshd.data().join("app"),
    })
}

#[test]
fn sftp_has_no_versions() {
    const MISSING: [&str; 3] = ["timestamp", "conditional-put", "conditional-delete"];
    let Some(sshd) = Sshd::start_or_skip() else {
        return;
    };
    works_without(&ours(), &sftp(&sshd), &MISSING);
    is_empty(&sshd.data());
    let mut wrong = sftp(&sshd);
    wrong["key-path"] = json!(sshd.other_key());
    let found = examine(&ours(), &wrong);
    assert!(!found.is_well);
    assert!(
        found.detail("list").contains("access denied"),
        "{}",
        found.answer
    );

    let Some(rclone) = RcloneSftp::start_or_skip() else {
        return;
    };
    let replica = json!({
        "type": "sftp", "host": rclone.address(), "user": FILES_USER, "password": FILES_PASSWORD,
        "path": "app",
    });
    works_without(&ours(), &replica, &MISSING);
}

#[test]
fn a_server_that_may_only_be_read_is_found_out() {
    let Some(sshd) = Sshd::start_with_or_skip("-R") else {
        return;
    };
    let found = examine(&ours(), &sftp(&sshd));
    assert!(!found.is_well);
    assert!(
        found.detail("put").contains("access denied"),
        "{}",
        found.answer
    );
    let skipped = ("get".to_owned(), "skipped".to_owned());
    assert!(found.others.contains(&skipped), "{}", found.answer);
    is_empty(&sshd.data());
}

#[test]
fn webdav_has_no_times_of_ours() {
    let plain =
        |endpoint: String| json!({"type": "webdav", "webdav-url": endpoint, "path": "/app"});
    if let Some(nginx) = Nginx::start_or_skip() {
        let missing = ["timestamp", "conditional-put", "conditional-delete"];
        works_without(&ours(), &plain(nginx.endpoint()), &missing);
    }
    if let Some(rclone) = RcloneWebdav::start_or_skip() {
        let mut replica = plain(rclone.endpoint());
        replica["webdav-username"] = json!(FILES_USER);
        replica["webdav-password"] = json!(FILES_PASSWORD);
        let missing = ["timestamp", "conditional-put", "conditional-delete"];
        works_without(&ours(), &replica, &missing);
        is_empty(&rclone.data());
        replica["webdav-password"] = json!("wrong");
        let found = examine(&ours(), &replica);
        assert!(!found.is_well);
        assert!(
            found.detail("list").contains("access denied"),
            "{}",
            found.answer
        );
    }
    if let Some(wsgidav) = Wsgidav::start_or_skip(WsgidavLogin::Digest) {
        let mut replica = plain(wsgidav.endpoint());
        replica["webdav-username"] = json!(FILES_USER);
        replica["webdav-password"] = json!(FILES_PASSWORD);
        let missing = ["timestamp", "conditional-put", "conditional-delete"];
        works_without(&ours(), &replica, &missing);
    }
}
