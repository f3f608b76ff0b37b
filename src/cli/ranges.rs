//! Makes the lists of address ranges that ship with deckle.

use std::path::Path;

use anyhow::Context as _;

use super::reference::read;

/// Builds `ranges/cloudflare.json` in the form the preset reads.
///
/// # Errors
/// A file that is missing or a line that is no prefix.
pub(crate) fn ranges(dir: &Path, name: &str) -> anyhow::Result<String> {
    let prefixes = prefixes(dir, name, BOTH)?;
    Ok(serde_json::to_string_pretty(&serde_json::json!({ "set": name, "prefixes": prefixes }))? + "\n")
}

/// One set of `ranges/operators.json`.
struct Operator {
    name: &'static str,
    agents: &'static [&'static str],
    /// Those that read for the index of a search engine.
    indexers: &'static [&'static str],
    /// Nobody of these asks from elsewhere.
    complete: bool,
    /// The network is the operator's own.
    own_network: bool,
    families: &'static [&'static str],
    /// Where it publishes them in the common form.
    sources: &'static [&'static str],
}

const V4: &[&str] = &["ipv4"];
const BOTH: &[&str] = &["ipv4", "ipv6"];

/// Not Meta: the list upstream is of all routes that anybody registers for its networks.
const OPERATORS: [Operator; 8] = [
    Operator {
        name: "googlebot",
        agents: &[
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
        indexers: &["Googlebot", "Googlebot-Image", "Googlebot-News", "Googlebot-Video"],
        // Google and Microsoft ask to check by DNS; these lists are a help.
        complete: false,
        own_network: true,
        families: BOTH,
        sources: &["https://developers.google.com/static/crawling/ipranges/common-crawlers.json"],
    },
    Operator {
        name: "bing",
        agents: &["bingbot", "Adidxbot", "BingPreview"],
        indexers: &["bingbot"],
        complete: false,
        own_network: true,
        families: V4,
        sources: &["https://www.bing.com/toolbox/bingbot.json"],
    },
    Operator {
        sources: &["https://duckduckgo.com/duckduckbot.json"],
        ..rented("duckduckbot", &["DuckDuckBot"], &["DuckDuckBot"], true)
    },
    Operator {
        sources: &["https://duckduckgo.com/duckassistbot.json"],
        ..rented("duckassistbot", &["DuckAssistBot"], &[], true)
    },
    Operator {
        sources: &[
            "https://openai.com/gptbot.json",
            "https://openai.com/searchbot.json",
            "https://openai.com/chatgpt-user.json",
        ],
        ..rented("openai", &["GPTBot", "ChatGPT-User", "OAI-SearchBot"], &[], true)
    },
    Operator {
        sources: &["https://www.perplexity.com/perplexitybot.json", "https://www.perplexity.com/perplexity-user.json"],
        ..rented("perplexity", &["PerplexityBot", "Perplexity-User"], &[], true)
    },
    // Monitors add addresses all the time.
    Operator { families: BOTH, ..rented("pingdom", &["Pingdom"], &[], false) },
    rented("statuscake", &["StatusCake"], &[], false),
];

const fn rented(
    name: &'static str,
    agents: &'static [&'static str],
    indexers: &'static [&'static str],
    complete: bool,
) -> Operator {
    Operator { name, agents, indexers, complete, own_network: false, families: V4, sources: &[] }
}

/// Builds `ranges/operators.json`; `made`: the day of the lists.
///
/// # Errors
/// As [`ranges`].
pub(crate) fn operators(dir: &Path, made: &str) -> anyhow::Result<String> {
    let mut sets = Vec::new();
    for of in &OPERATORS {
        sets.push(serde_json::json!({
            "name": of.name,
            "agents": of.agents,
            "indexers": of.indexers,
            "complete": of.complete,
            "ownNetwork": of.own_network,
            "sources": of.sources,
            "prefixes": prefixes(dir, of.name, of.families)?,
        }));
    }
    Ok(serde_json::to_string_pretty(&serde_json::json!({ "creationTime": made, "sets": sets }))? + "\n")
}

/// Providers of rented machines.
const CLOUDS: [(&str, &[&str]); 7] = [
    ("amazon", BOTH),
    ("google", BOTH),
    ("microsoft", BOTH),
    ("oracle", V4),
    ("digitalocean", BOTH),
    ("linode", BOTH),
    ("vultr", BOTH),
];

/// Builds `ranges/clouds.txt`: one prefix a line, joined where they touch. What overlaps with the relays of Apple's
/// browser or a VPN of readers is left out.
///
/// # Errors
/// As [`ranges`].
pub(crate) fn clouds(dir: &Path) -> anyhow::Result<String> {
    let mut all = Vec::new();
    for (name, families) in CLOUDS {
        all.extend(prefixes(dir, name, families)?);
    }
    let mut readers = prefixes(dir, "apple-proxy", BOTH)?;
    readers.extend(prefixes(dir, "protonvpn", V4)?);
    let parse = |list: Vec<String>| list.iter().map(|net| net.parse()).collect::<Result<Vec<ipnet::IpNet>, _>>();
    let (all, mut readers) = (ipnet::IpNet::aggregate(&parse(all)?), ipnet::IpNet::aggregate(&parse(readers)?));
    // One provider lists the networks of examples (RFC 5737).
    readers.extend(parse(["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"].map(str::to_owned).to_vec())?);
    let apart = |net: &&ipnet::IpNet| !readers.iter().any(|other| other.contains(*net) || net.contains(other));
    Ok(all.iter().filter(apart).map(|net| format!("{net}\n")).collect())
}

fn prefixes(dir: &Path, name: &str, families: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut prefixes = Vec::new();
    for family in families {
        let path = dir.join(format!("{name}-{family}.txt"));
        for line in read(&path)?.lines().filter(|l| !l.trim().is_empty()) {
            let prefix: ipnet::IpNet = line.trim().parse().with_context(|| format!("{}: `{line}`", path.display()))?;
            prefixes.push(prefix.to_string());
        }
    }
    Ok(prefixes)
}
