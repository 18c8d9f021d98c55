//! Logging in: what the server asks for, and the header that answers it.
//!
//! Invariant: a password goes out only to a server that asked for it, and in clear text only when
//! the server knows nothing better.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, WWW_AUTHENTICATE};

use super::digest::{Hash, Question, Request, quoted};

/// User and password, and the way the server wants them.
#[derive(Default)]
pub(super) struct Login {
    who: Option<(String, String)>,
    way: Mutex<Way>,
}

#[derive(Debug, Clone, Default)]
enum Way {
    /// The server has not asked yet.
    #[default]
    Unasked,
    Basic,
    Digest {
        question: Question,
        used: u32,
    },
}

impl Login {
    pub(super) fn new(username: Option<String>, password: Option<String>) -> Self {
        let who = (username.is_some() || password.is_some())
            .then(|| (username.unwrap_or_default(), password.unwrap_or_default()));
        Self {
            who,
            way: Mutex::default(),
        }
    }

    /// Whether there is somebody to log in, and the server has not said how.
    pub(super) fn must_ask(&self) -> bool {
        self.who.is_some() && matches!(*self.lock(), Way::Unasked)
    }

    /// The value of `Authorization` for a request; `None` when none is needed so far.
    pub(super) fn header(&self, method: &str, target: &str) -> Option<String> {
        let (user, password) = self.who.as_ref()?;
        match &mut *self.lock() {
            Way::Unasked => None,
            Way::Basic => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{password}"))
            )),
            Way::Digest { question, used } => {
                *used = used.wrapping_add(1);
                Some(question.answer(Request {
                    user,
                    password,
                    method,
                    target,
                    count: *used,
                    client_nonce: &random(),
                }))
            }
        }
    }

    /// Takes in the questions of an answer 401. Whether it is worth another try: not when the
    /// server says no to the very answer that it asks for. `sent` is the header that it refused.
    pub(super) fn asked(&self, headers: &HeaderMap, sent: Option<&str>) -> bool {
        if self.who.is_none() {
            return false;
        }
        let mut best = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            for challenge in challenges(text) {
                let found = challenge.way();
                let rank = |way: &Option<(Way, bool)>| match way {
                    None => 0,
                    Some((Way::Unasked | Way::Basic, _)) => 1,
                    Some((Way::Digest { question, .. }, _)) if question.hash == Hash::Md5 => 2,
                    Some((Way::Digest { .. }, _)) => 3,
                };
                if rank(&found) > rank(&best) {
                    best = found;
                }
            }
        }
        let Some((way, stale)) = best else {
            return false;
        };
        let mut current = self.lock();
        let again = match (&way, sent) {
            (_, None) => true,
            (Way::Digest { question, .. }, Some(sent)) => {
                // The server forgets its nonces; with a new one the same password may do.
                stale || !sent.contains(&format!(" nonce={}", quoted(&question.nonce)))
            }
            (_, Some(sent)) => !sent.starts_with("Basic "),
        };
        *current = way;
        again
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.who.as_ref().map(|(user, _)| user);
        f.debug_struct("Login")
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

fn random() -> String {
    format!("{:016x}", RandomState::new().hash_one(0_u8))
}

/// One way that the server offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The way, unless it is one that we do not know, and whether the last nonce was too old.
    fn way(&self) -> Option<(Way, bool)> {
        if self.scheme.eq_ignore_ascii_case("basic") {
            return Some((Way::Basic, false));
        }
        if !self.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let algorithm = self.get("algorithm").map(str::to_ascii_uppercase);
        let (hash, session) = match algorithm.as_deref() {
            None | Some("MD5") => (Hash::Md5, false),
            Some("MD5-SESS") => (Hash::Md5, true),
            Some("SHA-256") => (Hash::Sha256, false),
            Some("SHA-256-SESS") => (Hash::Sha256, true),
            Some(_) => return None,
        };
        let auth = match self.get("qop") {
            None => false,
            Some(qop) => {
                let auth = qop
                    .split(',')
                    .any(|word| word.trim().eq_ignore_ascii_case("auth"));
                if !auth {
                    return None;
                }
                true
            }
        };
        let question = Question {
            realm: self.get("realm")?.to_owned(),
            nonce: self.get("nonce")?.to_owned(),
            opaque: self.get("opaque").map(str::to_owned),
            algorithm: self.get("algorithm").map(str::to_owned),
            hash,
            session,
            auth,
        };
        let stale = self
            .get("stale")
            .is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        Some((Way::Digest { question, used: 0 }, stale))
    }
}

