//! The endpoints of the control socket.

mod status;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use litestream::{Database, ErrorKind};
use ltx::Txid;
use serde_json::{Value, json};

use super::State;
use crate::config;
use crate::engine;
use crate::paths;
use crate::time::Moment;

/// A request larger than this is not one of ours.
const MOST_BODY: usize = 1 << 20;
/// What `stop` and `sync` with `wait` wait when nothing is said.
const DEFAULT_TIMEOUT: u64 = 30;

type Answer = Response<Full<Bytes>>;
/// A refusal: status and text.
type Refusal = (StatusCode, String);

/// The endpoints: path and method.
const ROUTES: [(&str, Method); 9] = [
    ("/start", Method::POST),
    ("/stop", Method::POST),
    ("/sync", Method::POST),
    ("/register", Method::POST),
    ("/unregister", Method::POST),
    ("/list", Method::GET),
    ("/info", Method::GET),
    ("/txid", Method::GET),
    ("/status", Method::GET),
];

/// Answers one request.
pub(super) async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let Some((_, method)) = ROUTES.iter().find(|(route, _)| *route == path) else {
        return Ok(text(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    let is_head = *method == Method::GET && request.method() == Method::HEAD;
    if request.method() != method && !is_head {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        let allowed = if *method == Method::GET {
            "GET, HEAD"
        } else {
            "POST"
        };
        refused
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
        return Ok(refused);
    }
    let result = match path.as_str() {
        "/list" => Ok(list(&state)),
        "/info" => Ok(info(&state)),
        "/status" => Ok(status::all(&state.store)),
        "/txid" => txid(&state, request.uri().query().unwrap_or_default()),
        route => match body(request).await {
            Ok(body) => Box::pin(post(&state, route, &body)).await,
            Err(refused) => return Ok(refused),
        },
    };
    Ok(match result {
        Ok(value) => reply(StatusCode::OK, &value),
        Err((status, error)) => reply(status, &json!({ "error": error })),
    })
}

async fn post(state: &State, route: &str, body: &Value) -> Result<Value, Refusal> {
    let path = body.get("path").and_then(Value::as_str).unwrap_or_default();
    if path.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "path required".to_owned()));
    }
    let path = paths::expand(&state.env, path);
    let timeout = body.get("timeout").and_then(Value::as_u64).unwrap_or(0);
    match route {
        "/start" => start(state, &path),
        "/register" => {
            let url = body
                .get("replica_url")
                .and_then(Value::as_str)
                .unwrap_or_default();
            register(state, &path, url)
        }
        "/stop" => within(timeout, stop(state, &path)).await,
        "/unregister" => within(timeout, unregister(state, &path)).await,
        _ => {
            let wait = body.get("wait").and_then(Value::as_bool).unwrap_or(false);
            if wait || timeout > 0 {
                within(timeout, sync(state, &path, wait)).await
            } else {
                sync(state, &path, wait).await
            }
        }
    }
}

async fn within(
    seconds: u64,
    work: impl Future<Output = Result<Value, Refusal>>,
) -> Result<Value, Refusal> {
    let seconds = if seconds == 0 {
        DEFAULT_TIMEOUT
    } else {
        seconds
    };
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(result) => result,
        Err(_) => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("not done within {seconds} s; what was begun goes on"),
        )),
    }
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn start(state: &State, path: &Path) -> Result<Value, Refusal> {
    let started = state.store.enable(path).map_err(failed)?;
    let status = if started {
        "started"
    } else {
        "already_running"
    };
    Ok(json!({ "status": status, "path": path, "txid": position(state, path) }))
}

async fn stop(state: &State, path: &Path) -> Result<Value, Refusal> {
    let stopped = state.store.disable(path).await.map_err(failed)?;
    let status = if stopped {
        "stopped"
    } else {
        "already_stopped"
    };
    Ok(json!({ "status": status, "path": path, "txid": position(state, path) }))
}

