//! [`Category`]: what kind of program asks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of program asks. The spelling of [`Category::code`] is used in config, log and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Category {
    /// A browser, as far as the header says.
    Browser,
    /// A search engine's crawler.
    Search,
    /// Collects text to train models.
    AiTrain,
    /// Collects text to answer with.
    AiSearch,
    /// Fetches one page because a person asked for it right now.
    AiUser,
    /// Makes link cards in chats and networks.
    Preview,
    /// Reads feeds.
    Feed,
    /// Archives the web.
    Archive,
    /// Checks whether a site is up.
    Monitor,
    /// Search-engine-optimisation tools.
    Seo,
    /// Advertising and brand tools.
    Advertising,
    /// Read-later services, text browsers, reading aids.
    Reader,
    /// curl, wget and HTTP libraries.
    Library,
    /// An automated browser that says so.
    Headless,
    /// Vulnerability and content scanners.
    Scanner,
    /// Research crawlers.
    Academic,
    /// Looks like a robot, not in the table.
    UnknownBot,
    /// No `User-Agent` at all.
    None,
}

impl Category {
    /// All categories.
    pub const ALL: [Self; 18] = [
        Self::Browser,
        Self::Search,
        Self::AiTrain,
        Self::AiSearch,
        Self::AiUser,
        Self::Preview,
        Self::Feed,
        Self::Archive,
        Self::Monitor,
        Self::Seo,
        Self::Advertising,
        Self::Reader,
        Self::Library,
        Self::Headless,
        Self::Scanner,
        Self::Academic,
        Self::UnknownBot,
        Self::None,
    ];

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Search => "search",
            Self::AiTrain => "ai-train",
            Self::AiSearch => "ai-search",
            Self::AiUser => "ai-user",
            Self::Preview => "preview",
            Self::Feed => "feed",
            Self::Archive => "archive",
            Self::Monitor => "monitor",
            Self::Seo => "seo",
            Self::Advertising => "advertising",
            Self::Reader => "reader",
            Self::Library => "library",
            Self::Headless => "headless",
            Self::Scanner => "scanner",
            Self::Academic => "academic",
            Self::UnknownBot => "unknown-bot",
            Self::None => "none",
        }
    }

    /// The category with this spelling.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.code() == code)
    }

    /// Who wins when two agents match equally long: the higher number.
    pub fn priority(self) -> u8 {
        match self {
            Self::Scanner => 9,
            Self::Headless => 8,
            Self::Library => 7,
            Self::AiTrain | Self::AiSearch | Self::AiUser => 6,
            Self::Search => 5,
            Self::Preview => 4,
            Self::UnknownBot | Self::None | Self::Browser => 0,
            _ => 3,
        }
    }

    /// A program that says by its name that it is a crawler (RFC 9309 speaks of those).
    pub fn is_declared_bot(self) -> bool {
        !matches!(self, Self::Browser | Self::Reader | Self::Library | Self::Headless | Self::UnknownBot | Self::None)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