/// The challenges of one header: schemes, each with parameters, all with commas between.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        let Some(value) = value else {
            found.push(Challenge {
                scheme: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
        if let Some(challenge) = found.last_mut() {
            challenge.parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A word or a quoted text, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

    use super::{Login, challenges};

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        headers
    }

    fn login() -> Login {
        Login::new(Some("user".into()), Some("pass".into()))
    }

    #[test]
    fn challenges_are_taken_apart() {
        let text = r#"Basic realm="a, \"b\"", charset=UTF-8, Digest realm=x,nonce = "n=1",qop="auth,auth-int", Negotiate"#;
        let found = challenges(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].get("REALM"), Some("a, \"b\""));
        assert_eq!(found[0].get("charset"), Some("UTF-8"));
        assert_eq!(found[1].get("nonce"), Some("n=1"));
        assert_eq!(found[1].get("qop"), Some("auth,auth-int"));
        assert_eq!(found[2].scheme, "Negotiate");
        for hostile in [
            "",
            ",,,",
            "=",
            "Basic realm=\"",
            "Digest realm=\"\\",
            "a=b=c, =",
        ] {
            challenges(hostile);
        }
    }

    #[test]
    fn nothing_is_sent_unasked() {
        let login = login();
        assert!(login.must_ask());
        assert_eq!(login.header("GET", "/"), None);
        assert!(login.asked(&headers(&["Basic realm=x"]), None));
        let header = login.header("GET", "/").expect("asked for");
        assert_eq!(header, "Basic dXNlcjpwYXNz");
        // Refused: once is enough.
        assert!(!login.asked(&headers(&["Basic realm=x"]), Some(&header)));
        let nobody = Login::new(None, None);
        assert!(!nobody.must_ask() && !nobody.asked(&headers(&["Basic realm=x"]), None));
    }

    #[test]
    fn the_best_way_is_taken_and_nonces_are_renewed() {
        let login = login();
        let all = headers(&[
            "Basic realm=x",
            "Digest realm=x, nonce=1, algorithm=MD5, qop=auth",
            "Digest realm=x, nonce=2, algorithm=SHA-256, qop=auth",
            "Digest realm=x, nonce=3, algorithm=SHA-512-256",
        ]);
        assert!(login.asked(&all, None));
        let first = login.header("GET", "/").expect("asked for");
        assert!(
            first.contains("nonce=\"2\"") && first.contains("nc=00000001"),
            "{first}"
        );
        let second = login.header("PUT", "/").expect("asked for");
        assert!(second.contains("nc=00000002"), "{second}");
        // The same nonce again is a no, another one is not.
        assert!(!login.asked(&all, Some(&second)));
        let other = headers(&["Digest realm=x, nonce=9, qop=auth"]);
        assert!(login.asked(&other, Some(&second)));
        let stale = headers(&["Digest realm=x, nonce=9, qop=auth, stale=TRUE"]);
        let third = login.header("GET", "/").expect("asked for");
        assert!(login.asked(&stale, Some(&third)));
        // What we cannot do is not tried.
        let unknown = headers(&["Negotiate", "Digest realm=x, nonce=1, qop=auth-int"]);
        assert!(!login.asked(&unknown, None));
    }
}
