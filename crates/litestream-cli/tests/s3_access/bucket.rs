//! As much of S3 as a replica needs, in this process; it takes down who signed each request, and
//! may be told whom to let in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use testkit::server::stand_in::{Asked, Said, StandIn, decode, range};

pub(crate) const BUCKET: &str = "bkt";

/// Weather around a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Requests are refused with this status.
    Refusing(u16),
    /// Requests have their effect, and are said to have failed.
    Forgetful,
}

/// The server.
pub(crate) struct Bucket {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// The only access key that is let in; the credentials of all others have expired.
    pub(crate) admits: Option<String>,
    /// How everything is answered instead of what it should be.
    pub(crate) weather: Option<Weather>,
    /// How often it was.
    pub(crate) struck: usize,
    /// What it says of its region; without it may not be asked.
    pub(crate) location: Option<&'static str>,
    /// Everything that was asked.
    pub(crate) asked: Vec<Asked>,
    writes: u64,
    /// The parts of the one upload at a time.
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Bucket {
    pub(crate) fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let handler = move |asked: &Asked| {
            let mut state = shared.lock().expect("no panic");
            state.answer(asked)
        };
        let server = StandIn::start(handler).expect("a free port");
        Self { server, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// A replica in it.
    pub(crate) fn url(&self) -> String {
        format!(
            "s3://{BUCKET}/app?endpoint={}&region=us-east-1",
            self.endpoint()
        )
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

fn refusal(status: u16, code: &str) -> Said {
    let body = format!("<Error><Code>{code}</Code><Message>as told</Message></Error>");
    Said::status(status).with(body)
}

/// The access key that signed a request.
fn key_of(asked: &Asked) -> &str {
    let authorization = asked.header("authorization").unwrap_or_default();
    authorization
        .split_once("Credential=")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("nobody", |(key, _)| key)
}

fn is_upload(asked: &Asked) -> bool {
    let names = ["uploads", "uploadId"];
    names.iter().any(|name| asked.parameter(name).is_some())
}

impl State {
    /// Who signed each request, and the token that came with it.
    pub(crate) fn signed(&self) -> Vec<(String, Option<String>)> {
        let signer = |asked: &Asked| {
            let token = asked.header("x-amz-security-token").map(str::to_owned);
            (key_of(asked).to_owned(), token)
        };
        self.asked.iter().map(signer).collect()
    }

    fn answer(&mut self, asked: &Asked) -> Said {
        self.asked.push(asked.clone());
        let key = key_of(asked);
        if self
            .admits
            .as_deref()
            .is_some_and(|admitted| admitted != key)
        {
            return refusal(400, "ExpiredToken");
        }
        self.struck += usize::from(self.weather.is_some());
        match self.weather {
            None => self.serve(asked),
            Some(Weather::Refusing(status)) => refusal(status, "SlowDown"),
            Some(Weather::Forgetful) => {
                self.serve(asked);
                refusal(500, "InternalError")
            }
        }
    }

    fn serve(&mut self, asked: &Asked) -> Said {
        let name = decode(asked.path.trim_start_matches(&format!("/{BUCKET}")));
        let name = name.strip_prefix('/').unwrap_or(&name);
        match asked.method.as_str() {
            "GET" if asked.parameter("list-type").is_some() => self.list(asked),
            "GET" if asked.parameter("location").is_some() => match self.location {
                Some(region) => Said::status(200)
                    .with(format!("<LocationConstraint>{region}</LocationConstraint>")),
                None => refusal(403, "AccessDenied"),
            },
            "GET" | "HEAD" => self.read(asked, name),
            "PUT" | "POST" if is_upload(asked) => self.upload(asked, name),
            "PUT" => {
                self.writes += 1;
                self.objects.insert(name.to_owned(), asked.body.clone());
                Said::status(200).header("ETag", format!("\"{}\"", self.writes))
            }
            "POST" if asked.parameter("delete").is_some() => self.delete(asked),
            _ => refusal(405, "MethodNotAllowed"),
        }
    }

    /// Begins an upload, takes a part, or completes.
    fn upload(&mut self, asked: &Asked, name: &str) -> Said {
        if let Some(number) = asked.parameter("partNumber") {
            let number = number.parse().expect("a number");
            self.parts.insert(number, asked.body.clone());
            let sum = asked.header("x-amz-checksum-crc32").unwrap_or_default();
            return Said::status(200)
                .header("ETag", "\"part\"")
                .header("x-amz-checksum-crc32", sum);
        }
        let body = if asked.parameter("uploads").is_some() {
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        } else {
            let parts = std::mem::take(&mut self.parts);
            let whole = parts.into_values().collect::<Vec<_>>().concat();
            self.objects.insert(name.to_owned(), whole);
            "<CompleteMultipartUploadResult><ETag>x-2</ETag></CompleteMultipartUploadResult>"
        };
        Said::status(200).with(body)
    }

    fn list(&self, asked: &Asked) -> Said {
        let prefix = asked.parameter("prefix").unwrap_or_default();
        let after = asked.parameter("start-after").unwrap_or_default();
        let listed = self
            .objects
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix) && **name > after);
        let listed: Vec<String> = listed
            .map(|(name, content)| {
                format!(
                    "<Contents><Key>{name}</Key><ETag>x</ETag><Size>{}</Size>\
                     <LastModified>2026-11-22T10:00:00.000Z</LastModified></Contents>",
                    content.len()
                )
            })
            .collect();
        let listed = listed.concat();
        let body = format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
        );
        Said::status(200).with(body)
    }

    fn read(&self, asked: &Asked, name: &str) -> Said {
        let Some(content) = self.objects.get(name) else {
            return refusal(404, "NoSuchKey");
        };
        let said = match asked.header("range").map(|wanted| range(content, wanted)) {
            None => Said::status(200).with(content.clone()),
            Some(Err(said)) => said,
            Some(Ok((part, place))) => Said::status(206).with(part).header("Content-Range", place),
        };
        said.header("ETag", "\"x\"")
            .header("Last-Modified", "Sun, 22 Nov 2020 10:00:00 GMT")
    }

    fn delete(&mut self, asked: &Asked) -> Said {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let mut deleted = String::new();
        for part in body.split("<Key>").skip(1) {
            let name = part.split("</Key>").next().unwrap_or_default();
            self.objects.remove(name);
            deleted.extend(["<Deleted><Key>", name, "</Key></Deleted>"]);
        }
        Said::status(200).with(format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}
