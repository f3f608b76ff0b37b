//! How agents are checked beside their addresses: by DNS, and below which domains; by signatures, and of which hosts.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::reference::as_literal;
use crate::visitor::AgentEntry;

/// One entry of arcjet/well-known-bots.
#[derive(Deserialize)]
pub(super) struct WellKnown {
    id: String,
    pattern: Accepted,
    #[serde(default)]
    verification: Vec<Recipe>,
}

#[derive(Deserialize)]
struct Accepted {
    accepted: Vec<String>,
}

/// How its operator asks to check it.
#[derive(Deserialize)]
struct Recipe {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    masks: Vec<String>,
}

/// Entries of well-known-bots whose recipe of type `dns` is taken over: the operator documents it, and nobody else has
/// names below the domain. Not Google's special crawlers and fetchers (below `google.com` are proxies that anybody can
/// use, below `googleusercontent.com` rented machines), and nothing whose name is one host for all addresses.
const BY_DNS: [&str; 17] = [
    "google-crawler",
    "google-crawler-image",
    "google-crawler-news",
    "google-crawler-video",
    "google-inspection-tool",
    "google-crawler-store",
    "google-crawler-other",
    "google-crawler-cloudvertex",
    "bing-crawler",
    "bing-ads",
    "bing-preview",
    "microsoft-preview",
    "yandex-crawler",
    "yandex-crawler-javascript",
    "baidu-crawler",
    "apple-crawler",
    "ccbot-crawler",
];

/// Agents whose operators say that they sign their requests, and the hosts of their key directories. ChatGPT's agent has
/// the `User-Agent` of a browser: only its signature says who it is (OpenAI, "ChatGPT agent allowlisting").
const BY_SIGNATURE: [(&str, &str); 1] = [("chatgpt-user", "chatgpt.com")];

/// Gives each agent of [`BY_SIGNATURE`] its host.
pub(super) fn add_signers(entries: &mut [AgentEntry]) -> anyhow::Result<()> {
    for (id, host) in BY_SIGNATURE {
        let entry = entries.iter_mut().find(|entry| entry.id == id);
        entry.with_context(|| format!("no agent is `{id}`"))?.signature.push(host.to_owned());
    }
    Ok(())
}

/// Gives each agent of [`BY_DNS`] the domains of its addresses' names.
pub(super) fn add_domains(entries: &mut [AgentEntry], bots: &[WellKnown]) -> anyhow::Result<()> {
    for id in BY_DNS {
        let bot = bots.iter().find(|bot| bot.id == id);
        let bot = bot.with_context(|| format!("`{id}` is not in well-known-bots.json"))?;
        let names: Vec<String> = bot.pattern.accepted.iter().filter_map(|pattern| as_literal(pattern)).collect();
        let same = |literal: &str| {
            let bare = literal.trim_end_matches('/');
            names.iter().any(|name| name.trim_end_matches('/').eq_ignore_ascii_case(bare))
        };
        let entry = entries.iter_mut().find(|entry| entry.literals.iter().any(|literal| same(literal)));
        entry.with_context(|| format!("no agent is `{id}` of well-known-bots.json"))?.dns = domains(bot)?;
    }
    Ok(())
}

/// What is behind the label that differs from address to address; a domain below another of them adds nothing.
fn domains(bot: &WellKnown) -> anyhow::Result<Vec<String>> {
    let wild = ['*', '@'];
    let mut all = BTreeSet::new();
    for mask in bot.verification.iter().filter(|recipe| recipe.kind == "dns").flat_map(|recipe| &recipe.masks) {
        let (host, domain) = mask.split_once('.').unwrap_or_default();
        let named = host.contains(wild) && !domain.contains(wild) && domain.contains('.');
        ensure!(named, "mask `{mask}` of `{}` names no domain", bot.id);
        all.insert(format!(".{}", domain.to_ascii_lowercase()));
    }
    ensure!(!all.is_empty(), "`{}` has no recipe of type dns", bot.id);
    let covered = |domain: &String| all.iter().any(|other| other != domain && domain.ends_with(other.as_str()));
    Ok(all.iter().filter(|domain| !covered(domain)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(masks: &[&str]) -> WellKnown {
        let recipe = Recipe { kind: "dns".to_owned(), masks: masks.iter().map(|mask| (*mask).to_owned()).collect() };
        WellKnown { id: "x".to_owned(), pattern: Accepted { accepted: Vec::new() }, verification: vec![recipe] }
    }

    #[test]
    fn a_mask_gives_the_domain_behind_its_first_label() {
        for (masks, expect) in [
            (&["crawl-***-***-***-***.googlebot.com", "geo-crawl-***.geo.googlebot.com"][..], &[".googlebot.com"][..]),
            (&["@.yandex.ru", "@.yandex.com", "@.Yandex.ru"][..], &[".yandex.com", ".yandex.ru"][..]),
        ] {
            assert_eq!(domains(&bot(masks)).unwrap(), expect);
        }
        for mask in ["ip.uptimerobot.com", "@.com", "@.*.example.com", "example", ""] {
            assert!(domains(&bot(&[mask])).is_err(), "{mask}");
        }
        assert!(domains(&bot(&[])).is_err());
    }
}
