//! A stand-in for Alibaba Cloud OSS, of which there is no server to install.
//!
//! It keeps objects in memory, addresses them by path, and verifies each signature (version 4) by
//! an implementation of its own.

mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::Result;

use super::stand_in::{Asked, Said, StandIn, decode, encode, http_date, iso_date, range};

/// Access key that [`OssStandIn`] takes.
pub const OSS_ACCESS_KEY: &str = "LTAITESTKEY";
/// Secret of the access key.
pub const OSS_SECRET_KEY: &str = "oss-test-secret";
/// Region it belongs to.
pub const OSS_REGION: &str = "cn-hangzhou";

/// Most objects of a page, few so that listings have several.
const PAGE: usize = 100;

const META: &str = "x-oss-meta-";

/// OSS with one bucket.
#[derive(Debug)]
pub struct OssStandIn {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<u64, Upload>,
    count: u64,
}

#[derive(Debug)]
struct Object {
    content: Vec<u8>,
    headers: Vec<(String, String)>,
    etag: String,
    modified: SystemTime,
}

#[derive(Debug)]
struct Upload {
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, (String, Vec<u8>)>,
}

impl OssStandIn {
    /// Starts one with the bucket `bucket`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(bucket: &str) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (there, bucket) = (Arc::clone(&state), bucket.to_owned());
        let server = StandIn::start(move |asked| answer(&there, &bucket, asked))?;
        Ok(Self { server, state })
    }

    /// The server.
    pub fn server(&self) -> &StandIn {
        &self.server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The names of all objects.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn names(&self) -> Vec<String> {
        let state = self.state.lock().expect("no answer panicked");
        state.objects.keys().cloned().collect()
    }

    /// How many uploads in parts are neither completed nor aborted.
    ///
    /// # Panics
    /// When an answer panicked.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().expect("no answer panicked").uploads.len()
    }
}

fn answer(state: &Mutex<State>, bucket: &str, asked: &Asked) -> Said {
    if let Err(why) = sign::verify(asked) {
        return wrong(403, "SignatureDoesNotMatch", &why);
    }
    let root = format!("/{bucket}");
    let Some(path) = asked.path.strip_prefix(&root) else {
        return wrong(404, "NoSuchBucket", &asked.path);
    };
    let mut state = state.lock().expect("no answer panicked");
    let key = decode(path.strip_prefix('/').unwrap_or(path));
    match (asked.method.as_str(), key.as_str()) {
        ("GET", "") => state.list(bucket, asked),
        ("POST", "") if asked.parameter("delete").is_some() => state.delete(asked),
        ("GET" | "HEAD", key) => state.get(key, asked),
        ("PUT", key) if asked.parameter("partNumber").is_some() => state.part(key, asked),
        ("PUT", key) => state.put(key, asked.body.clone(), meta_of(asked)),
        ("POST", key) if asked.parameter("uploads").is_some() => state.begin(key, asked),
        ("POST", key) => state.complete(key, asked),
        ("DELETE", _) if asked.parameter("uploadId").is_some() => state.abort(asked),
        _ => wrong(400, "InvalidArgument", &asked.method),
    }
}

