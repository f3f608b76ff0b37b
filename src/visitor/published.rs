//! The address ranges that operators of robots publish.
//!
//! A list that rots must not make a search engine a liar: an address outside of a list counts against a robot only if the
//! list is fresh and complete. Inside of an old list an address proves something only where the network is the operator's
//! own: rented ones are somebody else's later.
//!
//! What an operator publishes now may take the place of what shipped, set by set ([`Ranges::with_published`]). Its age is
//! the time since it was fetched: a list that stands for years and is still served is right.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::VisitorError;
use super::agent::{Agent, Agents};
use super::prefixes::PrefixSet;
use super::verify::{Method, Proof, Verification, is_public};
use crate::unit::Span;

const DAY: u64 = 86_400;
/// Shorter prefixes than these are a mistake in a list: IPv4, IPv6.
const SHORTEST: (u8, u8) = (8, 19);

/// Crawlers of indexes that DNS alone proves.
#[cfg(any(feature = "verify-dns", feature = "web-bot-auth"))]
const INDEXERS: [&str; 3] = ["Applebot", "Baiduspider", "yandex.com/bots"];

/// Section `[visitor.ranges]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RangeSettings {
    /// A list of one's own in the form of `assets/ranges/operators.json`; unset: the one that ships with deckle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From this age on a list proves, but disproves nothing; 1 to 365 days.
    pub max_age: Span,
    /// How often `deckle proxy` asks the operators for their lists; `0s`: never, else from `1h` on. A layer never does.
    pub refresh: Span,
}

