//! Golden manifests are read whole, and lie beside the files they speak of.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use testkit::golden::{
    self, CorruptManifest, GenerationsManifest, Request, RestoreOutcome, Tree, read_manifest,
};
use testkit::hash::{Access, file_hash, integrity_check};
use testkit::program::{RestoreTarget, Source, replica_files};
use testkit::reference::{Version, reference_or_skip};

/// The one tree that this crate carries for its own tests.
fn own_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The whole collection, or a loud word that it is not there.
fn whole_collection() -> Option<PathBuf> {
    match golden::root() {
        Ok(root) => Some(root),
        Err(error) => {
            // Not `eprintln!`: the test harness hides that of a test that passes.
            let text = format!("\nGOLDEN VECTORS SKIPPED: {error:#}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            None
        }
    }
}

/// Every tree at hand: the own one, and the whole collection where there is one.
fn trees() -> Vec<Tree> {
    let mut trees = Tree::all(&own_root()).unwrap();
    if let Some(root) = whole_collection() {
        trees.extend(Tree::all(&root).unwrap());
    }
    assert!(!trees.is_empty());
    trees
}

#[test]
fn trees_have_the_files_of_their_manifests() {
    for tree in trees() {
        assert!(
            tree.folder.ends_with(&tree.manifest.name),
            "{}",
            tree.folder.display()
        );
        let folder = tempfile::tempdir().unwrap();
        tree.copy_replica(folder.path()).unwrap();
        let mut named: Vec<PathBuf> = tree
            .manifest
            .files
            .iter()
            .map(golden::LtxFile::path)
            .collect();
        named.sort();
        assert_eq!(
            replica_files(folder.path()),
            named,
            "{}",
            tree.manifest.name
        );
        for file in &tree.manifest.files {
            let path = folder.path().join(file.path());
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), file.size, "{}", path.display());
            assert_eq!(file_hash(&path).unwrap(), file.sha256, "{}", path.display());
            let time = metadata
                .modified()
                .unwrap()
                .duration_since(UNIX_EPOCH)
                .unwrap();
            assert_eq!(
                time.as_millis(),
                u128::from(file.timestamp_ms),
                "{}",
                path.display()
            );
        }
        let pages: u64 = tree
            .manifest
            .files
            .iter()
            .flat_map(|file| &file.page_ranges)
            .map(|(low, high)| u64::from(high - low) + 1)
            .sum();
        assert_eq!(
            pages,
            tree.manifest
                .files
                .iter()
                .map(|file| file.page_count)
                .sum::<u64>()
        );
    }
}

#[test]
fn the_real_binary_restores_a_tree_as_its_manifest_says() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let tree = Tree::open(&own_root().join("ltx/trees/tiny")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let replica = folder.path().join("replica");
    tree.copy_replica(&replica).unwrap();
    let source = Source::Replica(replica);
    assert!(!tree.manifest.restores.is_empty());
    for (number, restore) in tree.manifest.restores.iter().enumerate() {
        let target = match &restore.request {
            Request::Latest => RestoreTarget::Latest,
            Request::Txid(txid) => RestoreTarget::Txid(txid.clone()),
            Request::Timestamp(time) => RestoreTarget::Timestamp(time.clone()),
        };
        let out = folder.path().join(number.to_string());
        let result = reference.restore(&source, &out, &target);
        match &restore.outcome {
            RestoreOutcome::Restored { database, .. } => {
                result.unwrap();
                assert_eq!(
                    file_hash(&out).unwrap(),
                    database.sha256,
                    "{:?}",
                    restore.request
                );
                integrity_check(&out, Access::Rest).unwrap();
            }
            RestoreOutcome::Failed(error) => {
                let failure = result.unwrap_err();
                assert!(
                    failure.stderr.contains(error),
                    "{:?}: {failure}",
                    restore.request
                );
            }
        }
    }
}

#[test]
fn the_whole_collection_is_read_where_there_is_one() {
    let Some(root) = whole_collection() else {
        return;
    };
    let replicas = GenerationsManifest::all(&root).unwrap();
    assert!(replicas.len() > 5);
    for (from, manifest) in &replicas {
        if manifest.files.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        manifest.copy_replica(from, folder.path()).unwrap();
        for file in &manifest.files {
            let path = folder.path().join(&file.path);
            assert_eq!(file_hash(&path).unwrap(), file.sha256, "{}", path.display());
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            let time = time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
            assert_eq!(time, u128::from(file.mtime_ns), "{}", path.display());
        }
    }
    damage_to_generations_can_be_done(&replicas);
    let corrupt = root.join("ltx/corrupt");
    let manifest: CorruptManifest = read_manifest(&corrupt.join("manifest.json")).unwrap();
    assert!(manifest.cases.len() > 50);
    for case in &manifest.cases {
        assert!(
            manifest.base_restores.contains_key(&case.base),
            "{}",
            case.case
        );
        let folder = tempfile::tempdir().unwrap();
        case.copy_replica(&corrupt, folder.path()).unwrap();
        let there = replica_files(folder.path());
        for (name, replacement) in &case.replaced {
            let path = Path::new("ltx/0").join(name);
            assert_eq!(
                there.contains(&path),
                replacement.is_some(),
                "{}: {name}",
                case.case
            );
        }
    }
}

fn damage_to_generations_can_be_done(replicas: &[(PathBuf, GenerationsManifest)]) {
    let (_, edges) = replicas
        .iter()
        .find(|(_, manifest)| !manifest.cases.is_empty())
        .unwrap();
    let base = edges.base.as_deref().unwrap();
    let (from, manifest) = replicas
        .iter()
        .find(|(_, manifest)| manifest.name == base)
        .unwrap();
    let generation = edges.generation.as_deref().unwrap();
    let mut distinct = std::collections::BTreeSet::new();
    for case in &edges.cases {
        let folder = tempfile::tempdir().unwrap();
        case.copy_replica(from, manifest, generation, folder.path())
            .unwrap();
        let state: Vec<_> = replica_files(folder.path())
            .into_iter()
            .map(|file| {
                let path = folder.path().join(&file);
                let time = std::fs::metadata(&path).unwrap().modified().unwrap();
                (file, file_hash(&path).unwrap(), time)
            })
            .collect();
        assert!(distinct.insert(state), "case {} is like another", case.name);
    }
    assert!(distinct.len() > 20);
}
