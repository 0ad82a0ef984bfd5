//! A JSON Web Token (RFC 7519) in a file, for example one that Kubernetes projects into a pod and
//! renews. Only its claims are looked at; whether it is genuine is for the broker to say.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use super::{LIFE_MAX_MS, TokenError};
use crate::units::{EventTime, ProcessingTime};

/// More than any token that a broker would take: its largest request before a login is half a
/// megabyte.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970, perhaps with a fraction.
    exp: f64,
    /// Whom it is about; only the client's own log shows it.
    #[serde(default)]
    sub: String,
}

pub(super) fn read(path: &Path, now: ProcessingTime) -> Result<OAuthToken, TokenError> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|cause| TokenError::Unreadable { path: shown(), cause })?;
    if text.len() as u64 > TOKEN_BYTES_MAX {
        return Err(TokenError::Unusable { path: shown(), cause: "it is longer than 64 KiB" });
    }
    let token = text.trim();
    let claims = claims(token).map_err(|cause| TokenError::Unusable { path: shown(), cause })?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let expires_ms = (claims.exp * 1e3) as i64;
    if expires_ms <= now.0 {
        let at = EventTime::saturating_from_ms(expires_ms);
        return Err(TokenError::Expired { path: shown(), at });
    }
    let looked_at_again = now.0.saturating_add(LIFE_MAX_MS);
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub,
        lifetime_ms: expires_ms.min(looked_at_again),
    })
}

fn claims(token: &str) -> Result<Claims, &'static str> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it has not the three parts of one");
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).map_err(|_| "its claims are not base64")?;
    serde_json::from_slice(&claims).map_err(|_| "its claims are no JSON with an exp in seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: ProcessingTime = ProcessingTime(1_800_000_000_000);

    fn told(text: &[u8]) -> Result<OAuthToken, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, text).unwrap();
        read(&path, NOW).map_err(|error| error.to_string())
    }

    fn token(claims: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(r#"{"alg":"none"}"#), encode(claims), encode("signature"))
    }

    #[test]
    fn a_token_is_shown_as_it_stands_and_looked_at_again_before_it_expires() {
        let short = token(r#"{"sub":"system:serviceaccount:a:b","exp":1800000010.5}"#);
        let read = told(format!("{short}\n").as_bytes()).unwrap();
        assert_eq!(read.token, short);
        assert_eq!(read.principal_name, "system:serviceaccount:a:b");
        assert_eq!(read.lifetime_ms, 1_800_000_010_500);
        let long = told(token(r#"{"exp":99999999999,"aud":["kafka"]}"#).as_bytes()).unwrap();
        assert_eq!(long.lifetime_ms, NOW.0 + 60_000);
        assert_eq!(long.principal_name, "");
    }

    #[test]
    fn what_is_no_token_is_refused_by_the_name_of_its_file_and_without_its_words() {
        let expired = token(r#"{"sub":"hunter2","exp":1799999999}"#);
        for (text, words) in [
            (expired.as_bytes(), "expired at 2027-01-15T07:59:59.000Z, see to whoever renews it"),
            (b"hunter2", "not the three parts"),
            (b"", "not the three parts"),
            (b"a.b.c.d", "not the three parts"),
            (b"a.hunter2!.c", "not base64"),
            (token(r#"{"sub":"hunter2"}"#).as_bytes(), "with an exp in seconds"),
            (token(r#"{"exp":"hunter2"}"#).as_bytes(), "with an exp in seconds"),
            (b"\xff", "cannot read"),
        ] {
            let error = told(text).map(|_| ()).unwrap_err();
            assert!(error.contains(words) && error.contains("/token"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = read(Path::new("/no/where"), NOW).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("/no/where") && error.contains("token_file"), "{error}");
    }
}
