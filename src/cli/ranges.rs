//! Makes the lists of address ranges that ship with deckle.

use std::path::Path;

use anyhow::Context as _;

use super::reference::read;

/// Builds `ranges/cloudflare.json` in the form the preset reads.
///
/// # Errors
/// A file that is missing or a line that is no prefix.
pub(crate) fn ranges(dir: &Path, name: &str) -> anyhow::Result<String> {
    let prefixes = prefixes(dir, name)?;
    Ok(serde_json::to_string_pretty(&serde_json::json!({ "set": name, "prefixes": prefixes }))? + "\n")
}

/// Sets of `ranges/operators.json`: name, agents that ask from there, whether DNS tells, too.
const OPERATORS: [(&str, &[&str], bool); 9] = [
    (
        "googlebot",
        &[
            "Googlebot",
            "Googlebot-Image",
            "Googlebot-News",
            "Googlebot-Video",
            "Google-InspectionTool",
            "Storebot-Google",
            "GoogleOther",
            "GoogleOther-Image",
            "GoogleOther-Video",
        ],
        true,
    ),
    ("bing", &["bingbot", "Adidxbot", "BingPreview"], true),
    ("duckduckbot", &["DuckDuckBot"], false),
    ("duckassistbot", &["DuckAssistBot"], false),
    ("openai", &["GPTBot", "ChatGPT-User", "OAI-SearchBot"], false),
    ("perplexity", &["PerplexityBot", "Perplexity-User"], false),
    // Apple's Messages asks from the reader's own device under this name, so that the ranges disprove nothing.
    (
        "facebook",
        &[
            "facebookexternalhit",
            "facebookcatalog",
            "meta-externalads",
            "meta-externalagent",
            "meta-externalfetcher",
            "meta-webindexer",
        ],
        true,
    ),
    ("pingdom", &["Pingdom"], true),
    ("statuscake", &["StatusCake"], true),
];

/// Builds `ranges/operators.json`; `made`: the day of the lists.
///
/// # Errors
/// As [`ranges`].
pub(crate) fn operators(dir: &Path, made: &str) -> anyhow::Result<String> {
    let mut sets = Vec::new();
    for (name, agents, dns) in OPERATORS {
        let prefixes = prefixes(dir, name)?;
        sets.push(serde_json::json!({ "name": name, "agents": agents, "dns": dns, "prefixes": prefixes }));
    }
    Ok(serde_json::to_string_pretty(&serde_json::json!({ "creationTime": made, "sets": sets }))? + "\n")
}

/// The prefixes of one operator; some have none of one family.
fn prefixes(dir: &Path, name: &str) -> anyhow::Result<Vec<String>> {
    let mut prefixes = Vec::new();
    for path in ["ipv4", "ipv6"].map(|family| dir.join(format!("{name}-{family}.txt"))) {
        let text = if path.exists() { read(&path)? } else { String::new() };
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let prefix: ipnet::IpNet = line.trim().parse().with_context(|| format!("{}: `{line}`", path.display()))?;
            prefixes.push(prefix.to_string());
        }
    }
    anyhow::ensure!(!prefixes.is_empty(), "no list of {name} in {}", dir.display());
    Ok(prefixes)
}
