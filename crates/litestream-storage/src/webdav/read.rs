//! Get and head.
//!
//! Invariant: a body has exactly the bytes of the range, from one answer of the server, or ends
//! with an error; what is not a file is not there.

use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, RANGE,
};
use http::{Response, StatusCode};

use bytes::Bytes;

use super::request::{Content, rest};
use super::{KIND, Shared, file_meta, multistatus, object_meta};
use crate::remote_path as path;
use crate::{
    ByteRange, CHUNK_SIZE, Error, ErrorKind, HttpBody, Key, Object, ObjectMeta, Operation, Result,
};

const GET: Operation = Operation::Get;

pub(super) async fn head(shared: &Shared, key: Key) -> Result<ObjectMeta> {
    let target = path::object(&shared.root, key.as_str(), Operation::Head)?;
    look(shared, Operation::Head, key, &target).await
}

/// The metadata of a file, by its properties.
async fn look(shared: &Shared, operation: Operation, key: Key, target: &str) -> Result<ObjectMeta> {
    let found = shared.server.find(operation, target).await?;
    let Some(found) = found.filter(|found| !found.collection) else {
        return Err(Error::new(ErrorKind::NotFound, operation));
    };
    file_meta(key, &found).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, operation)
            .with_detail(format!("the server tells no length of {target}"))
    })
}

pub(super) async fn get(shared: &Shared, key: Key, range: ByteRange) -> Result<Object> {
    let target = path::object(&shared.root, key.as_str(), GET)?;
    // No file is as long, and servers compute with such numbers.
    if range.len == Some(0) || i64::try_from(range.offset).is_err() {
        let meta = look(shared, GET, key, &target).await?;
        return Ok(Object {
            meta,
            body: stream::empty().boxed(),
        });
    }
    let mut headers = vec![(ACCEPT_ENCODING, "identity".to_owned())];
    if let Some(text) = range_text(range) {
        headers.push((RANGE, text));
    }
    let answer = shared
        .server
        .send(GET, "GET", &target, &headers, Content::Nothing)
        .await?;
    match answer.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            // Servers show collections as pages for people, which have no tag.
            if answer.headers().get(ETAG).is_none() {
                look(shared, GET, key.clone(), &target).await?;
            }
            open(shared, key, range, answer)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            rest(answer).await;
            let meta = look(shared, GET, key, &target).await?;
            if range.len_in(meta.size) > 0 {
                return Err(Error::new(ErrorKind::Io, GET).with_detail(format!(
                    "the server refuses {range:?} of a file of {} bytes",
                    meta.size
                )));
            }
            Ok(Object {
                meta,
                body: stream::empty().boxed(),
            })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(shared.server.failed(GET, "GET", answer).await)
        }
        _ => {
            let error = shared.server.failed(GET, "GET", answer).await;
            // Some refuse to show collections, or what is below a file.
            match error.kind() {
                ErrorKind::Unavailable { .. } => Err(error),
                _ => match look(shared, GET, key, &target).await {
                    Err(missing) if missing.is_not_found() => Err(missing),
                    _ => Err(error),
                },
            }
        }
    }
}

/// The header of a range; `None` for the whole file.
fn range_text(range: ByteRange) -> Option<String> {
    let ByteRange { offset, len } = range;
    let last = len
        .and_then(|len| offset.checked_add(len - 1))
        .filter(|last| i64::try_from(*last).is_ok());
    match last {
        Some(last) => Some(format!("bytes={offset}-{last}")),
        None if offset > 0 => Some(format!("bytes={offset}-")),
        None => None,
    }
}

/// The object that an answer carries.
fn open(shared: &Shared, key: Key, range: ByteRange, answer: Response<HttpBody>) -> Result<Object> {
    let headers = answer.headers();
    let modified = text(headers, &LAST_MODIFIED).and_then(multistatus::date);
    let length = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let odd = |what: &str| {
        let detail = format!("{what}: {:?} {:?}", answer.status(), answer.headers());
        Error::new(ErrorKind::Corrupt, GET).with_detail(detail)
    };
    // Where the bytes of the answer begin in the file, and how long that is.
    let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
    let (start, size) = if is_part {
        let part = text(headers, &CONTENT_RANGE).and_then(part);
        part.ok_or_else(|| odd("a part without its place"))?
    } else {
        (0, length.ok_or_else(|| odd("a file without its length"))?)
    };
    if start > range.offset {
        return Err(odd("another part than was asked for"));
    }
    shared.ranges.answered(range, size, is_part);
    let meta = object_meta(key.clone(), size, modified);
    let cut = Cut {
        body: answer.into_body().into_stream(),
        key,
        skip: range.offset - start,
        left: range.len_in(size),
        kept: Bytes::new(),
    };
    let body = stream::try_unfold(cut, |mut cut| async move {
        match cut.next().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, cut))),
            Err(error) => Err(error.with_backend(KIND).with_key(&cut.key)),
        }
    });
    Ok(Object {
        meta,
        body: body.boxed(),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Start and whole length in `bytes 5-9/100`.
fn part(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// The wanted bytes of an answer, which may have more.
struct Cut {
    body: BoxStream<'static, Result<Bytes, crate::HttpError>>,
    key: Key,
    /// Bytes before the first that is wanted.
    skip: u64,
    /// Bytes still wanted.
    left: u64,
    /// What is left of a chunk that was too long.
    kept: Bytes,
}

impl Cut {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.kept.is_empty() {
            if self.left == 0 {
                return Ok(None);
            }
            let Some(chunk) = self.body.next().await else {
                return Err(Error::new(ErrorKind::Io, GET)
                    .with_detail(format!("the answer ends {} bytes early", self.left)));
            };
            let mut chunk = chunk.map_err(|error| error.into_error(GET))?;
            let skip = self.skip.min(chunk.len() as u64);
            self.skip -= skip;
            drop(chunk.split_to(skip as usize));
            if chunk.is_empty() && skip > 0 {
                // However much there is to pass over, it does not stand still.
                return Ok(Some(chunk));
            }
            let take = self.left.min(chunk.len() as u64);
            self.left -= take;
            self.kept = chunk.split_to(take as usize);
        }
        let len = self.kept.len().min(CHUNK_SIZE);
        Ok(Some(self.kept.split_to(len)))
    }
}

#[cfg(test)]
mod tests {
    use super::{part, range_text};
    use crate::ByteRange;

    #[test]
    fn ranges_are_written_as_servers_read_them() {
        let cases = [
            (ByteRange::ALL, None),
            (ByteRange::from(5), Some("bytes=5-")),
            (ByteRange::new(0, 1), Some("bytes=0-0")),
            (ByteRange::new(5, 10), Some("bytes=5-14")),
            (ByteRange::new(7, u64::MAX), Some("bytes=7-")),
            (ByteRange::new(0, u64::MAX), None),
        ];
        for (range, expected) in cases {
            assert_eq!(range_text(range).as_deref(), expected, "{range:?}");
        }
    }

    #[test]
    fn places_of_parts_are_read() {
        assert_eq!(part("bytes 5-9/100"), Some((5, 100)));
        for bad in [
            "",
            "bytes */100",
            "bytes 5-9/*",
            "items 5-9/100",
            "bytes -/1",
        ] {
            assert_eq!(part(bad), None, "{bad:?}");
        }
    }
}
