//! Deletion of many objects at a time.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest as _, Md5};

use super::finish;
use super::service::Service;
use crate::http::percent::decode;
use crate::http::xml::escape;
use crate::{Error, ErrorKind, Key, Operation, Result};

/// Most objects per request.
const BATCH: usize = 1000;

/// Deletes `keys`; answers those that the service does not say it deleted.
pub(super) async fn delete(service: &Service, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
    let mut failures = Vec::new();
    for batch in keys.chunks(BATCH) {
        let deleted = delete_batch(service, batch).await?;
        for key in batch {
            if !deleted.contains(&service.name(key.as_str())) {
                let error = Error::new(ErrorKind::Io, Operation::Delete)
                    .with_detail("the service does not say that it was deleted");
                failures.push((key.clone(), finish(error, Some(key))));
            }
        }
    }
    Ok(failures)
}

/// The names that were deleted; missing ones are among them.
async fn delete_batch(service: &Service, keys: &[Key]) -> Result<HashSet<String>> {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete>");
    body.push_str("<Quiet>false</Quiet>");
    for key in keys {
        body.push_str("<Object><Key>");
        body.push_str(&escape(&service.name(key.as_str())));
        body.push_str("</Key></Object>");
    }
    body.push_str("</Delete>");
    let request = service
        .bucket(Method::POST, "delete&encoding-type=url")
        .header("content-md5", &STANDARD.encode(Md5::digest(&body)))
        .header("content-type", "application/xml")
        .body(body);
    let tree = service.ask(Operation::Delete, request).await?;
    let is_encoded = tree.text_of("EncodingType") == Some("url");
    let names = tree.all("Deleted").filter_map(|item| item.text_of("Key"));
    Ok(names
        .map(|name| {
            if is_encoded {
                decode(name)
            } else {
                name.to_owned()
            }
        })
        .collect())
}
