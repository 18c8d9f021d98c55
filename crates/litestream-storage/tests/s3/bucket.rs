//! The objects of the fake, and what each request does to them.

use std::collections::BTreeMap;

use crate::fake::{Answer, Request};

/// Last-Modified of every object.
const MODIFIED: &str = "Sun, 22 Nov 2026 10:00:00 GMT";

/// Objects and unfinished uploads.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// Keys per page; 0 is 1000.
    pub(crate) page: usize,
    writes: u64,
}

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    pub(crate) etag: String,
    /// The headers it was put with.
    pub(crate) headers: BTreeMap<String, String>,
}

pub(crate) struct Upload {
    name: String,
    headers: BTreeMap<String, String>,
    pub(crate) parts: BTreeMap<u32, (String, Vec<u8>)>,
}

impl Bucket {
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let name = request.name();
        let has = |parameter: &str| request.parameter(parameter).is_some();
        match request.method.as_str() {
            "GET" if name.is_empty() && has("list-type") => self.list(request),
            "GET" | "HEAD" => self.read(request, &name),
            "PUT" if has("uploadId") => self.put_part(request),
            "PUT" => self.put(request, &name),
            "POST" if has("delete") => self.delete_many(request),
            "POST" if has("uploads") => self.begin(request, name),
            "POST" if has("uploadId") => self.complete(request),
            "DELETE" if has("uploadId") => {
                let id = request.parameter("uploadId").unwrap_or_default();
                match self.uploads.remove(&id) {
                    Some(_) => Answer::of(204),
                    None => Answer::error(404, "NoSuchUpload"),
                }
            }
            "DELETE" => self.delete(request, &name),
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }

    fn refusal(&self, request: &Request, name: &str) -> Option<Answer> {
        let found = self.objects.get(name);
        if request.header("if-none-match") == Some("*") && found.is_some() {
            return Some(Answer::error(412, "PreconditionFailed"));
        }
        match (request.header("if-match"), found) {
            (None, _) => None,
            (Some(_), None) => Some(Answer::error(404, "NoSuchKey")),
            (Some(wanted), Some(found)) => {
                (wanted != found.etag).then(|| Answer::error(412, "PreconditionFailed"))
            }
        }
    }

    fn next_etag(&mut self, suffix: &str) -> String {
        self.writes += 1;
        format!("\"{:032x}{suffix}\"", self.writes)
    }

    fn put(&mut self, request: &Request, name: &str) -> Answer {
        if let Some(refusal) = self.refusal(request, name) {
            return refusal;
        }
        let etag = self.next_etag("");
        let object = Object {
            content: request.body.clone(),
            etag: etag.clone(),
            headers: request.headers.clone(),
        };
        self.objects.insert(name.to_owned(), object);
        Answer::of(200).with("etag", etag)
    }

    fn read(&self, request: &Request, name: &str) -> Answer {
        let Some(object) = self.objects.get(name) else {
            return if request.method == "HEAD" {
                Answer::of(404)
            } else {
                Answer::error(404, "NoSuchKey")
            };
        };
        let size = object.content.len();
        let range = request
            .header("range")
            .and_then(|text| text.strip_prefix("bytes="));
        let mut answer = match range.and_then(|range| range.split_once('-')) {
            None => Answer {
                body: object.content.clone(),
                ..Answer::of(200)
            },
            Some((first, last)) => {
                let first: usize = first.parse().expect("a number");
                if first >= size {
                    let range = format!("bytes */{size}");
                    return Answer::error(416, "InvalidRange").with("content-range", range);
                }
                let last = last
                    .parse()
                    .map_or(size - 1, |last: usize| last.min(size - 1));
                let range = format!("bytes {first}-{last}/{size}");
                Answer {
                    body: object.content[first..=last].to_vec(),
                    ..Answer::of(206)
                }
                .with("content-range", range)
            }
        };
        for (header, value) in &object.headers {
            if header == "x-amz-meta-litestream-timestamp" {
                answer = answer.with("x-amz-meta-litestream-timestamp", value);
            }
        }
        answer
            .with("etag", &object.etag)
            .with("last-modified", MODIFIED)
    }

