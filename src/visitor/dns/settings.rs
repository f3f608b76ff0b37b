//! Section `[visitor.verify]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::unit::Span;

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);
const QUEUES: RangeInclusive<usize> = 16..=65_536;
const WORKERS: RangeInclusive<usize> = 1..=64;

/// How crawlers are checked by DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifySettings {
    /// Look up the addresses of crawlers whose operators name the domains that they ask from.
    pub dns: bool,
    /// How long one question to a name server may take; a whole check, three times as long.
    pub dns_timeout: Span,
    /// Checks that may wait for a worker; what comes beyond waits for its next request.
    pub queue: usize,
    /// Checks that run at once.
    pub workers: usize,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { dns: true, dns_timeout: Span::seconds(2), queue: 1_024, workers: 8 }
    }
}

impl VerifySettings {
    /// Are the numbers within their ranges?
    ///
    /// # Errors
    /// The key, its value and what is allowed.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !TIMEOUTS.contains(&self.dns_timeout.0) {
            return Err(format!("`visitor.verify.dns_timeout` is `{}`; 100ms to 10s", self.dns_timeout));
        }
        for (key, value, allowed) in [("queue", self.queue, QUEUES), ("workers", self.workers, WORKERS)] {
            if !allowed.contains(&value) {
                return Err(format!("`visitor.verify.{key}` is `{value}`; {} to {}", allowed.start(), allowed.end()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> VerifySettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_defaults_hold() {
        let settings = read("");
        assert_eq!(settings, VerifySettings::default());
        assert!(settings.dns);
        assert_eq!((settings.dns_timeout.0, settings.queue, settings.workers), (Duration::from_secs(2), 1_024, 8));
        settings.check().unwrap();
    }

    #[test]
    fn the_ends_of_the_ranges_are_allowed() {
        read("dns_timeout = \"100ms\"\nqueue = 16\nworkers = 1").check().unwrap();
        read("dns_timeout = \"10s\"\nqueue = 65536\nworkers = 64").check().unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (text, parts) in [
            ("dns_timeout = \"99ms\"", ["visitor.verify.dns_timeout", "99ms", "100ms to 10s"]),
            ("dns_timeout = \"11s\"", ["visitor.verify.dns_timeout", "11s", "100ms to 10s"]),
            ("queue = 15", ["visitor.verify.queue", "15", "16 to 65536"]),
            ("queue = 65537", ["visitor.verify.queue", "65537", "16 to 65536"]),
            ("workers = 0", ["visitor.verify.workers", "0", "1 to 64"]),
            ("workers = 65", ["visitor.verify.workers", "65", "1 to 64"]),
        ] {
            let error = read(text).check().unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<VerifySettings>("worker = 8").unwrap_err().to_string().contains("worker"));
    }
}
