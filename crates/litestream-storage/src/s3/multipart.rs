//! Uploads in parts: begun, sent several parts at a time, completed or given up.
//!
//! Invariant: an upload that is not completed is aborted, in a few tries, also when the put is
//! dropped, so that no parts are left behind to be paid for.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::error::named;
use super::upload::{MAX_PARTS, Parts, condition, metadata, refused};
use super::{S3Store, with_customer_key};
use crate::{Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result};

impl S3Store {
    pub(super) async fn put_parts(
        &self,
        key: &Key,
        first: Bytes,
        rest: Parts,
        options: &PutOptions,
    ) -> Result<ObjectMeta> {
        let client = self.client(Operation::Put, Some(key)).await?;
        let mut upload = Upload {
            store: self.clone(),
            key: key.clone(),
            id: self.begin(&client, key, options).await?,
            is_over: false,
        };
        let sent = self.send_parts(&upload, key, first, rest).await;
        let result = match sent {
            Ok(sent) => self.complete(&upload, key, sent, options).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(_) => upload.is_over = true,
            // Waited for, so that a process that ends with this error leaves nothing behind.
            Err(_) => upload.abort().await,
        }
        result
    }

    async fn begin(&self, client: &Client, key: &Key, options: &PutOptions) -> Result<String> {
        let settings = &self.settings;
        let begun = self.retrying.persist(|| async {
            let request = client
                .create_multipart_upload()
                .bucket(&settings.bucket)
                .key(self.name(key))
                .set_metadata(metadata(options))
                .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
                .set_server_side_encryption(
                    settings
                        .encryption
                        .kms_key()
                        .map(|_| ServerSideEncryption::AwsKms),
                )
                .set_ssekms_key_id(settings.encryption.kms_key().map(str::to_owned))
                .set_checksum_algorithm(self.checksum());
            with_customer_key!(request, settings)
                .send()
                .await
                .map_err(|failure| self.put_failed(failure, key))
        });
        let id = begun.await?.upload_id;
        id.filter(|id| !id.is_empty()).ok_or_else(|| {
            let error = Error::new(ErrorKind::Io, Operation::Put);
            named(error.with_detail("no upload id returned"), Some(key))
        })
    }

