//! Bodies: streams and files come out as they went in, or not at all.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Case, pattern};
use crate::{Body, ByteRange, Error, ErrorKind, PutOptions};

/// A stream over `content` in chunks of many sizes, empty ones among them, ending with `end`.
fn chunked(content: &[u8], end: Option<Error>) -> Body {
    let sizes = [0, 1, 100, 4096, 65_537, 700_000];
    let mut rest = Bytes::copy_from_slice(content);
    let mut chunks = Vec::new();
    for size in sizes.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        chunks.push(Ok(rest.split_to(size.min(rest.len()))));
    }
    chunks.extend(end.map(Err));
    Body::Stream(stream::iter(chunks).boxed())
}

pub(super) async fn streams(case: &Case) {
    for (name, len) in [
        ("small", 5000),
        ("chunk", 1 << 20),
        ("large", 11 * 1024 * 1024 + 3),
    ] {
        let content = pattern(len);
        let size_hints = [None, Some(len as u64)];
        for size_hint in size_hints {
            let options = PutOptions {
                size_hint,
                ..PutOptions::default()
            };
            let put = case.put_with(name, chunked(&content, None), options).await;
            assert_eq!(put.expect("storable").size, len as u64);
            assert!(case.get(name, ByteRange::ALL).await == content, "{name}");
        }
    }
}

pub(super) async fn files(case: &Case) {
    for (name, len) in [
        ("empty", 0),
        ("small", 5000),
        ("large", 6 * 1024 * 1024 + 1),
    ] {
        let content = pattern(len);
        let file = LocalFile::new(&content);
        let put = case.put(name, file.body(len as u64)).await;
        assert_eq!(put.size, len as u64);
        assert!(case.get(name, ByteRange::ALL).await == content, "{name}");
    }
}

pub(super) async fn wrong_files(case: &Case) {
    let file = LocalFile::new(&pattern(5000));
    for said in [0, 4999, 5001, 2_000_000] {
        let put = case
            .put_with("object", file.body(said), PutOptions::default())
            .await;
        case.failed("object", put, ErrorKind::Invalid);
        case.absent("object").await;
    }
    let path = std::env::temp_dir().join("litestream-contract/no/such/file");
    let missing = Body::File { path, size: 10 };
    let put = case
        .put_with("object", missing, PutOptions::default())
        .await;
    case.failed("object", put, ErrorKind::Invalid);
    case.absent("object").await;
}

pub(super) async fn broken_streams(case: &Case) {
    let broken = || Some(Error::from_body(io::Error::other("the source broke")));
    for len in [0, 10, 3 << 20] {
        let body = chunked(&pattern(len), broken());
        let put = case.put_with("object", body, PutOptions::default()).await;
        case.failed("object", put, ErrorKind::Invalid);
        case.absent("object").await;
    }
    // A broken overwrite leaves the old object.
    case.put("object", vec![5; 50]).await;
    let body = chunked(&pattern(3 << 20), broken());
    let put = case.put_with("object", body, PutOptions::default()).await;
    case.failed("object", put, ErrorKind::Invalid);
    assert_eq!(case.get("object", ByteRange::ALL).await, vec![5; 50]);
    assert_eq!(case.list("", None).await, ["object"]);
}

pub(super) async fn replaced_while_read(case: &Case) {
    if !case.abilities.steady_bodies {
        return;
    }
    let content = pattern(5 << 20);
    for replace in [true, false] {
        case.put("object", content.clone()).await;
        let object = case
            .store
            .get(case.key("object"), ByteRange::ALL)
            .await
            .expect("readable");
        let mut body = object.body;
        let first = body.try_next().await.expect("readable").expect("not empty");
        if replace {
            case.put("object", vec![9; 5 << 20]).await;
        } else {
            case.store
                .delete(vec![case.key("object")])
                .await
                .expect("deletable");
        }
        let mut read = first.to_vec();
        // A service may cut the transfer off, but must not go on with the new content.
        while let Some(Ok(chunk)) = body.next().await {
            read.extend_from_slice(&chunk);
        }
        assert!(
            content.starts_with(&read),
            "mixed versions after {} bytes",
            read.len()
        );
    }
}

/// A file in the temporary directory, removed when dropped.
struct LocalFile(std::path::PathBuf);

impl LocalFile {
    fn new(content: &[u8]) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("litestream-contract-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("the temporary directory is writable");
        Self(path)
    }

    fn body(&self, size: u64) -> Body {
        Body::File {
            path: self.0.clone(),
            size,
        }
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
