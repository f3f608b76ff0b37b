//! The protocol, without a network: forward-confirmed reverse DNS over a trait.
//!
//! 1. The address is asked for its names; at most four are looked at.
//! 2. A name counts in lower case and without its final dot, if it is a label or more below one of the operator's
//!    domains. Whoever owns an address may give it any name, so the name alone proves nothing.
//! 3. Only such a name is looked up forward, at most 16 addresses of it are looked at, and the client's own must be
//!    among them. A second name of the address cannot vouch for the first.
//! 4. Anything else is no proof. Where a question that could have brought one got no answer, nothing is concluded.

use std::net::IpAddr;
use std::time::Duration;

/// Names of one address that are looked at.
const MAX_NAMES: usize = 4;
/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The operator's own zone names the address.
    Verified,
    /// It does not.
    Failed,
    /// The DNS did not say.
    Error,
}

/// Why a question brought no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// There are none.
    NoRecords,
    /// Nobody knows: no answer in time, or one that says so.
    Trouble,
}

/// What is asked of the DNS, for a resolver of one's own.
pub trait Resolve: Send + Sync + 'static {
    /// The names of an address.
    fn names(&self, ip: IpAddr) -> impl Future<Output = Result<Vec<String>, NoAnswer>> + Send;

    /// The addresses of a name, of the family of `like`.
    fn addresses(&self, name: &str, like: IpAddr) -> impl Future<Output = Result<Vec<IpAddr>, NoAnswer>> + Send;
}

/// Is `ip` below one of `suffixes`, each with a dot in front? Takes `limit` at most.
pub(super) async fn confirm<R: Resolve>(resolver: &R, ip: IpAddr, suffixes: &[Box<str>], limit: Duration) -> Verdict {
    let checked = tokio::time::timeout(limit, check(resolver, ip.to_canonical(), suffixes));
    checked.await.unwrap_or(Verdict::Error)
}

async fn check<R: Resolve>(resolver: &R, ip: IpAddr, suffixes: &[Box<str>]) -> Verdict {
    let names = match resolver.names(ip).await {
        Ok(names) => candidates(&names, suffixes),
        Err(NoAnswer::NoRecords) => return Verdict::Failed,
        Err(NoAnswer::Trouble) => return Verdict::Error,
    };
    let mut trouble = false;
    for name in &names {
        match resolver.addresses(name, ip).await {
            Ok(found) if found.iter().take(MAX_ADDRESSES).any(|address| *address == ip) => return Verdict::Verified,
            Ok(_) | Err(NoAnswer::NoRecords) => {}
            Err(NoAnswer::Trouble) => trouble = true,
        }
    }
    if trouble { Verdict::Error } else { Verdict::Failed }
}

