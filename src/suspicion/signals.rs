//! The signals, one variant each, with their weights and stable codes.

use crate::visitor::{Category, Verification};

/// Groups of signals; each is capped on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// What the visitor claims to be.
    Claim,
    /// How fast it takes pages.
    Rate,
    /// How it moves through the site.
    Behaviour,
}

impl Group {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Rate => "rate",
            Self::Behaviour => "behaviour",
        }
    }

    /// Most points of the group.
    pub(crate) fn cap(self) -> f32 {
        match self {
            Self::Claim => 60.0,
            Self::Rate => 30.0,
            Self::Behaviour => 50.0,
        }
    }
}

/// One piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Signal {
    /// Eight or more articles in a row, with no front or section page between.
    ArticleRun,
    /// Says that it is a robot that it is not.
    ClaimFailed,
    /// Looks like a robot that is in no table.
    ClaimGeneric,
    /// Says that it is an automated browser.
    ClaimHeadless,
    /// Says that it is an HTTP library or a download tool.
    ClaimLibrary,
    /// Says nothing.
    ClaimNoAgent,
    /// Says that it is a scanner.
    ClaimScanner,
    /// Says that it is a crawler of a kind that cannot be checked.
    ClaimUnverifiable,
    /// Five or more requests while it was asked to wait.
    IgnoredRetryAfter,
    /// Claims a browser, read six pages or more in more than 2 s (or 41 in less), and fetched no asset.
    NoAssets,
    /// The quota of one page in 12 s was used up.
    PageHour,
    /// The quota of one page in 3 s was used up.
    PageSoft,
}

impl Signal {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::ArticleRun => "article_run",
            Self::ClaimFailed => "claim_failed",
            Self::ClaimGeneric => "claim_generic",
            Self::ClaimHeadless => "claim_headless",
            Self::ClaimLibrary => "claim_library",
            Self::ClaimNoAgent => "claim_no_agent",
            Self::ClaimScanner => "claim_scanner",
            Self::ClaimUnverifiable => "claim_unverifiable",
            Self::IgnoredRetryAfter => "ignored_retry_after",
            Self::NoAssets => "no_assets",
            Self::PageHour => "page_hour",
            Self::PageSoft => "page_soft",
        }
    }

    /// Points.
    pub fn weight(self) -> u8 {
        match self {
            Self::ClaimFailed => 60,
            Self::ClaimHeadless | Self::ClaimScanner => 40,
            Self::ClaimLibrary => 25,
            Self::ClaimGeneric | Self::ClaimNoAgent | Self::NoAssets => 20,
            Self::ClaimUnverifiable => 15,
            Self::IgnoredRetryAfter | Self::PageHour => 10,
            Self::ArticleRun => 8,
            Self::PageSoft => 6,
        }
    }

    /// The group it belongs to.
    pub fn group(self) -> Group {
        match self {
            Self::ArticleRun | Self::NoAssets => Group::Behaviour,
            Self::IgnoredRetryAfter | Self::PageHour | Self::PageSoft => Group::Rate,
            _ => Group::Claim,
        }
    }
}

/// What the claim says, as far as it is proven.
pub(crate) fn claim(category: Category, verification: Verification) -> Option<Signal> {
    match verification {
        Verification::Verified => return None,
        Verification::Failed => return Some(Signal::ClaimFailed),
        _ => {}
    }
    Some(match category {
        Category::Headless => Signal::ClaimHeadless,
        Category::Scanner => Signal::ClaimScanner,
        Category::Library => Signal::ClaimLibrary,
        Category::UnknownBot => Signal::ClaimGeneric,
        Category::None => Signal::ClaimNoAgent,
        Category::AiTrain | Category::AiSearch | Category::AiUser | Category::Seo => Signal::ClaimUnverifiable,
        _ => return None,
    })
}
