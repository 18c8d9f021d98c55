//! Why a source of credentials gave none: what to do, and whether another try may help.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::ConnectorError;

use crate::ErrorKind;

/// What to do without credentials.
const NOT_FOUND: &str = "no credentials found: set access-key-id and secret-access-key, or \
                         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role";
/// What failed before the service was asked.
const REFUSED: &str = "the source of credentials that is configured gave none";
/// What to do when a profile wants a login.
const LOGGED_OUT: &str = "nobody is logged in: `aws sso login` or `aws login` does that";
/// What the SDK says around each cause.
const ENVELOPE: &str = "an error occurred while loading credentials";

/// The kind of an error that comes from looking for credentials, and what there is to say of it.
pub(super) fn failure(error: &(dyn StdError + 'static)) -> Option<(ErrorKind, String)> {
    // A profile that names another source passes its error on inside of one of its own.
    let found = causes(error)
        .filter_map(|at| at.downcast_ref::<CredentialsError>())
        .last()?;
    let lasts = verdict(found);
    let transient = match found {
        // The search has tried again by itself; what is not there now comes later, if ever.
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::ProviderTimedOut(_) => {
            return Some((ErrorKind::Denied, format!("{NOT_FOUND}: {}", told(found))));
        }
        CredentialsError::ProviderError(_) => lasts.is_none(),
        // A container's service that is not reached comes as an error that nobody expected.
        _ => lasts.is_none() && causes(found).any(<dyn StdError>::is::<ConnectorError>),
    };
    let kind = if transient {
        ErrorKind::Unavailable { retry_after: None }
    } else {
        ErrorKind::Denied
    };
    let hint = lasts.unwrap_or(REFUSED);
    Some((kind, format!("{hint}: {}", told(found))))
}

/// What to say when the source would say the same again: a file is not there, somebody is not let in,
/// a program ran and gave nothing.
///
/// The errors of the SDK tell this by their texts alone; what is unknown is worth another try.
fn verdict(found: &CredentialsError) -> Option<&'static str> {
    const LOGINS: [&str; 4] = [
        "SSO token",
        "sso/cache",
        "login/cache",
        "UnauthorizedException",
    ];
    const REFUSALS: [&str; 5] = [
        "AccessDenied",
        "InvalidIdentityToken",
        "ExpiredToken",
        "InvalidClientTokenId",
        "external process",
    ];
    let says = |at: &dyn StdError, any: &[&str]| {
        let said = at.to_string();
        any.iter().any(|text| said.contains(text))
    };
    let unreadable = |at: &(dyn StdError + 'static)| {
        use std::io::ErrorKind::{NotFound, PermissionDenied};
        at.downcast_ref::<std::io::Error>()
            .is_some_and(|file| matches!(file.kind(), NotFound | PermissionDenied))
    };
    if causes(found).any(|at| says(at, &LOGINS)) {
        Some(LOGGED_OUT)
    } else if causes(found).any(|at| unreadable(at) || says(at, &REFUSALS)) {
        Some(REFUSED)
    } else {
        None
    }
}

/// An error and its causes, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&at| at.source())
}

/// The causes that say something.
fn told(error: &CredentialsError) -> String {
    let said: Vec<String> = causes(error)
        .map(|at| at.to_string().trim_end().to_owned())
        .filter(|text| text != ENVELOPE)
        .collect();
    if said.is_empty() {
        ENVELOPE.to_owned()
    } else {
        said.join(": ")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_s3::error::ConnectorError;

    use super::{LOGGED_OUT, NOT_FOUND, REFUSED, failure};
    use crate::ErrorKind;

    fn again() -> ErrorKind {
        ErrorKind::Unavailable { retry_after: None }
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        let refused =
            || ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        for (error, kind, hint) in [
            (
                CredentialsError::not_loaded("none"),
                ErrorKind::Denied,
                NOT_FOUND,
            ),
            (
                CredentialsError::provider_error(refused()),
                again(),
                REFUSED,
            ),
            (CredentialsError::unhandled(refused()), again(), REFUSED),
            (
                CredentialsError::unhandled("no key"),
                ErrorKind::Denied,
                REFUSED,
            ),
            (
                CredentialsError::provider_error("status 503"),
                again(),
                REFUSED,
            ),
            (
                CredentialsError::provider_error("AccessDenied"),
                ErrorKind::Denied,
                REFUSED,
            ),
            (
                CredentialsError::provider_error(gone()),
                ErrorKind::Denied,
                REFUSED,
            ),
            (
                CredentialsError::provider_error("external process exited with 1"),
                ErrorKind::Denied,
                REFUSED,
            ),
            (
                CredentialsError::provider_error("failed to load the cached SSO token"),
                ErrorKind::Denied,
                LOGGED_OUT,
            ),
        ] {
            let error = CredentialsError::provider_error(error);
            let (found, text) = failure(&error).expect("of credentials");
            assert_eq!(found, kind, "{text}");
            assert!(text.starts_with(hint), "{text}");
        }
        assert!(failure(&gone()).is_none(), "no credentials in it");
    }
}