/// The names that may prove something, each once.
fn candidates(names: &[String], suffixes: &[Box<str>]) -> Vec<String> {
    let mut out = Vec::new();
    for name in names.iter().take(MAX_NAMES) {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if is_host(&name) && suffixes.iter().any(|suffix| is_below(&name, suffix)) && !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// A label may hold any byte, a dot as well; in the name of a host it holds letters, digits and hyphens.
fn is_host(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Is `name` a label or more below `suffix`?
fn is_below(name: &str, suffix: &str) -> bool {
    let domain = suffix.trim_start_matches('.');
    let labels = name.strip_suffix(domain).filter(|_| !domain.is_empty());
    labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::NoAnswer::{NoRecords, Trouble};
    use super::Verdict::{Error, Failed, Verified};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(6);
    const GOOGLEBOT: &str = "66.249.66.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn suffixes() -> Vec<Box<str>> {
        vec![".googlebot.com".into(), ".search.msn.com".into()]
    }

    type Records = Result<Vec<&'static str>, NoAnswer>;

    /// A DNS of one address. Keeps what it was asked forward.
    struct Zone {
        names: Records,
        addresses: Vec<(&'static str, Records)>,
        asked: Mutex<Vec<String>>,
    }

    impl Zone {
        fn new(names: Records, addresses: &[(&'static str, Records)]) -> Self {
            Self { names, addresses: addresses.to_vec(), asked: Mutex::default() }
        }
    }

    impl Resolve for Zone {
        async fn names(&self, _: IpAddr) -> Result<Vec<String>, NoAnswer> {
            self.names.clone().map(|names| names.into_iter().map(str::to_owned).collect())
        }

        async fn addresses(&self, name: &str, _: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> {
            self.asked.lock().unwrap().push(name.to_owned());
            let records = self.addresses.iter().find(|(own, _)| *own == name).map(|(_, records)| records.clone());
            records.unwrap_or(Err(NoRecords)).map(|found| found.into_iter().map(ip).collect())
        }
    }

    struct Case {
        what: &'static str,
        ip: &'static str,
        zone: Zone,
        verdict: Verdict,
        /// What was looked up forward.
        asked: &'static [&'static str],
    }

    fn case(
        what: &'static str,
        zone: (Records, &[(&'static str, Records)]),
        verdict: Verdict,
        asked: &'static [&'static str],
    ) -> Case {
        Case { what, ip: GOOGLEBOT, zone: Zone::new(zone.0, zone.1), verdict, asked }
    }

    async fn run(cases: Vec<Case>) {
        for Case { what, ip: client, zone, verdict, asked } in cases {
            assert_eq!(confirm(&zone, ip(client), &suffixes(), LIMIT).await, verdict, "{what}");
            assert_eq!(*zone.asked.lock().unwrap(), asked, "{what}");
        }
    }

    #[tokio::test]
    async fn the_operators_zone_must_name_the_address() {
        let name = "crawl-66-249-66-1.googlebot.com";
        let own: Records = Ok(vec![GOOGLEBOT]);
        run(vec![
            case("plain", (Ok(vec![name]), &[(name, own.clone())]), Verified, &["crawl-66-249-66-1.googlebot.com"]),
            case(
                "mixed case and a final dot",
                (Ok(vec!["Crawl-66-249-66-1.GoogleBot.COM."]), &[(name, own.clone())]),
                Verified,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "one of several addresses",
                (Ok(vec![name]), &[(name, Ok(vec!["66.249.66.9", GOOGLEBOT]))]),
                Verified,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "a name beside those of others",
                (Ok(vec!["host.example", name]), &[(name, own.clone()), ("host.example", own.clone())]),
                Verified,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "the same name twice is asked for once",
                (Ok(vec![name, "CRAWL-66-249-66-1.googlebot.com."]), &[]),
                Failed,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "a neighbour's address",
                (Ok(vec![name]), &[(name, Ok(vec!["66.249.66.2"]))]),
                Failed,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case("a name that does not exist", (Ok(vec![name]), &[]), Failed, &["crawl-66-249-66-1.googlebot.com"]),
            case("no name", (Err(NoRecords), &[]), Failed, &[]),
            case("an empty list of names", (Ok(vec![]), &[]), Failed, &[]),
        ])
        .await;
    }

    /// One name fits and does not exist, the other exists and does not fit.
    #[tokio::test]
    async fn two_ptr_trick() {
        run(vec![
            case(
                "the name that fits first",
                (Ok(vec!["x.googlebot.com", "own.evil.example"]), &[("own.evil.example", Ok(vec![GOOGLEBOT]))]),
                Failed,
                &["x.googlebot.com"],
            ),
            case(
                "the name that fits last",
                (
                    Ok(vec!["own.evil.example", "crawl-66-249-66-2.googlebot.com"]),
                    &[
                        ("own.evil.example", Ok(vec![GOOGLEBOT])),
                        ("crawl-66-249-66-2.googlebot.com", Ok(vec!["66.249.66.2"])),
                    ],
                ),
                Failed,
                &["crawl-66-249-66-2.googlebot.com"],
            ),
        ])
        .await;
    }

    #[tokio::test]
    async fn a_suffix_ends_at_a_label() {
        for name in [
            "evilgooglebot.com",
            "x.evilgooglebot.com",
            "googlebot.com",
            ".googlebot.com",
            "googlebot.com.evil.example",
            "x.googlebot.com.evil.example",
            "x.googlebot.comm",
            "x.googlebot-com",
            // A dot within a label.
            "x\\.googlebot.com",
            "",
            ".",
        ] {
            let zone = Zone::new(Ok(vec![name]), &[(name, Ok(vec![GOOGLEBOT]))]);
            assert_eq!(confirm(&zone, ip(GOOGLEBOT), &suffixes(), LIMIT).await, Failed, "{name}");
            assert!(zone.asked.lock().unwrap().is_empty(), "{name} was looked up");
        }
        for (name, suffix, expect) in [
            ("a.googlebot.com", ".googlebot.com", true),
            ("a.b.googlebot.com", ".googlebot.com", true),
            ("a.googlebot.com", "googlebot.com", true),
            ("agooglebot.com", "googlebot.com", false),
            ("a.example", "", false),
            ("a.example", ".", false),
            ("a.", "", false),
        ] {
            assert_eq!(is_below(name, suffix), expect, "{name} {suffix}");
        }
    }

    #[tokio::test]
    async fn long_answers_are_cut() {
        let good = "crawl-66-249-66-1.googlebot.com";
        let own: Records = Ok(vec![GOOGLEBOT]);
        let names = |before: usize| {
            let mut names = vec!["a.example"; before];
            names.push(good);
            Ok(names)
        };
        let addresses = |before: usize| {
            let mut addresses = vec!["198.51.100.1"; before];
            addresses.push(GOOGLEBOT);
            Ok(addresses)
        };
        run(vec![
            case("the fourth name", (names(3), &[(good, own.clone())]), Verified, &["crawl-66-249-66-1.googlebot.com"]),
            case("the fifth name", (names(4), &[(good, own.clone())]), Failed, &[]),
            case("3,000 names", (names(3_000), &[(good, own)]), Failed, &[]),
            case(
                "the 16th address",
                (Ok(vec![good]), &[(good, addresses(15))]),
                Verified,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "the 17th address",
                (Ok(vec![good]), &[(good, addresses(16))]),
                Failed,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
        ])
        .await;
    }

    #[tokio::test]
    async fn trouble_is_no_proof_of_a_lie() {
        let good = "crawl-66-249-66-1.googlebot.com";
        run(vec![
            case("no answer about the names", (Err(Trouble), &[]), Error, &[]),
            case(
                "no answer about the name",
                (Ok(vec![good]), &[(good, Err(Trouble))]),
                Error,
                &["crawl-66-249-66-1.googlebot.com"],
            ),
            case(
                "one name without an answer, another that is wrong",
                (
                    Ok(vec!["x.googlebot.com", "y.googlebot.com"]),
                    &[("x.googlebot.com", Err(Trouble)), ("y.googlebot.com", Ok(vec!["66.249.66.2"]))],
                ),
                Error,
                &["x.googlebot.com", "y.googlebot.com"],
            ),
            case(
                "one name without an answer, another that proves it",
                (
                    Ok(vec!["x.googlebot.com", "y.googlebot.com"]),
                    &[("x.googlebot.com", Err(Trouble)), ("y.googlebot.com", Ok(vec![GOOGLEBOT]))],
                ),
                Verified,
                &["x.googlebot.com", "y.googlebot.com"],
            ),
            case(
                "trouble with a name that could not have proven it is not even seen",
                (Ok(vec!["own.evil.example"]), &[("own.evil.example", Err(Trouble))]),
                Failed,
                &[],
            ),
        ])
        .await;
    }

    #[tokio::test]
    async fn both_families_are_exact() {
        let name = "crawl-v6.googlebot.com";
        let six = "2001:4860:4801:10::1";
        let zone = |found: &'static str| Zone::new(Ok(vec![name]), &[(name, Ok(vec![found]))]);
        let verdict = |what, ip, found, verdict| Case {
            what,
            ip,
            zone: zone(found),
            verdict,
            asked: &["crawl-v6.googlebot.com"],
        };
        run(vec![
            verdict("IPv6", six, six, Verified),
            verdict("IPv6 in full", six, "2001:4860:4801:0010:0000:0000:0000:0001", Verified),
            verdict("the same network is not enough", six, "2001:4860:4801:10::2", Failed),
            verdict("IPv4 that is mapped", "::ffff:66.249.66.1", GOOGLEBOT, Verified),
            verdict("the other family", six, GOOGLEBOT, Failed),
        ])
        .await;
    }

    /// Answers after a while, if ever.
    struct Slow {
        names: Duration,
        addresses: Option<Duration>,
    }

    impl Resolve for Slow {
        async fn names(&self, _: IpAddr) -> Result<Vec<String>, NoAnswer> {
            tokio::time::sleep(self.names).await;
            Ok((0..4).map(|n| format!("n{n}.googlebot.com")).collect())
        }

        async fn addresses(&self, _: &str, _: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> {
            match self.addresses {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
            Err(NoRecords)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_ends_in_time() {
        let second = Duration::from_secs(1);
        for (names, addresses, verdict, took) in [
            (second, Some(second), Failed, 5 * second),
            (second, Some(2 * second), Error, LIMIT),
            (second, None, Error, LIMIT),
            (86_400 * second, None, Error, LIMIT),
        ] {
            let began = tokio::time::Instant::now();
            let slow = Slow { names, addresses };
            assert_eq!(confirm(&slow, ip(GOOGLEBOT), &suffixes(), LIMIT).await, verdict, "{names:?} {addresses:?}");
            let waited = began.elapsed();
            assert!((took..took + second / 10).contains(&waited), "{names:?} {addresses:?}: {waited:?}");
        }
    }
}
