//! What a run is measured by.

use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

/// A figure of a [`Tally`](crate::tally::Tally).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Requests that were slowed, limited, challenged or refused.
    Disturbed,
    /// Articles before the first refusal or challenge.
    First,
    /// Articles in all.
    Articles,
    /// Pages that came.
    Served,
    /// Answers 402, 403, 429 and 503.
    Refused,
    /// Answers 403.
    Blocked,
    /// Answers that were held back.
    Slowed,
    Challenges,
    /// Challenges in a row in front of one page.
    ChallengeRun,
    /// Answers that hold what a link card is made of.
    Cards,
    /// Cookies that one client holds.
    Cookies,
    /// Answers that are neither 200, 304 nor 429.
    OtherStatus,
    /// Requests with signal `cohort`.
    Cohort,
    /// Growth of the process, in MiB.
    Memory,
}

/// Such as `first <= 30`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Bound {
    pub(crate) metric: Metric,
    /// The value is the least that is allowed, not the most.
    pub(crate) at_least: bool,
    pub(crate) value: u64,
}

impl TryFrom<String> for Bound {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no bound such as `first <= 30` or `cards >= 1`");
        let mut words = text.split_whitespace();
        let (Some(metric), Some(sign), Some(value), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let name: StrDeserializer<'_, Error> = metric.into_deserializer();
        let metric = Metric::deserialize(name).map_err(|error| error.to_string())?;
        let at_least = match sign {
            "<=" => false,
            ">=" => true,
            _ => return Err(wrong()),
        };
        Ok(Self { metric, at_least, value: value.parse().map_err(|_| wrong())? })
    }
}

impl Bound {
    pub(crate) fn allows(self, value: u64) -> bool {
        if self.at_least { value >= self.value } else { value <= self.value }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = serde_json::to_value(self.metric).unwrap_or_default();
        let sign = if self.at_least { "≥" } else { "≤" };
        write!(f, "{} {sign} {}", name.as_str().unwrap_or_default(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read() {
        let bound = Bound::try_from("challenge_run <= 3".to_owned()).unwrap();
        assert!(bound.allows(3) && !bound.allows(4));
        assert_eq!(bound.to_string(), "challenge_run ≤ 3");
        for wrong in ["first < 3", "first <= x", "first <= 3 4", "last <= 3"] {
            assert!(Bound::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
