//! A body cut into parts of one size, for uploads.
//!
//! Invariant: holds no more than one part and the last chunk of the source; parts share the
//! source's memory where one chunk covers them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;

use crate::{Body, Result};

/// One part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its content; empty only for an empty body.
    pub(crate) data: Bytes,
    /// Whether nothing follows.
    pub(crate) is_last: bool,
}

/// Hands out a body part by part.
pub(crate) struct Parts {
    source: BoxStream<'static, Result<Bytes>>,
    waiting: VecDeque<Bytes>,
    len: usize,
    has_ended: bool,
}

impl Parts {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            source: body.into_stream(),
            waiting: VecDeque::new(),
            len: 0,
            has_ended: false,
        }
    }

    /// The next `size` bytes, fewer at the end. Reads one chunk beyond, to know whether it is the
    /// last part. After the last part only empty ones come.
    pub(crate) async fn next(&mut self, size: usize) -> Result<Part> {
        while self.len <= size && !self.has_ended {
            match self.source.try_next().await? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => {
                    self.len += chunk.len();
                    self.waiting.push_back(chunk);
                }
                None => self.has_ended = true,
            }
        }
        let data = self.take(size.min(self.len));
        Ok(Part {
            data,
            is_last: self.has_ended && self.len == 0,
        })
    }

    fn take(&mut self, size: usize) -> Bytes {
        self.len -= size;
        match self.waiting.front_mut() {
            Some(first) if first.len() > size => return first.split_to(size),
            Some(first) if first.len() == size => {
                return self.waiting.pop_front().unwrap_or_default();
            }
            _ => {}
        }
        let mut all = BytesMut::with_capacity(size);
        while all.len() < size {
            let Some(mut chunk) = self.waiting.pop_front() else {
                break;
            };
            let piece = chunk.split_to(chunk.len().min(size - all.len()));
            all.extend_from_slice(&piece);
            if !chunk.is_empty() {
                self.waiting.push_front(chunk);
            }
        }
        all.freeze()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::Error;

    async fn cut(sizes: &[usize], part: usize) -> Vec<(usize, bool)> {
        let mut next = 0_u8;
        let chunks: Vec<_> = sizes
            .iter()
            .map(|size| {
                let chunk: Vec<u8> = (0..*size)
                    .map(|_| {
                        next = next.wrapping_add(1);
                        next
                    })
                    .collect();
                Ok(Bytes::from(chunk))
            })
            .collect();
        let expected: Vec<u8> = chunks
            .iter()
            .flat_map(|c: &Result<Bytes>| c.as_ref().unwrap().to_vec())
            .collect();
        let mut parts = Parts::new(Body::Stream(stream::iter(chunks).boxed()));
        let (mut found, mut shape) = (Vec::new(), Vec::new());
        loop {
            let part = parts.next(part).await.unwrap();
            found.extend_from_slice(&part.data);
            shape.push((part.data.len(), part.is_last));
            if part.is_last {
                assert_eq!(found, expected);
                return shape;
            }
        }
    }

    #[tokio::test]
    async fn parts_are_full_but_the_last() {
        assert_eq!(cut(&[], 4).await, [(0, true)]);
        assert_eq!(cut(&[0, 0], 4).await, [(0, true)]);
        assert_eq!(cut(&[4], 4).await, [(4, true)]);
        assert_eq!(cut(&[3, 0, 1], 4).await, [(4, true)]);
        assert_eq!(cut(&[5], 4).await, [(4, false), (1, true)]);
        assert_eq!(
            cut(&[1, 1, 7, 2], 4).await,
            [(4, false), (4, false), (3, true)]
        );
        assert_eq!(cut(&[12], 4).await, [(4, false), (4, false), (4, true)]);
    }

    #[tokio::test]
    async fn an_error_of_the_source_is_the_error() {
        let broken = Error::from_body(std::io::Error::other("broke"));
        let chunks = vec![Ok(Bytes::from_static(b"abc")), Err(broken)];
        let mut parts = Parts::new(Body::Stream(stream::iter(chunks).boxed()));
        assert!(parts.next(4).await.is_err());
    }
}