impl Default for RangeSettings {
    fn default() -> Self {
        Self { file: None, max_age: Span::seconds(30 * DAY), refresh: Span::seconds(DAY) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RangeFile {
    creation_time: String,
    sets: Vec<SetFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SetFile {
    name: String,
    /// Names in the agent table.
    agents: Vec<String>,
    /// Those of them that read for the index of a search engine.
    #[serde(default)]
    indexers: Vec<String>,
    /// Nobody of these asks from elsewhere.
    complete: bool,
    /// The network is the operator's own: what was once in the list is not somebody else's later.
    own_network: bool,
    /// Where the operator publishes it, in parts that belong together.
    #[serde(default)]
    #[cfg_attr(not(feature = "proxy"), expect(dead_code, reason = "only the proxy fetches"))]
    sources: Vec<String>,
    prefixes: Vec<IpNet>,
}

/// A list as operators publish it (draft-illyes-aipref-jafar-01); what else stands in it is not looked at.
#[cfg(feature = "proxy")]
#[derive(Deserialize)]
struct Published {
    prefixes: Vec<PublishedPrefix>,
}

#[cfg(feature = "proxy")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublishedPrefix {
    ipv4_prefix: Option<IpNet>,
    ipv6_prefix: Option<IpNet>,
}

/// The ranges of all operators.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    max_age: Duration,
    sets: Vec<Arc<Set>>,
    by_agent: Arc<HashMap<String, Listed>>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    set: usize,
    indexer: bool,
}

#[derive(Debug, Clone)]
struct Set {
    #[cfg(feature = "proxy")]
    name: String,
    #[cfg(feature = "proxy")]
    sources: Vec<String>,
    #[cfg(feature = "proxy")]
    length: usize,
    /// Seconds since 1970.
    made: u64,
    prefixes: Arc<PrefixSet>,
    complete: bool,
    own_network: bool,
}

impl Ranges {
    pub(super) fn new(settings: &RangeSettings) -> Result<Self, VisitorError> {
        let refuse = |message: String| VisitorError::Ranges { message };
        let age = settings.max_age.0;
        if age < Duration::from_secs(DAY) || age > Duration::from_secs(365 * DAY) {
            return Err(refuse(format!("`visitor.ranges.max_age` is `{}`; 1 to 365 days", settings.max_age)));
        }
        let every = settings.refresh.0;
        if !every.is_zero() && every < Duration::from_secs(3_600) {
            return Err(refuse(format!("`visitor.ranges.refresh` is `{}`; `0s`, or from `1h` on", settings.refresh)));
        }
        let text = match &settings.file {
            None => include_str!("../../assets/ranges/operators.json").to_owned(),
            Some(file) => std::fs::read_to_string(file).map_err(|e| refuse(format!("`{file}`: {e}")))?,
        };
        let name = settings.file.as_deref().unwrap_or("assets/ranges/operators.json");
        Self::parse(&text, age).map_err(|message| refuse(format!("`{name}`: {message}")))
    }

    /// The ranges of these settings, in a place where newer ones may be put.
    ///
    /// # Errors
    /// [`VisitorError::Ranges`]
    pub(crate) fn live(settings: &RangeSettings) -> Result<Arc<ArcSwap<Self>>, VisitorError> {
        let builtin = *settings == RangeSettings::default();
        Ok(Arc::new(ArcSwap::new(if builtin { Self::builtin() } else { Arc::new(Self::new(settings)?) })))
    }

    fn parse(text: &str, max_age: Duration) -> Result<Self, String> {
        let file: RangeFile = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let day: Date = file.creation_time.parse().map_err(|e| format!("`creationTime`: {e}"))?;
        let midnight = TimeZone::UTC.to_timestamp(day.into()).map_err(|e| e.to_string())?;
        let made = u64::try_from(midnight.as_second()).map_err(|_| "a time before 1970".to_owned())?;
        let (mut sets, mut by_agent) = (Vec::new(), HashMap::new());
        for set in file.sets {
            check_prefixes(&set.prefixes).map_err(|message| format!("set `{}` holds {message}", set.name))?;
            for name in &set.agents {
                if Agents::builtin().category(name).is_none() {
                    return Err(format!("set `{}` names `{name}`, which is not in the table of agents", set.name));
                }
                let listed = Listed { set: sets.len(), indexer: set.indexers.contains(name) };
                if by_agent.insert(name.clone(), listed).is_some_and(|other| other.set != sets.len()) {
                    return Err(format!("`{name}` is in two sets"));
                }
            }
            let prefixes = PrefixSet::new(&set.prefixes);
            sets.push(Arc::new(Set {
                #[cfg(feature = "proxy")]
                name: set.name,
                #[cfg(feature = "proxy")]
                sources: set.sources,
                #[cfg(feature = "proxy")]
                length: IpNet::aggregate(&set.prefixes).len(),
                made,
                prefixes: Arc::new(prefixes),
                complete: set.complete,
                own_network: set.own_network,
            }));
        }
        Ok(Self { max_age, sets, by_agent: Arc::new(by_agent) })
    }

    /// The ranges that ship with the crate, for logs that are read.
    #[cfg(feature = "proxy")]
    pub(crate) fn shipped() -> Arc<Self> {
        Self::builtin()
    }

    /// When the lists were made, in seconds since 1970.
    #[cfg(feature = "proxy")]
    pub(crate) fn made(&self) -> Option<u64> {
        self.sets.iter().map(|set| set.made).min()
    }

    /// The same as a date.
    #[cfg(feature = "proxy")]
    pub(crate) fn date(&self) -> Option<String> {
        let made = jiff::Timestamp::from_second(i64::try_from(self.made()?).ok()?).ok()?;
        Some(made.strftime("%Y-%m-%d").to_string())
    }

    /// What a log of the time `at` says about an agent, by its address or network. A request may be proven by the DNS yet; a
    /// log is judged by what there is. Proven and found out only where the whole network is in the list, or outside; a list
    /// of another time finds nobody out who is near what the operator has now.
    #[cfg(feature = "proxy")]
    pub(crate) fn look_up(&self, agent: &Agent, address: &str, at: Duration) -> Verification {
        const FAR: u64 = 180 * DAY;
        let listed = agent.name.as_deref().and_then(|name| self.by_agent.get(name));
        let set = listed.and_then(|listed| self.sets.get(listed.set));
        let net = address.parse().or_else(|_| address.parse::<IpAddr>().map(IpNet::from)).ok();
        let (Some(set), Some(net)) = (set, net) else { return Verification::Unverifiable };
        let near = at.as_secs().abs_diff(set.made) <= FAR;
        if set.prefixes.meets(net) {
            let whole = set.prefixes.covers(net) && (near || set.own_network);
            return if whole { Verification::Verified } else { Verification::Error };
        }
        let around = if net.addr().is_ipv4() { 12 } else { 32 };
        let around = IpNet::new(net.network(), around.min(net.prefix_len())).map_or(net, |around| around.trunc());
        let known = set.complete || set.own_network;
        let far_off = listed.is_some_and(|listed| listed.indexer) && !set.prefixes.meets(around);
        if known && is_public(net.network()) && (near || far_off) {
            Verification::Failed
        } else {
            Verification::Unverifiable
        }
    }

    /// The ranges that ship with the crate, for tables that are made without settings.
    fn builtin() -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<Ranges>> = LazyLock::new(|| {
            let empty = |_| Ranges { max_age: Duration::ZERO, sets: Vec::new(), by_agent: Arc::default() };
            // A unit test refuses a file that does not parse.
            Arc::new(Ranges::new(&RangeSettings::default()).unwrap_or_else(empty))
        });
        Arc::clone(&BUILTIN)
    }

    /// Checks what an agent claims at `now`, since 1970.
    pub(crate) fn verify(&self, agent: &Agent, ip: Option<IpAddr>, now: Duration) -> Proof {
        let Some(name) = agent.name.as_deref() else { return Proof::unproven(Verification::None) };
        let listed = self.by_agent.get(name).copied();
        let set = listed.and_then(|listed| self.sets.get(listed.set));
        let (Some(set), Some(ip), Some(listed)) = (set, ip, listed) else {
            return Proof::unproven(Verification::Unverifiable);
        };
        // Before the list was made: a clock that is wrong, so that the list is no better than an old one.
        let age = now.as_secs().checked_sub(set.made);
        let fresh = age.is_some_and(|age| Duration::from_secs(age) <= self.max_age);
        let inside = set.prefixes.holds(ip);
        let state = match inside {
            true if fresh || set.own_network => Verification::Verified,
            // The address of a proxy that nobody has named says nothing about who is behind it.
            false if !set.complete || !is_public(ip) => return Proof::unproven(Verification::Unverifiable),
            false if fresh => Verification::Failed,
            _ => Verification::Error,
        };
        let indexer = listed.indexer && state == Verification::Verified;
        let listed = inside && state == Verification::Error;
        Proof { state, method: Some(Method::Range), age: age.map(|age| (age / DAY) as u32), indexer, listed }
    }

    /// The sets that can be had anew, and where.
    #[cfg(feature = "proxy")]
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &[String])> {
        let named = self.sets.iter().filter(|set| !set.sources.is_empty());
        named.map(|set| (set.name.as_str(), set.sources.as_slice()))
    }

