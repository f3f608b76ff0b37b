//! Values of `[audit]` that are words of their own.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::action::Action;

/// When what was written must have reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// When the system likes.
    Never,
    /// With each checkpoint: a power cut costs `audit.checkpoint_every`.
    #[default]
    Checkpoint,
    /// With each write: dear.
    Line,
}

/// What happens to requests while their records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They are served, and the records counted as lost.
    #[default]
    Continue,
    /// 503: the site is down while its log is.
    Refuse,
}

/// Section `[audit.otlp]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSettings {
    /// The receiver's address, to which `/v1/logs` is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// What closed segments become: `none`, `zstd:1`–`zstd:19`, `gzip:1`–`gzip:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// They stay as they are.
    None,
    /// Zstandard of this level.
    Zstd(u8),
    /// Gzip of this level.
    Gzip(u8),
}

impl FromStr for Compress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = |level: &str, most: u8| level.parse().ok().filter(|level| (1..=most).contains(level));
        let read = match text.split_once(':') {
            None if text == "none" => Some(Self::None),
            Some(("zstd", number)) => level(number, 19).map(Self::Zstd),
            Some(("gzip", number)) => level(number, 9).map(Self::Gzip),
            _ => None,
        };
        read.ok_or_else(|| format!("`{text}` is not one of none, zstd:1 to zstd:19, gzip:1 to gzip:9"))
    }
}

impl fmt::Display for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
        }
    }
}

/// From which action on an address is written in full: an action, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalate {
    /// Not even of robots.
    Never,
    /// From this one on; and of declared robots and impostors.
    From(Action),
}

impl FromStr for Escalate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        Action::from_code(text).map(Self::From).ok_or_else(|| format!("`{text}` is neither an action nor `never`"))
    }
}

impl fmt::Display for Escalate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::From(action) => action.code(),
        })
    }
}

/// A regular expression over the path; its first group is the id of the article.
#[derive(Debug, Clone)]
pub struct ArticlePattern(Regex);

impl ArticlePattern {
    /// The id in this path.
    pub fn find<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.0.captures(path)?.get(1).map(|found| found.as_str())
    }
}

impl PartialEq for ArticlePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl FromStr for ArticlePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = regex::RegexBuilder::new(text).size_limit(1 << 18).build().map_err(|error| error.to_string())?;
        match pattern.captures_len() {
            2 => Ok(Self(pattern)),
            groups => Err(format!("`{text}` has {} groups; exactly one names the article", groups - 1)),
        }
    }
}

impl fmt::Display for ArticlePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

macro_rules! as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

as_text!(Compress, Escalate, ArticlePattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_back() {
        for text in ["none", "zstd:1", "zstd:19", "gzip:9"] {
            assert_eq!(text.parse::<Compress>().unwrap().to_string(), text);
        }
        for text in ["", "zstd", "zstd:0", "zstd:20", "gzip:10", "brotli:1"] {
            assert!(text.parse::<Compress>().is_err(), "{text}");
        }
        for text in ["never", "challenge", "block", "allow"] {
            assert_eq!(text.parse::<Escalate>().unwrap().to_string(), text);
        }
        assert!("always".parse::<Escalate>().is_err());
        let pattern: ArticlePattern = r"/p/(\d+)".parse().unwrap();
        assert_eq!((pattern.find("/p/42/x"), pattern.find("/q/42")), (Some("42"), None));
        for text in [r"/p/\d+", r"(a)(b)", "(("] {
            assert!(text.parse::<ArticlePattern>().is_err(), "{text}");
        }
    }
}
