//! Codes in words.

use super::{MAX_WORD, escaped, text};

pub(super) fn category_words(code: &str) -> String {
    let words = match code {
        "browser" => "browser",
        "search" => "search engine",
        "ai-train" => "AI training",
        "ai-search" => "AI search",
        "ai-user" => "AI, for one person",
        "preview" => "link preview",
        "feed" => "feed reader",
        "archive" => "web archive",
        "monitor" => "uptime check",
        "seo" => "SEO tool",
        "advertising" => "advertising tool",
        "reader" => "reading app",
        "library" => "program library",
        "headless" => "automated browser",
        "scanner" => "security scanner",
        "academic" => "research crawler",
        "unknown-bot" => "unknown robot",
        "none" => "no user agent",
        other => return escaped(other, MAX_WORD),
    };
    words.to_owned()
}

/// The state; `note` may say it better: "fake (list of 2026-11-01)".
pub(super) fn verification_words(code: &str, note: Option<&str>) -> String {
    let words = match code {
        "failed" => {
            let words = note.filter(|note| note.starts_with("fake")).unwrap_or("fake");
            return format!("<strong class=\"fake\">{}</strong>", text(words));
        }
        "verified" => "verified",
        "unverifiable" => "cannot be verified",
        "none" => "claims nothing that can be verified",
        "error" => "could not be verified",
        "pending" => "not yet verified",
        other => return escaped(other, MAX_WORD),
    };
    words.to_owned()
}

pub(super) fn action_words(code: &str) -> String {
    let words = match code {
        "allow" => "served",
        "tag" => "served and noted",
        "slow" => "slowed down",
        "card" => "given a link card",
        "limit" => "limited",
        "license" => "asked for a licence",
        "challenge" => "challenged",
        "decoy" => "given filler",
        "block" => "refused",
        other => return escaped(other, MAX_WORD),
    };
    words.to_owned()
}

pub(super) fn skip_words(reason: &str) -> String {
    let words = match reason {
        "too_long" => "too long",
        "binary" => "not text",
        "malformed" => "not readable",
        "bad_time" => "time not readable",
        "torn" => "cut off in mid-line",
        other => return escaped(other, MAX_WORD),
    };
    words.to_owned()
}