fn wrong(status: u16, code: &str, message: &str) -> Said {
    let message = escape(message);
    Said::status(status)
        .header("Content-Type", "application/xml")
        .with(format!(
            "<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

fn meta_of(asked: &Asked) -> Vec<(String, String)> {
    let is_kept = |name: &str| name.starts_with(META) || name == "content-type";
    let kept = asked.headers.iter().filter(|(name, _)| is_kept(name));
    kept.cloned().collect()
}

impl State {
    fn put(&mut self, key: &str, content: Vec<u8>, headers: Vec<(String, String)>) -> Said {
        self.count += 1;
        let etag = format!("\"{:032X}\"", self.count);
        let said = Said::status(200)
            .header("ETag", &etag)
            .header("Date", http_date(SystemTime::now()))
            .header("x-oss-hash-crc64ecma", crc64(&content).to_string());
        let object = Object {
            content,
            headers,
            etag,
            modified: SystemTime::now(),
        };
        self.objects.insert(key.to_owned(), object);
        said
    }

    fn get(&self, key: &str, asked: &Asked) -> Said {
        let Some(object) = self.objects.get(key) else {
            return wrong(404, "NoSuchKey", key);
        };
        let (status, content, found) = match asked.header("range") {
            None => (200, &object.content[..], None),
            Some(_) if asked.header("x-oss-range-behavior") != Some("standard") => {
                return wrong(400, "InvalidRange", "the behaviour of ranges must be said");
            }
            Some(header) => match range(&object.content, header) {
                Ok((content, found)) => (206, content, Some(found)),
                Err(said) => return said,
            },
        };
        let mut said = Said::status(status)
            .header("ETag", &object.etag)
            .header("Last-Modified", http_date(object.modified))
            .header("x-oss-hash-crc64ecma", crc64(&object.content).to_string())
            .with(content);
        said.headers.extend(object.headers.iter().cloned());
        match found {
            Some(found) => said.header("Content-Range", found),
            None => said,
        }
    }

    fn list(&self, bucket: &str, asked: &Asked) -> Said {
        let text = |name: &str| asked.parameter(name).unwrap_or_default();
        let (prefix, after) = (text("prefix"), text("start-after"));
        let after = after.max(text("continuation-token"));
        let names = self.objects.keys();
        let mut names = names.filter(|name| name.starts_with(&prefix) && **name > after);
        let page: Vec<_> = names.by_ref().take(PAGE).collect();
        let mut xml = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><Name>{bucket}</Name>\
             <EncodingType>url</EncodingType><KeyCount>{}</KeyCount>",
            page.len()
        );
        for name in &page {
            let object = &self.objects[*name];
            xml.extend([
                "<Contents><Key>",
                &encode(name),
                "</Key><LastModified>",
                &iso_date(object.modified),
                "</LastModified><ETag>",
                &escape(&object.etag),
                "</ETag><Size>",
                &object.content.len().to_string(),
                "</Size></Contents>",
            ]);
        }
        let is_truncated = names.next().is_some();
        let truncated = is_truncated.to_string();
        xml.extend(["<IsTruncated>", &truncated, "</IsTruncated>"]);
        if let (true, Some(last)) = (is_truncated, page.last()) {
            let token = escape(last);
            let tag = "NextContinuationToken>";
            xml.extend(["<", tag, &token, "</", tag]);
        }
        xml.push_str("</ListBucketResult>");
        Said::status(200).with(xml)
    }

    fn delete(&mut self, asked: &Asked) -> Said {
        if asked.header("content-md5").is_none() {
            return wrong(400, "MissingArgument", "Content-MD5");
        }
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let mut xml = String::from("<DeleteResult><EncodingType>url</EncodingType>");
        for part in body.split("<Key>").skip(1) {
            let name = part.split("</Key>").next().unwrap_or_default();
            let name = unescape(name);
            self.objects.remove(&name);
            xml.extend(["<Deleted><Key>", &encode(&name), "</Key></Deleted>"]);
        }
        xml.push_str("</DeleteResult>");
        Said::status(200).with(xml)
    }

    fn begin(&mut self, key: &str, asked: &Asked) -> Said {
        self.count += 1;
        let upload = Upload {
            key: key.to_owned(),
            headers: meta_of(asked),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(self.count, upload);
        Said::status(200).with(format!(
            "<InitiateMultipartUploadResult><UploadId>{}</UploadId>\
             </InitiateMultipartUploadResult>",
            self.count
        ))
    }

    fn upload_of(asked: &Asked) -> Option<u64> {
        asked.parameter("uploadId")?.parse().ok()
    }

    fn part(&mut self, key: &str, asked: &Asked) -> Said {
        let number = asked.parameter("partNumber").and_then(|n| n.parse().ok());
        let upload = Self::upload_of(asked).and_then(|id| self.uploads.get_mut(&id));
        let (Some(number), Some(upload)) = (number, upload.filter(|upload| upload.key == key))
        else {
            return wrong(404, "NoSuchUpload", &asked.query);
        };
        self.count += 1;
        let etag = format!("\"{:032X}\"", self.count);
        let part = (etag.clone(), asked.body.clone());
        upload.parts.insert(number, part);
        Said::status(200)
            .header("ETag", etag)
            .header("x-oss-hash-crc64ecma", crc64(&asked.body).to_string())
    }

    fn complete(&mut self, key: &str, asked: &Asked) -> Said {
        let upload = Self::upload_of(asked).and_then(|id| self.uploads.remove(&id));
        let Some(upload) = upload.filter(|upload| upload.key == key) else {
            return wrong(404, "NoSuchUpload", &asked.query);
        };
        let body = String::from_utf8_lossy(&asked.body);
        let mut content = Vec::new();
        for part in body.split("<PartNumber>").skip(1) {
            let number = part.split('<').next().and_then(|n| n.parse::<u32>().ok());
            let etag = part
                .split("<ETag>")
                .nth(1)
                .and_then(|rest| rest.split('<').next());
            let etag = etag.map(unescape);
            let known = number.and_then(|number| upload.parts.get(&number));
            match known {
                Some((known, data)) if Some(known) == etag.as_ref() => {
                    content.extend_from_slice(data);
                }
                _ => return wrong(400, "InvalidPart", part),
            }
        }
        let said = self.put(key, content, upload.headers);
        let etag = said.headers[0].1.clone();
        said.with(format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escape(&etag)
        ))
    }

    fn abort(&mut self, asked: &Asked) -> Said {
        match Self::upload_of(asked).and_then(|id| self.uploads.remove(&id)) {
            Some(_) => Said::status(204),
            None => wrong(404, "NoSuchUpload", &asked.query),
        }
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// CRC64 with the polynomial of ECMA-182, reflected.
fn crc64(content: &[u8]) -> u64 {
    let mut crc = !0_u64;
    for byte in content {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xC96C_5795_D787_0F42 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc64_is_that_of_the_catalogue() {
        assert_eq!(super::crc64(b"123456789"), 0x995D_C9BB_DF19_39FA);
    }
}
