//! Put and delete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::HeaderName;
use http::{Response, StatusCode};

use super::request::{Content, rest};
use super::temp::{self, Temp};
use super::upload::Upload;
use super::{KIND, Shared, file_meta};
use crate::calls::delete_each;
use crate::remote_path as path;
use crate::{
    Body, Condition, Error, ErrorKind, HttpBody, Key, ObjectMeta, Operation, PutOptions, Result,
};

/// Deletions in flight.
const WINDOW: usize = 8;

const PUT: Operation = Operation::Put;

pub(super) async fn put(
    shared: &Arc<Shared>,
    key: Key,
    body: Body,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let target = path::object(&shared.root, key.as_str(), PUT)?;
    if options.condition != Condition::None {
        return Err(Error::new(ErrorKind::Unsupported, PUT)
            .with_detail("few WebDAV servers check conditions in one step"));
    }
    let once_only = matches!(body, Body::Stream(_));
    let upload = Upload::new(body).await?;
    let call = || put_once(shared, &key, &target, &upload);
    if once_only {
        // The layer around the store cannot read it again; it is staged here.
        shared.retrying.persist(call).await
    } else {
        call().await
    }
}

/// One try.
async fn put_once(
    shared: &Arc<Shared>,
    key: &Key,
    target: &str,
    upload: &Upload,
) -> Result<ObjectMeta> {
    if shared.without_move.load(Ordering::Relaxed) {
        send(shared, target, upload).await?;
    } else {
        let temp = Temp::new(shared, target);
        if let Err(error) = send(shared, temp.path(), upload).await {
            temp.discard().await;
            return Err(error);
        }
        publish(shared, temp, target, upload).await?;
    }
    let there = shared.server.find(PUT, target).await?;
    let size = upload.size();
    match there.and_then(|found| file_meta(key.clone(), &found)) {
        Some(meta) if meta.size == size => {
            temp::clear(shared);
            Ok(meta)
        }
        Some(meta) => {
            let detail = format!("{target}: sent {size} bytes, found {}", meta.size);
            Err(Error::new(ErrorKind::Corrupt, PUT).with_detail(detail))
        }
        // Some servers replace a file in two steps, and another writer is between them.
        None => {
            let detail = format!("{target}: sent {size} bytes, found nothing");
            Err(Error::new(ErrorKind::Io, PUT).with_detail(detail))
        }
    }
}

/// PUT, with the collections that are missing.
async fn send(shared: &Shared, target: &str, upload: &Upload) -> Result<()> {
    for last in [false, true] {
        let answer = shared
            .server
            .send(PUT, "PUT", target, &[], Content::Upload(upload))
            .await?;
        match answer.status() {
            status if status.is_success() => {
                rest(answer).await;
                return Ok(());
            }
            // 409 by the standard; some say that something was not found.
            StatusCode::CONFLICT | StatusCode::NOT_FOUND if !last => {
                rest(answer).await;
                make_collections(shared, target).await?;
            }
            status => {
                let error = shared.server.failed(PUT, "PUT", answer).await;
                // It is not the object that was not found.
                return Err(if status == StatusCode::NOT_FOUND {
                    error.with_kind(ErrorKind::Invalid)
                } else {
                    error
                });
            }
        }
    }
    unreachable!("the last round returns")
}

/// Makes the collections that `target` is in, from the outermost on.
async fn make_collections(shared: &Shared, target: &str) -> Result<()> {
    let ends = target.match_indices('/').map(|(at, _)| at);
    for end in ends.filter(|end| *end > 0) {
        // With a slash at its end, as collections have: servers redirect otherwise.
        let collection = &target[..=end];
        let answer = shared
            .server
            .send(PUT, "MKCOL", collection, &[], Content::Nothing)
            .await?;
        match answer.status() {
            status if status.is_success() => rest(answer).await,
            // There already; what really is missing shows at the next PUT.
            StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::CONFLICT
            | StatusCode::MOVED_PERMANENTLY
            | StatusCode::PERMANENT_REDIRECT
            | StatusCode::FORBIDDEN => rest(answer).await,
            _ => return Err(shared.server.failed(PUT, "MKCOL", answer).await),
        }
    }
    Ok(())
}

/// Gives the uploaded file its final name.
async fn publish(shared: &Shared, temp: Temp, target: &str, upload: &Upload) -> Result<()> {
    let answer = match rename(shared, temp.path(), target).await {
        Ok(answer) => answer,
        Err(error) => {
            temp.discard().await;
            return Err(error);
        }
    };
    let status = answer.status();
    if is_moved(status) {
        temp.moved();
        rest(answer).await;
        return Ok(());
    }
    let error = shared.server.failed(PUT, "MOVE", answer).await;
    temp.discard().await;
    if !matches!(
        status,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    ) {
        return Err(match status {
            StatusCode::NOT_FOUND => error.with_kind(ErrorKind::Io),
            _ => error,
        });
    }
    if !shared.without_move.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "the webdav server has no MOVE: readers may see files while they are being written"
        );
    }
    send(shared, target, upload).await
}

/// MOVE, in whichever way of writing the destination the server takes.
///
/// A whole address is what every server reads. But one behind a proxy that ends TLS, or that gives
/// it another name, takes that address for another server's (502, or 400 in nginx), where it knows
/// its own paths.
async fn rename(shared: &Shared, temp: &str, target: &str) -> Result<Response<HttpBody>> {
    let server = &shared.server;
    let rename = |destination: String| async move {
        let headers = [
            (HeaderName::from_static("destination"), destination),
            (HeaderName::from_static("overwrite"), "T".to_owned()),
        ];
        server
            .send(PUT, "MOVE", temp, &headers, Content::Nothing)
            .await
    };
    if shared.moves_by_path.load(Ordering::Relaxed) {
        return rename(server.target(target)).await;
    }
    let first = rename(server.address(target)).await?;
    if !matches!(
        first.status(),
        StatusCode::BAD_GATEWAY | StatusCode::BAD_REQUEST
    ) {
        return Ok(first);
    }
    match rename(server.target(target)).await {
        Ok(second) if is_moved(second.status()) => {
            shared.moves_by_path.store(true, Ordering::Relaxed);
            rest(first).await;
            Ok(second)
        }
        Ok(second) => {
            rest(second).await;
            Ok(first)
        }
        Err(_) => Ok(first),
    }
}

/// 207: it could move a part of it, and a file has none.
fn is_moved(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::MULTI_STATUS
}

pub(super) async fn delete(shared: &Shared, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
    let delete = |key: Key| async move { remove(shared, &key).await };
    Ok(delete_each(KIND, keys, WINDOW, delete).await)
}

async fn remove(shared: &Shared, key: &Key) -> Result<()> {
    let target = path::object(&shared.root, key.as_str(), Operation::Delete)?;
    let answer = shared
        .server
        .send(Operation::Delete, "DELETE", &target, &[], Content::Nothing)
        .await?;
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => {}
        status if status.is_success() && status != StatusCode::MULTI_STATUS => {}
        // Below something that is missing, or is a file.
        StatusCode::CONFLICT if is_nothing(shared, &target).await? => {}
        _ => {
            return Err(shared
                .server
                .failed(Operation::Delete, "DELETE", answer)
                .await);
        }
    }
    rest(answer).await;
    Ok(())
}

async fn is_nothing(shared: &Shared, target: &str) -> Result<bool> {
    let found = shared.server.find(Operation::Delete, target).await?;
    Ok(found.is_none())
}