    /// The same with one set as its operator publishes it at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// What cannot be right about it: a list that is not in the form, is empty, holds what no operator has, or is less
    /// than a fifth or more than five times as long as the one before.
    #[cfg(feature = "proxy")]
    pub(crate) fn with_published(&self, name: &str, documents: &[bytes::Bytes], now: u64) -> Result<Self, String> {
        let at = self.sets.iter().position(|set| set.name == name).ok_or("there is no such set")?;
        let mut prefixes = Vec::new();
        for document in documents {
            let list: Published = serde_json::from_slice(document).map_err(|error| error.to_string())?;
            prefixes
                .extend(list.prefixes.into_iter().flat_map(|entry| [entry.ipv4_prefix, entry.ipv6_prefix]).flatten());
        }
        check_prefixes(&prefixes).map_err(|message| format!("it holds {message}"))?;
        let mut ranges = self.clone();
        if let Some(set) = ranges.sets.get_mut(at) {
            // Operators list neighbours one by one; what ships has them joined.
            let (before, after) = (set.length, IpNet::aggregate(&prefixes).len());
            if after * 5 < before || after > before * 5 {
                return Err(format!("{after} prefixes, where there were {before}"));
            }
            let prefixes = Arc::new(PrefixSet::new(&prefixes));
            *set = Arc::new(Set { length: after, made: now, prefixes, ..Set::clone(set) });
        }
        Ok(ranges)
    }

    /// Does this agent read for the index of a search engine, if it is what it says?
    #[cfg(any(feature = "verify-dns", feature = "web-bot-auth"))]
    pub(super) fn is_indexer(&self, name: &str) -> bool {
        INDEXERS.contains(&name) || self.by_agent.get(name).is_some_and(|listed| listed.indexer)
    }
}