/// Adds a database with default settings until the daemon ends.
fn register(state: &State, path: &Path, url: &str) -> Result<Value, Refusal> {
    if url.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "replica_url required".to_owned()));
    }
    let already = || json!({ "status": "already_registered", "path": path });
    if state.store.find(path).is_ok() {
        return Ok(already());
    }
    let refuse = |error: &dyn std::fmt::Display| {
        (
            StatusCode::BAD_REQUEST,
            format!("invalid replica url: {error}"),
        )
    };
    let config = config::of_registered(&state.env, path, url);
    let db = config.dbs.first().ok_or_else(|| refuse(&"no database"))?;
    let replicas = db.replicas(&state.env).map_err(|error| refuse(&error))?;
    let replicas = replicas
        .iter()
        .map(engine::replica)
        .collect::<Result<Vec<_>, _>>();
    let replicas = replicas.map_err(|error| refuse(&error))?;
    let mut settings = engine::database(&config, db, path);
    settings.shutdown_sync_timeout = state.config.shutdown_sync_timeout;
    settings.shutdown_sync_interval = state.config.shutdown_sync_interval;
    let added = state.store.add(settings, replicas);
    let added = added.map_err(|error| failed(format!("failed to register database: {error}")))?;
    Ok(if added {
        json!({ "status": "registered", "path": path })
    } else {
        already()
    })
}

async fn unregister(state: &State, path: &Path) -> Result<Value, Refusal> {
    let removed = state
        .store
        .remove(path)
        .await
        .map_err(|error| failed(format!("failed to unregister database: {error}")))?;
    Ok(match removed {
        Some(database) => {
            json!({ "status": "unregistered", "path": path, "txid": number(database.txid()) })
        }
        None => json!({ "status": "already_unregistered", "path": path, "txid": 0 }),
    })
}

async fn sync(state: &State, path: &Path, wait: bool) -> Result<Value, Refusal> {
    let refuse = |error: litestream::Error| match error {
        litestream::Error::DatabaseNotFound { .. } => (StatusCode::NOT_FOUND, error.to_string()),
        litestream::Error::DatabaseNotOpen { .. } => (StatusCode::CONFLICT, error.to_string()),
        other if other.kind() == ErrorKind::Unavailable && wait => {
            failed(format!("sync database: replica sync: {other}"))
        }
        other => failed(format!("sync database: {other}")),
    };
    let synced = Box::pin(state.store.sync(path, wait))
        .await
        .map_err(refuse)?;
    let status = match (synced.changed, wait) {
        (false, _) => "no_change",
        (true, true) => "synced",
        (true, false) => "synced_local",
    };
    Ok(json!({
        "status": status,
        "path": path,
        "txid": number(synced.txid),
        "replicated_txid": number(synced.replicated),
    }))
}

fn list(state: &State) -> Value {
    let databases: Vec<Value> = state.store.list().iter().map(entry).collect();
    json!({ "databases": databases })
}

fn entry(database: &Database) -> Value {
    let status = match (database.is_enabled(), database.is_monitored()) {
        (false, _) => "stopped",
        (true, true) => "replicating",
        (true, false) => "open",
    };
    let mut entry = json!({ "path": database.path(), "status": status });
    if let (Some(time), Some(entry)) = (database.last_sync(), entry.as_object_mut()) {
        entry.insert(
            "last_sync_at".to_owned(),
            json!(Moment::local(time).rfc3339_nanos()),
        );
    }
    entry
}

fn info(state: &State) -> Value {
    json!({
        "version": crate::commands::version::VERSION,
        "pid": std::process::id(),
        "uptime_seconds": state.started.elapsed().as_secs(),
        "started_at": Moment::local(state.started_at).rfc3339_nanos(),
        "database_count": state.store.list().len(),
    })
}

fn txid(state: &State, query: &str) -> Result<Value, Refusal> {
    let path = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("path="))
        .unwrap_or_default();
    if path.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "path required".to_owned()));
    }
    let path = paths::expand(&state.env, &crate::url::decode_query(path));
    let found = state.store.find(&path);
    let database = found.map_err(|_| (StatusCode::NOT_FOUND, "database not found".to_owned()))?;
    Ok(json!({ "txid": number(database.txid()) }))
}

fn position(state: &State, path: &Path) -> u64 {
    state
        .store
        .find(path)
        .map_or(0, |database| number(database.txid()))
}

fn number(txid: Option<Txid>) -> u64 {
    txid.map_or(0, Txid::get)
}

/// The request's body; an undecodable one is refused with what is wrong with it.
async fn body(request: Request<Incoming>) -> Result<Value, Answer> {
    let limited = http_body_util::Limited::new(request.into_body(), MOST_BODY);
    let bytes = match limited.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Err(invalid(&error.to_string())),
    };
    if bytes.is_empty() {
        return Err(invalid("EOF"));
    }
    serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))
}

fn invalid(details: &str) -> Answer {
    let body = json!({ "error": "invalid request body", "details": details });
    reply(StatusCode::BAD_REQUEST, &body)
}

fn reply(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *answer.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