    fn list(&self, request: &Request) -> Answer {
        let prefix = request.parameter("prefix").unwrap_or_default();
        let after = request
            .parameter("continuation-token")
            .or_else(|| request.parameter("start-after"))
            .unwrap_or_default();
        let page = if self.page == 0 { 1000 } else { self.page };
        let mut found = self
            .objects
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix) && **name > after);
        let mut contents = Vec::new();
        let mut last = String::new();
        for (name, object) in found.by_ref().take(page) {
            contents.push(format!(
                "<Contents><Key>{}</Key><LastModified>2026-11-22T10:00:00.000Z</LastModified>\
                 <ETag>{}</ETag><Size>{}</Size></Contents>",
                escape(name),
                escape(&object.etag),
                object.content.len()
            ));
            last.clone_from(name);
        }
        let more = if found.next().is_some() {
            let token = escape(&last);
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            )
        } else {
            "<IsTruncated>false</IsTruncated>".to_owned()
        };
        let contents = contents.concat();
        xml(&format!(
            "<ListBucketResult>{more}{contents}</ListBucketResult>"
        ))
    }

    fn delete(&mut self, request: &Request, name: &str) -> Answer {
        if let Some(refusal) = self.refusal(request, name) {
            return refusal;
        }
        self.objects.remove(name);
        Answer::of(204)
    }

    fn delete_many(&mut self, request: &Request) -> Answer {
        let body = String::from_utf8(request.body.clone()).expect("UTF-8");
        let mut answer = String::new();
        for name in texts(&body, "Key") {
            self.objects.remove(&unescape(name));
            answer += &["<Deleted><Key>", name, "</Key></Deleted>"].concat();
        }
        xml(&format!("<DeleteResult>{answer}</DeleteResult>"))
    }

    fn begin(&mut self, request: &Request, name: String) -> Answer {
        let id = format!("upload-{}", self.next_etag("").trim_matches('"'));
        let upload = Upload {
            name,
            headers: request.headers.clone(),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id.clone(), upload);
        xml(&format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, request: &Request) -> Answer {
        let etag = self.next_etag("");
        let id = request.parameter("uploadId").unwrap_or_default();
        let number = request
            .parameter("partNumber")
            .and_then(|text| text.parse().ok());
        let Some(upload) = self.uploads.get_mut(&id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let part = (etag.clone(), request.body.clone());
        upload.parts.insert(number.expect("a number"), part);
        Answer::of(200).with("etag", etag)
    }

    fn complete(&mut self, request: &Request) -> Answer {
        let id = request.parameter("uploadId").unwrap_or_default();
        let Some(name) = self.uploads.get(&id).map(|upload| upload.name.clone()) else {
            return Answer::error(404, "NoSuchUpload");
        };
        if let Some(refusal) = self.refusal(request, &name) {
            return refusal;
        }
        let body = String::from_utf8(request.body.clone()).expect("UTF-8");
        let listed: Vec<String> = texts(&body, "ETag").map(unescape).collect();
        let upload = self.uploads.remove(&id).expect("found before");
        let sent: Vec<&String> = upload.parts.values().map(|(etag, _)| etag).collect();
        if listed.iter().collect::<Vec<_>>() != sent {
            return Answer::error(400, "InvalidPart");
        }
        let etag = self.next_etag(&format!("-{}", sent.len()));
        let object = Object {
            content: upload
                .parts
                .into_values()
                .flat_map(|(_, content)| content)
                .collect(),
            etag: etag.clone(),
            headers: upload.headers,
        };
        self.objects.insert(name, object);
        xml(&format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escape(&etag)
        ))
    }
}

fn xml(body: &str) -> Answer {
    Answer {
        body: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}").into_bytes(),
        ..Answer::of(200)
    }
    .with("content-type", "application/xml")
}

/// The texts of all elements of this name.
fn texts<'a>(body: &'a str, element: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut rest = body;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let text = &rest[start..end];
        rest = &rest[end..];
        Some(text)
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn unescape(text: &str) -> String {
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
