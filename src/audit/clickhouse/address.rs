//! The address of an engine, and apart from it who asks.

use std::fmt;

use http::Uri;

use crate::visitor::percent_decoded;

/// Holds the password where the address has none.
const PASSWORD: &str = "DECKLE_CLICKHOUSE_PASSWORD";

/// `http://[user[:password]@]host[:port]`, or `https://`; what is shown of it never holds user or password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) base: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// No address of an engine. It never says what was given: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no address such as http://host:8123 or https://user@host:8443; in user and password write %40 for @")]
#[non_exhaustive]
pub struct AddressError;

impl Address {
    /// Reads it. Without a password in it, `DECKLE_CLICKHOUSE_PASSWORD` has the password.
    ///
    /// # Errors
    /// [`AddressError`] for anything else, and where a query stands behind it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let password = || std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        Self::read(text, password)
    }

    fn read(text: &str, otherwise: impl Fn() -> Option<String>) -> Result<Self, AddressError> {
        let uri: Uri = text.trim().parse().map_err(|_| AddressError)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(AddressError)?;
        let authority = uri.authority().ok_or(AddressError)?;
        if authority.host().is_empty() || uri.query().is_some() {
            return Err(AddressError);
        }
        let (who, host) = match authority.as_str().rsplit_once('@') {
            Some((who, host)) => (Some(who), host),
            None => (None, authority.as_str()),
        };
        let (user, password) = match who.map(|who| who.split_once(':').map_or((who, None), |(u, p)| (u, Some(p)))) {
            Some((user, password)) => (Some(decoded(user)?), password.map(decoded).transpose()?),
            None => (None, None),
        };
        let filled = |text: &String| !text.is_empty();
        Ok(Self {
            base: format!("{scheme}://{host}{}", uri.path()),
            user: user.filter(filled),
            password: password.filter(filled).or_else(otherwise),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Percent-decoded, to what may stand in a header.
fn decoded(text: &str) -> Result<String, AddressError> {
    percent_decoded(text).filter(|text| !text.chars().any(char::is_control)).ok_or(AddressError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, AddressError> {
        Address::read(text, || Some("from outside".to_owned()))
    }

    #[test]
    fn credentials_stand_apart() {
        let of = |text: &str| {
            let Address { base, user, password } = read(text).unwrap();
            (base, user.unwrap_or_default(), password.unwrap_or_default())
        };
        let parts = |base: &str, user: &str, password: &str| (base.to_owned(), user.to_owned(), password.to_owned());
        assert_eq!(of("http://h:8123"), parts("http://h:8123/", "", "from outside"));
        assert_eq!(of(" https://me@h/ "), parts("https://h/", "me", "from outside"));
        assert_eq!(of("https://me:p%40ss:w%2Frd@[::1]:8443/x"), parts("https://[::1]:8443/x", "me", "p@ss:w/rd"));
        assert_eq!(of("http://:word@h"), parts("http://h/", "", "word"));
    }

    #[test]
    fn nothing_shows_a_password() {
        let address = read("http://me:sesame@h:8123").unwrap();
        assert_eq!(address.to_string(), "http://h:8123");
        assert_eq!(format!("{address:?}"), "Address(http://h:8123)");
        for text in [
            "",
            "h:8123",
            "redis://me:sesame@h",
            "http://me:w%zz@h",
            "http://me:se%0Asame@h",
            "http://me:sesame@h/?x=1",
            "http://",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(!error.contains("same"), "{error}");
        }
    }
}