    /// Parts carry a checksum where the service is known to check it.
    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        match self.settings.endpoint {
            Some(_) => None,
            None => Some(ChecksumAlgorithm::Crc32),
        }
    }

    async fn send_parts(
        &self,
        upload: &Upload,
        key: &Key,
        first: Bytes,
        rest: Parts,
    ) -> Result<Sent> {
        let rest = stream::try_unfold(rest, |mut rest| async move {
            if rest.is_over() {
                return Ok(None);
            }
            Ok(rest.next().await?.map(|part| (part, rest)))
        });
        let numbered = stream::once(async { Ok(first) })
            .chain(rest)
            .zip(stream::iter(1_u64..));
        let parts: Vec<(CompletedPart, u64)> = numbered
            .map(|(part, number)| async move {
                let part = part.map_err(|error| named(error, Some(key)))?;
                self.send_part(upload, key, part, number).await
            })
            .buffered(self.settings.concurrency.max(1))
            .try_collect()
            .await?;
        Ok(Sent {
            size: parts.iter().map(|(_, len)| len).sum(),
            parts: parts.into_iter().map(|(part, _)| part).collect(),
        })
    }

    async fn send_part(
        &self,
        upload: &Upload,
        key: &Key,
        content: Bytes,
        number: u64,
    ) -> Result<(CompletedPart, u64)> {
        let Some(position) = i32::try_from(number).ok().filter(|_| number <= MAX_PARTS) else {
            let error = Error::new(ErrorKind::Invalid, Operation::Put).with_detail(format!(
                "more than {MAX_PARTS} parts of {} bytes; raise part-size",
                content.len()
            ));
            return Err(named(error, Some(key)));
        };
        let sent = self.retrying.persist(|| async {
            let client = self.client(Operation::Put, Some(key)).await?;
            let request = client
                .upload_part()
                .bucket(&self.settings.bucket)
                .key(self.name(key))
                .upload_id(&upload.id)
                .part_number(position)
                .set_checksum_algorithm(self.checksum())
                .body(ByteStream::from(content.clone()));
            with_customer_key!(request, self.settings)
                .send()
                .await
                .map_err(|failure| self.put_failed(failure, key))
        });
        let answer = sent.await?;
        if answer.e_tag.is_none() {
            let error = Error::new(ErrorKind::Io, Operation::Put);
            let error = error.with_detail(format!("no ETag returned for part {number}"));
            return Err(named(error, Some(key)));
        }
        let part = CompletedPart::builder()
            .part_number(position)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build();
        Ok((part, content.len() as u64))
    }

    async fn complete(
        &self,
        upload: &Upload,
        key: &Key,
        sent: Sent,
        options: &PutOptions,
    ) -> Result<ObjectMeta> {
        let (absent, matching) = condition(&options.condition);
        let count = sent.parts.len();
        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(sent.parts))
            .build();
        let mut tried = false;
        let completed = self.retrying.persist(|| {
            let before = std::mem::replace(&mut tried, true);
            let (list, absent, matching) = (list.clone(), absent.clone(), matching.clone());
            async move {
                let client = self.client(Operation::Put, Some(key)).await?;
                let request = client
                    .complete_multipart_upload()
                    .bucket(&self.settings.bucket)
                    .key(self.name(key))
                    .upload_id(&upload.id)
                    .set_if_none_match(absent)
                    .set_if_match(matching)
                    .multipart_upload(list);
                match with_customer_key!(request, self.settings).send().await {
                    Ok(answer) => Ok(answer.e_tag),
                    Err(failure) => {
                        let error = self.put_failed(failure, key);
                        // The try whose answer was lost may have done it.
                        if before && error.label() == "NoSuchUpload" {
                            self.completed_before(key, count, sent.size, options, error)
                                .await
                        } else {
                            Err(error)
                        }
                    }
                }
            }
        });
        let etag = completed
            .await
            .map_err(|error| refused(error, &options.condition))?;
        self.stored(key, sent.size, etag.as_deref(), options)
    }

    /// The etag of the object, if it can only be the upload that is not known any more.
    async fn completed_before(
        &self,
        key: &Key,
        parts: usize,
        size: u64,
        options: &PutOptions,
        error: Error,
    ) -> Result<Option<String>> {
        let found = match self.metadata(key, Operation::Put).await {
            Ok(found) => found,
            Err(missing) if missing.is_not_found() => return Err(error),
            Err(unreadable) => return Err(unreadable),
        };
        let ours = found.size == size
            && found.timestamp == options.timestamp
            && found
                .etag
                .as_deref()
                .is_some_and(|etag| etag.trim_matches('"').ends_with(&format!("-{parts}")));
        if ours { Ok(found.etag) } else { Err(error) }
    }

    fn put_failed<E>(
        &self,
        failure: aws_sdk_s3::error::SdkError<E, super::error::RawResponse>,
        key: &Key,
    ) -> Error
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let error = self.failed(failure, Operation::Put, Some(key));
        // It is the upload or the bucket that was not found.
        match error.kind() {
            ErrorKind::NotFound => error.with_kind(ErrorKind::Invalid),
            _ => error,
        }
    }
}

/// What was sent of an upload.
struct Sent {
    parts: Vec<CompletedPart>,
    size: u64,
}

/// An upload that has begun; aborted when dropped before it is over.
struct Upload {
    store: S3Store,
    key: Key,
    id: String,
    is_over: bool,
}

impl Upload {
    fn aborting(&self) -> BoxFuture<'static, ()> {
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        let aborting = async move {
            // With the credentials of now, which may not be those of the parts.
            let aborted = store.retrying.abort(&key, || async {
                let client = store.client(Operation::Put, Some(&key)).await?;
                let request = client
                    .abort_multipart_upload()
                    .bucket(&store.settings.bucket)
                    .key(store.name(&key))
                    .upload_id(&id);
                let sent = request.send().await;
                sent.map_err(|failure| store.failed(failure, Operation::Put, Some(&key)))
            });
            aborted.await;
        };
        aborting.boxed()
    }

    async fn abort(&mut self) {
        self.aborting().await;
        // Not before: who waits for it may go away.
        self.is_over = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Without a runtime there is nobody to send anything; the service's own rules for
        // unfinished uploads have to do.
        if !self.is_over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.aborting());
        }
    }
}
