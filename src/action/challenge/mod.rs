//! Action `challenge`: a page that a browser gets past by itself, by waiting or, faster, by a little work.
//!
//! It is a cost and no wall: whoever runs a browser passes. What it buys is a pass, a cookie that names its holder, so
//! that limits can be counted by person and not by address. Nothing is kept about a challenge but that it was used:
//! all else stands in the token, which is bound to the host alone, because addresses and `User-Agent`s change under
//! readers.
//!
//! Nobody who comes back from them sees more than three of these pages in a row. Who does not get past, or keeps no
//! cookies, reads on in the
//! *breaker lane*: a few pages a minute, for half an hour, without further challenges.

mod entry;
mod page;
mod words;

pub(super) use entry::{Return, TRIES};

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::ActionError;
use super::pages::Page;
use crate::secret::Secrets;
use crate::unit::Span;
use crate::visitor::pass::Tokens;

/// Section `[action.challenge]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChallengeSettings {
    /// 429, 403 or 503. Never 200: search engines and monitors would take it for the page.
    pub status: u16,
    /// Zero bits that the work has to find, 8 to 18.
    pub bits: u8,
    /// What a browser waits without scripts, 4 to 60 seconds.
    pub wait: Span,
    /// How long a pass is good, one hour to 30 days.
    pub pass_ttl: Span,
}

impl Default for ChallengeSettings {
    fn default() -> Self {
        Self { status: 429, bits: 16, wait: Span::seconds(5), pass_ttl: Span::seconds(7 * 86_400) }
    }
}

impl ChallengeSettings {
    pub(super) fn check(&self) -> Result<(), ActionError> {
        let refuse = |key, value: String, range| Err(ActionError::Challenge { key, value, range });
        let within = |span: Span, least: u64, most: u64| {
            (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&span.0)
        };
        if ![429, 403, 503].contains(&self.status) {
            return refuse("status", self.status.to_string(), "429, 403 or 503");
        }
        if !(8..=18).contains(&self.bits) {
            return refuse("bits", self.bits.to_string(), "8 to 18");
        }
        if !within(self.wait, 4, 60) {
            return refuse("wait", self.wait.to_string(), "4 to 60 seconds");
        }
        if !within(self.pass_ttl, 3_600, 30 * 86_400) {
            return refuse("pass_ttl", self.pass_ttl.to_string(), "one hour to 30 days");
        }
        Ok(())
    }
}

/// What became of a challenge in this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeStep {
    /// The page went out.
    Issued,
    /// Somebody came back before the wait was over, and was shown the rest of it.
    Early,
    /// It was passed.
    Passed,
    /// The answer was wrong, too late, or used before.
    Refused,
    /// Challenges lead nowhere here; the page was served.
    Spared,
}

impl ChallengeStep {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Early => "early",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Spared => "spared",
        }
    }
}

/// Issues challenges, and takes the answers.
#[derive(Debug)]
pub(super) struct Challenger {
    settings: ChallengeSettings,
    status: StatusCode,
    tokens: Tokens,
    mount: String,
    contact: Option<String>,
    html: Page,
}

impl Challenger {
    pub(super) fn new(
        settings: &ChallengeSettings,
        secrets: &Secrets,
        mount: &str,
        contact: Option<String>,
        templates: Option<&str>,
    ) -> Result<Self, ActionError> {
        let html = Page::new(templates, "challenge.html", include_str!("../../../assets/pages/challenge.html"))?;
        let challenger = Self {
            settings: settings.clone(),
            status: StatusCode::from_u16(settings.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS),
            tokens: Tokens::new(secrets),
            mount: mount.to_owned(),
            contact,
            html,
        };
        challenger.check()?;
        Ok(challenger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let wrong = |settings: ChallengeSettings| settings.check().unwrap_err().to_string();
        let base = ChallengeSettings::default;
        assert!(base().check().is_ok());
        assert!(wrong(ChallengeSettings { status: 200, ..base() }).contains("action.challenge.status"));
        assert!(wrong(ChallengeSettings { bits: 19, ..base() }).contains("8 to 18"));
        assert!(wrong(ChallengeSettings { wait: Span::seconds(3), ..base() }).contains("action.challenge.wait"));
        assert!(wrong(ChallengeSettings { pass_ttl: Span::seconds(60), ..base() }).contains("pass_ttl"));
    }
}