/// # Errors
/// What no operator of robots has.
fn check_prefixes(prefixes: &[IpNet]) -> Result<(), String> {
    let short = |net: &&IpNet| net.prefix_len() < if net.network().is_ipv4() { SHORTEST.0 } else { SHORTEST.1 };
    if let Some(net) = prefixes.iter().find(short) {
        return Err(format!("`{net}`, which is too much of the net"));
    }
    if let Some(net) = prefixes.iter().find(|net| !is_public(net.network())) {
        return Err(format!("`{net}`, which is no public network"));
    }
    if prefixes.is_empty() { Err("no prefix".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "verify-dns")]
    use crate::visitor::dns::DnsAnswer;

    /// The day of the list that ships.
    const MADE: u64 = 1_787_356_800;

    fn check(ranges: &Ranges, agent: &str, ip: &str, day: u64) -> (Verification, Option<u32>) {
        let agent = Agents::builtin().classify(Some(agent));
        let proof = ranges.verify(&agent, ip.parse().ok(), Duration::from_secs(MADE + day * DAY));
        (proof.state, proof.age)
    }

    #[test]
    fn each_operator_is_known_by_its_addresses() {
        use Verification::{Error, Failed, None, Unverifiable, Verified};
        let ranges = Ranges::new(&RangeSettings::default()).unwrap();
        #[rustfmt::skip]
        let table = [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "66.249.66.1", 0, Verified),
            ("Googlebot-Image/1.0", "2001:4860:4801:10::1", 400, Verified),
            ("Googlebot/2.1", "::ffff:66.249.66.1", 0, Verified),
            // The list is of the usual crawlers only, and Google names DNS suffixes, too.
            ("Googlebot/2.1", "203.0.113.9", 0, Unverifiable),
            ("Mozilla/5.0 (compatible; bingbot/2.0)", "157.55.39.1", 400, Verified),
            // Rented addresses are somebody else's later.
            ("DuckDuckBot/1.1", "4.182.131.108", 30, Verified),
            ("DuckDuckBot/1.1", "4.182.131.108", 31, Error),
            ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "203.0.113.9", 0, Failed),
            ("GPTBot/1.2", "203.0.113.9", 30, Failed),
            ("GPTBot/1.2", "203.0.113.9", 31, Error),
            ("GPTBot/1.2", "2001:db8::1", 0, Failed),
            // A proxy that nobody has named.
            ("GPTBot/1.2", "10.0.0.1", 0, Unverifiable),
            ("GPTBot/1.2", "127.0.0.1", 0, Unverifiable),
            ("GPTBot/1.2", "64:ff9b::cb00:7109", 0, Unverifiable),
            ("DuckDuckBot/1.1", "66.249.66.1", 0, Failed),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "66.249.66.1", 0, None),
            ("CCBot/2.0", "66.249.66.1", 0, Unverifiable),
            ("GPTBot/1.2", "unix", 0, Unverifiable),
        ];
        for (agent, ip, day, state) in table {
            let (got, age) = check(&ranges, agent, ip, day);
            assert_eq!(got, state, "{agent} {ip} {day}");
            assert_eq!(age.is_some(), matches!(got, Verified | Failed | Error), "{agent} {ip}");
        }
    }

    #[test]
    #[cfg(feature = "verify-dns")]
    fn a_liar_is_who_neither_the_list_nor_the_dns_proves() {
        use Verification::{Error, Failed, Pending, Unverifiable, Verified};
        const EARLY: DnsAnswer = DnsAnswer::Pending { grace: true };
        const LATE: DnsAnswer = DnsAnswer::Pending { grace: false };
        let ranges = Ranges::new(&RangeSettings::default()).unwrap();
        #[rustfmt::skip]
        let table = [
            // Outside of a list that is not complete.
            ("Googlebot/2.1", "203.0.113.9", 400, DnsAnswer::Verified, Verified),
            ("Googlebot/2.1", "203.0.113.9", 400, DnsAnswer::Failed, Failed),
            ("Googlebot/2.1", "203.0.113.9", 400, DnsAnswer::Error, Error),
            ("Googlebot/2.1", "203.0.113.9", 400, EARLY, Pending),
            ("Googlebot/2.1", "203.0.113.9", 400, LATE, Unverifiable),
            // Outside of a list that is complete and fresh: it denies, and still waits for the DNS.
            ("GPTBot/1.2", "203.0.113.9", 0, DnsAnswer::Verified, Verified),
            ("GPTBot/1.2", "203.0.113.9", 0, DnsAnswer::Failed, Failed),
            ("GPTBot/1.2", "203.0.113.9", 0, DnsAnswer::Error, Error),
            ("GPTBot/1.2", "203.0.113.9", 0, EARLY, Pending),
            ("GPTBot/1.2", "203.0.113.9", 0, LATE, Unverifiable),
            // Inside of an old one of rented addresses.
            ("DuckDuckBot/1.1", "4.182.131.108", 31, DnsAnswer::Verified, Verified),
            ("DuckDuckBot/1.1", "4.182.131.108", 31, DnsAnswer::Failed, Error),
            // No list at all.
            ("Mozilla/5.0 (compatible; Applebot/0.3)", "203.0.113.9", 0, DnsAnswer::Verified, Verified),
            ("Mozilla/5.0 (compatible; Applebot/0.3)", "203.0.113.9", 0, DnsAnswer::Failed, Failed),
        ];
        for (agent, ip, day, answer, expect) in table {
            let (claim, now) = (Agents::builtin().classify(Some(agent)), Duration::from_secs(MADE + day * DAY));
            let proof = ranges.verify(&claim, ip.parse().ok(), now).with_dns(answer, true);
            assert_eq!(proof.state, expect, "{agent} {ip} {answer:?}");
            assert_eq!(proof.indexer, expect == Verified, "{agent} {ip} {answer:?}");
            let by_dns = matches!(expect, Verified | Failed | Error) && (expect, answer) != (Error, DnsAnswer::Failed);
            assert_eq!(proof.method == Some(Method::Dns), by_dns, "{agent} {ip} {answer:?}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_disproves_nothing() {
        let ranges = Ranges::new(&RangeSettings::default()).unwrap();
        let agent = Agents::builtin().classify(Some("GPTBot/1.2"));
        let proof = ranges.verify(&agent, "203.0.113.9".parse().ok(), Duration::ZERO);
        assert_eq!((proof.state, proof.age), (Verification::Error, None));
    }

    #[test]
    fn only_crawlers_of_an_index_are_indexers() {
        let ranges = Ranges::new(&RangeSettings::default()).unwrap();
        for (agent, ip, expect) in [
            ("Googlebot/2.1", "66.249.66.1", true),
            ("Googlebot/2.1", "203.0.113.9", false),
            // Its findings are shown to whoever asks Google's own tools for them.
            ("Mozilla/5.0 (compatible; Google-InspectionTool/1.0)", "66.249.66.1", false),
            ("GPTBot/1.2", "20.42.10.180", false),
        ] {
            let agent = Agents::builtin().classify(Some(agent));
            assert_eq!(ranges.verify(&agent, ip.parse().ok(), Duration::from_secs(MADE)).indexer, expect, "{agent:?}");
        }
    }

    #[test]
    fn every_agent_of_the_list_is_one_of_the_table() {
        let file: RangeFile = serde_json::from_str(include_str!("../../assets/ranges/operators.json")).unwrap();
        assert!(file.sets.len() >= 8);
        for set in &file.sets {
            assert!(set.agents.iter().all(|name| Agents::builtin().category(name).is_some()), "{}", set.name);
            assert!(set.indexers.iter().all(|name| set.agents.contains(name)), "{}", set.name);
        }
    }

    #[test]
    fn a_list_that_cannot_be_right_is_refused() {
        let with = |sets: &str| format!("{{\"creationTime\":\"2026-08-22\",\"sets\":[{sets}]}}");
        let set = |agents: &str, prefixes: &str| {
            format!(
                "{{\"name\":\"a\",\"agents\":[{agents}],\"complete\":true,\"ownNetwork\":false,\"prefixes\":[{prefixes}]}}"
            )
        };
        for (text, says) in [
            (with(&set("", "")), "no prefix"),
            (with(&set("", "\"0.0.0.0/0\"")), "0.0.0.0/0"),
            (with(&set("", "\"2000::/3\"")), "2000::/3"),
            (with(&set("", "\"10.0.0.0/8\"")), "no public network"),
            (with(&set("", "\"nowhere\"")), "line 1"),
            (with(&set("\"Gogglebot\"", "\"8.8.8.0/24\"")), "Gogglebot"),
            (with(&format!("{0},{0}", set("\"Googlebot\"", "\"8.8.8.0/24\""))), "two sets"),
            (with("{\"name\":\"a\",\"agents\":[],\"prefixes\":[\"8.8.8.0/24\"]}"), "complete"),
            (String::new(), "EOF"),
        ] {
            let error = Ranges::parse(&text, Duration::from_secs(DAY)).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let missing = RangeSettings { file: Some("/nowhere.json".to_owned()), ..RangeSettings::default() };
        assert!(Ranges::new(&missing).unwrap_err().to_string().contains("/nowhere.json"));
        let hasty = RangeSettings { max_age: Span::seconds(60), ..RangeSettings::default() };
        assert!(Ranges::new(&hasty).unwrap_err().to_string().contains("visitor.ranges.max_age"));
    }

    #[test]
    #[cfg(feature = "proxy")]
    fn what_an_operator_publishes_now_takes_the_place_of_what_shipped() {
        let shipped = Ranges::new(&RangeSettings::default()).unwrap();
        let later = MADE + 90 * DAY;
        let list = |prefixes: &[String]| {
            let entries: Vec<String> = prefixes.iter().map(|net| format!("{{\"ipv4Prefix\":\"{net}\"}}")).collect();
            bytes::Bytes::from(format!("{{\"creationTime\":\"2021\",\"prefixes\":[{}]}}", entries.join(",")))
        };
        let nets =
            |first: u32, count: u32| (first..first + count).map(|n| format!("198.51.{n}.0/25")).collect::<Vec<_>>();
        let now = shipped.with_published("openai", &[list(&nets(0, 50)), list(&nets(100, 50))], later).unwrap();
        for (ranges, ip, expect) in [
            (&shipped, "198.51.100.1", Verification::Error),
            (&now, "198.51.7.1", Verification::Verified),
            (&now, "198.51.100.1", Verification::Verified),
            (&now, "198.51.99.1", Verification::Failed),
        ] {
            assert_eq!(check(ranges, "GPTBot/1.2", ip, 91).0, expect, "{ip}");
        }
        assert_eq!(check(&now, "GPTBot/1.2", "198.51.7.1", 95).1, Some(5), "its age is that of the fetch");
        assert_eq!(
            check(&now, "DuckDuckBot/1.1", "203.0.113.9", 95).0,
            Verification::Error,
            "other sets are as they were"
        );
        let both = bytes::Bytes::from(
            "{\"prefixes\":[{\"ipv6Prefix\":\"2001:4860:4801::/48\",\"note\":1},{\"ipv4Prefix\":\"66.249.64.0/19\"},{}]}",
        );
        assert!(
            shipped
                .with_published("googlebot", &[both], later)
                .unwrap_err()
                .contains("2 prefixes, where there were 65")
        );
        for (documents, says) in [
            (vec![], "no prefix"),
            (vec![list(&[])], "no prefix"),
            (vec![list(&nets(0, 46))], "46 prefixes"),
            (
                vec![list(&(0..1_166).map(|n| format!("20.{}.{}.0/25", n / 256, n % 256)).collect::<Vec<_>>())],
                "1166 prefixes",
            ),
            (vec![list(&nets(0, 50)), list(&["0.0.0.0/0".to_owned()])], "0.0.0.0/0"),
            (vec![list(&nets(0, 50)), list(&["10.0.0.0/8".to_owned()])], "no public network"),
            (vec![list(&nets(0, 50)), list(&["x".to_owned()])], "line 1"),
            (vec![bytes::Bytes::from_static(b"<html>")], "line 1"),
        ] {
            let error = shipped.with_published("openai", &documents, later).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(shipped.with_published("nobody", &[], later).is_err());
        assert!(shipped.sources().all(|(_, sources)| sources.iter().all(|source| source.starts_with("https://"))));
        assert_eq!(shipped.sources().count(), 6);
    }
}
