//! A replica in a NATS object store.

use litestream_storage::{NatsLogin, NatsSettings, NatsStore};

use crate::config::{BuildError, NatsTarget};

/// Where clients of NATS look for a server that nobody names.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

pub(super) fn open(target: &NatsTarget) -> Result<NatsStore, BuildError> {
    Ok(NatsStore::new(settings(target)?))
}

fn settings(target: &NatsTarget) -> Result<NatsSettings, BuildError> {
    let url = match target.url.as_str() {
        "" => DEFAULT_URL,
        url => url,
    };
    Ok(NatsSettings {
        login: login(target)?,
        tls: target.tls,
        root_cas: target.root_cas.iter().map(Into::into).collect(),
        client_certificate: target
            .client_certificate
            .as_ref()
            .map(|(certificate, key)| (certificate.into(), key.into())),
        max_reconnects: usize::try_from(target.max_reconnects).ok(),
        reconnect_wait: target.reconnect_wait,
        timeout: target.timeout,
        ..NatsSettings::new(url, &target.bucket)
    })
}

/// The first way that is complete, in the order of the reference.
fn login(target: &NatsTarget) -> Result<NatsLogin, BuildError> {
    if let (Some(jwt), Some(seed)) = (&target.jwt, &target.seed) {
        return Ok(NatsLogin::Jwt {
            jwt: jwt.clone(),
            seed: seed.clone(),
        });
    }
    if let Some(path) = &target.creds {
        return Ok(NatsLogin::Credentials(path.into()));
    }
    if let Some(nkey) = &target.nkey {
        return match (&target.seed, nkey.starts_with('S')) {
            (Some(seed), _) => Ok(NatsLogin::Nkey(seed.clone())),
            (None, true) => Ok(NatsLogin::Nkey(nkey.clone())),
            // The public half alone cannot sign anything.
            (None, false) => Err(BuildError::Invalid {
                kind: "nats",
                cause: "nkey needs the seed of the key, in the setting seed".to_owned(),
            }),
        };
    }
    if let (Some(name), Some(password)) = (&target.username, &target.password) {
        return Ok(NatsLogin::User {
            name: name.clone(),
            password: password.clone(),
        });
    }
    if let Some(token) = &target.token {
        return Ok(NatsLogin::Token(token.clone()));
    }
    // Half of a pair would log in as nobody, and be let in where everybody is.
    for (half, name, missing) in [
        (&target.jwt, "jwt", "seed"),
        (&target.seed, "seed", "jwt or nkey"),
        (&target.username, "username", "password"),
        (&target.password, "password", "username"),
    ] {
        if half.is_some() {
            return Err(BuildError::Invalid {
                kind: "nats",
                cause: format!("{name} needs {missing} as well"),
            });
        }
    }
    Ok(NatsLogin::None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::settings;
    use crate::config::{Target, of_registered, parse};
    use crate::env::Env;

    fn login(keys: &str) -> Result<String, String> {
        let env = Env::of(&[], "/", None, 1);
        let text = format!("dbs:\n- path: /a\n  replica: {{type: nats, bucket: b, {keys}}}\n");
        let config = parse(&env, &text).expect("a configuration");
        let replica = config.dbs[0].replicas(&env).expect("a replica").remove(0);
        let Target::Nats(target) = replica.target else {
            panic!("{keys}")
        };
        settings(&target)
            .map(|settings| format!("{:?}", settings.login))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_complete_login_is_taken() {
        for (keys, expected) in [
            ("tls: false", "None"),
            ("token: t", "Token(..)"),
            ("username: u, password: p, token: t", "User(\"u\", ..)"),
            ("nkey: UX, seed: SUX, username: u, password: p", "Nkey(..)"),
            ("nkey: SUX", "Nkey(..)"),
            ("creds: /c, nkey: SUX", "Credentials(\"/c\")"),
            ("jwt: j, seed: SUX, creds: /c", "Jwt(..)"),
            // A half in front of something whole.
            ("jwt: j, creds: /c", "Credentials(\"/c\")"),
            ("username: u, token: t", "Token(..)"),
        ] {
            assert_eq!(login(keys).as_deref(), Ok(expected), "{keys}");
        }
    }

    #[test]
    fn registered_urls_say_who_logs_in() {
        let env = Env::of(&[], "/", None, 1);
        let of = |url: &str| {
            let config = of_registered(&env, Path::new("/db"), url);
            let replica = config.dbs[0].replicas(&env).expect(url).remove(0);
            let Target::Nats(target) = replica.target else {
                panic!("{url}")
            };
            assert_eq!(target.url, "nats://h:4222");
            settings(&target)
                .map(|settings| format!("{:?}", settings.login))
                .map_err(|error| error.to_string())
        };
        assert_eq!(of("nats://h:4222/b").as_deref(), Ok("None"));
        let user = of("nats://u:p%20w@h:4222/b");
        assert_eq!(user.as_deref(), Ok("User(\"u\", ..)"));
        let half = of("nats://u@h:4222/b").expect_err("half");
        assert!(half.contains("username needs password"), "{half}");
    }

    #[test]
    fn half_a_login_is_refused_by_name() {
        for (keys, text) in [
            ("jwt: j", "jwt needs seed"),
            ("seed: SUX", "seed needs jwt or nkey"),
            ("username: u", "username needs password"),
            ("password: p", "password needs username"),
            ("nkey: UX", "nkey needs the seed"),
        ] {
            let refused = login(keys).expect_err(keys);
            assert!(refused.contains(text), "{refused}");
        }
    }
}
