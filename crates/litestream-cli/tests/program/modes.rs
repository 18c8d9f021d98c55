//! Modes and owners of what is written.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use testkit::program::replica_files;

use super::Application;
use super::place::{Place, ours};

/// A user and a group that own nothing else; only the root user can give files to them.
const OWNER: (u32, u32) = (23_456, 34_567);

fn permit(path: &Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("mode");
}

#[test]
fn files_are_as_open_as_the_database() {
    let place = Place::new();
    let folder = place.path("app");
    std::fs::create_dir(&folder).expect("folder");
    let db = folder.join("db");
    let application = Application::open(&db);
    application.insert(3);
    permit(&folder, 0o750);
    permit(&db, 0o640);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        for path in [&folder, &db] {
            chown(path, Some(OWNER.0), Some(OWNER.1)).expect("another owner");
        }
    }
    let replica = place.path("backup/replica");
    ours().replicate_once(&db, &replica).expect("a replica");
    let mut seen = 0;
    for root in [folder.join(".db-litestream"), replica] {
        for file in replica_files(&root) {
            let file = root.join(file);
            expect(&file, 0o640, is_root);
            let folders = file.ancestors().skip(1);
            for above in folders.take_while(|above| above.starts_with(&root)) {
                expect(above, 0o750, is_root);
            }
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} files");
}

fn expect(path: &Path, mode: u32, is_root: bool) {
    let metadata = std::fs::metadata(path).expect("metadata");
    assert_eq!(metadata.mode() & 0o7777, mode, "mode of {}", path.display());
    if is_root {
        let owner = (metadata.uid(), metadata.gid());
        assert_eq!(owner, OWNER, "owner of {}", path.display());
    }
}
