//! What is done to requests before they are signed.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

/// Leaves the content of every request out of its signature.
pub(super) const UNSIGNED_PAYLOAD: BeforeSigning = BeforeSigning {
    name: "UnsignedPayload",
    change: unsigned_payload,
};

/// Asks for answers as they are stored, and signs that. Services behind something that changes this
/// header on the way cannot be asked so.
pub(super) const ACCEPT_ENCODING: BeforeSigning = BeforeSigning {
    name: "AcceptEncoding",
    change: accept_encoding,
};

/// Adds `Content-MD5`, which some services want with bulk deletions.
pub(super) const CONTENT_MD5: BeforeSigning = BeforeSigning {
    name: "ContentMd5",
    change: content_md5,
};

/// Names a bucket without a slash behind it, as the reference does, where it is named in the path.
pub(super) const BARE_BUCKET: BeforeSigning = BeforeSigning {
    name: "BareBucket",
    change: bare_bucket,
};

type Context<'a> = BeforeTransmitInterceptorContextMut<'a>;

/// One change to a request.
#[derive(Debug)]
pub(super) struct BeforeSigning {
    name: &'static str,
    change: fn(&mut Context<'_>, &mut ConfigBag) -> Result<(), BoxError>,
}

#[dyn_dispatch_hint]
impl Intercept for BeforeSigning {
    fn name(&self) -> &'static str {
        self.name
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        (self.change)(context, cfg)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for all changes")]
fn unsigned_payload(_: &mut Context<'_>, cfg: &mut ConfigBag) -> Result<(), BoxError> {
    cfg.interceptor_state()
        .store_put(PayloadSigningOverride::unsigned_payload());
    Ok(())
}

fn accept_encoding(context: &mut Context<'_>, _: &mut ConfigBag) -> Result<(), BoxError> {
    let headers = context.request_mut().headers_mut();
    headers.try_insert("accept-encoding", "identity")?;
    Ok(())
}

fn content_md5(context: &mut Context<'_>, _: &mut ConfigBag) -> Result<(), BoxError> {
    let request = context.request_mut();
    let Some(body) = request.body().bytes() else {
        return Err("the content of a bulk deletion is not in memory".into());
    };
    let md5 = STANDARD.encode(Md5::digest(body));
    request.headers_mut().try_insert("content-md5", md5)?;
    Ok(())
}

fn bare_bucket(context: &mut Context<'_>, _: &mut ConfigBag) -> Result<(), BoxError> {
    let request = context.request_mut();
    let (place, query) = request.uri().split_once('?').unwrap_or((request.uri(), ""));
    let path_at = place.find("://").map_or(0, |at| at + 3);
    let names_bucket = place.get(path_at..).is_some_and(|rest| {
        rest.split_once('/')
            .is_some_and(|(_, path)| path.len() > 1 && path.ends_with('/'))
    });
    if names_bucket && let Some(bare) = place.strip_suffix('/') {
        let bare = format!("{bare}?{query}");
        request.set_uri(bare)?;
    }
    Ok(())
}
