//! robots.txt (RFC 9309): who may fetch what, and what may be done with it.
//!
//! Reads octets, keeps line numbers. As the mainstream parsers do: a byte order mark is skipped, any line end counts, a
//! line that is not known never ends a run of `User-agent` lines (so a group of preferences alone fuses with the next),
//! the groups of one token are merged, and percent signs are compared after normalisation (RFC 9309 §2.2.2).
//!
//! ```
//! use deckle::rights::robots::Robots;
//! let robots = Robots::parse(b"User-agent: *\nDisallow: /print/\nAllow: /print/help\n");
//! assert!(!robots.allows("FooBot", "/print/a"));
//! assert!(robots.allows("FooBot", "/print/help"));
//! ```

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::uses::{Pref, Use, Uses};

/// What is read of a file: parsers have to read so much (RFC 9309 §2.5).
pub const MAX_BYTES: usize = 500 * 1024;

/// A robots.txt as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotsText {
    /// The first 12 hex digits of the SHA-256 of the bytes.
    pub version: String,
    /// The bytes.
    pub text: Bytes,
}

impl RobotsText {
    /// Names a text.
    pub fn new(text: Bytes) -> Self {
        let version = HEXLOWER.encode(Sha256::digest(&text).get(..6).unwrap_or_default());
        Self { version, text }
    }
}

/// A parsed robots.txt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Robots {
    /// The groups in the order of the file.
    pub groups: Vec<Group>,
    /// The last group has no rule yet: a `User-agent` behind the file would join it.
    pub is_open: bool,
}

/// Rules for some agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Product tokens in lower case; `*` for everybody else.
    pub agents: Vec<String>,
    /// The names as they are written, those without a token, too.
    pub names: Vec<String>,
    /// `Allow` and `Disallow`.
    pub rules: Vec<Rule>,
    /// `Content-Usage` (draft-ietf-aipref-attach).
    pub usage: Vec<Usage>,
    /// Values of `Content-Signal` (contentsignals.org).
    pub signals: Vec<String>,
    /// `Crawl-delay` in seconds; not in RFC 9309, and no verdict follows from it.
    pub crawl_delay: Option<u32>,
    /// Line of the first `User-agent`.
    pub line: usize,
}

/// One `Allow` or `Disallow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `Allow`.
    pub allow: bool,
    /// The pattern, normalised.
    pub pattern: String,
    /// The pattern as it is written, but for octets beyond ASCII, which are encoded.
    pub raw: String,
    /// Where it stands.
    pub line: usize,
}

/// One `Content-Usage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The pattern, normalised; `/` if none was given.
    pub pattern: String,
    /// Labels and what they say. What does not parse says nothing.
    pub says: Vec<(Use, Pref)>,
    /// The dictionary as it is written.
    pub raw: String,
}

impl Robots {
    /// Reads a file. Never fails: what is not understood is no rule.
    pub fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut groups: Vec<Group> = Vec::new();
        let mut names_agents = false;
        for (index, line) in lines(bytes).enumerate() {
            let Some((key, value)) = key_value(line) else { continue };
            match key.to_ascii_lowercase().as_str() {
                "user-agent" => {
                    if !names_agents {
                        groups.push(Group { line: index + 1, ..Group::default() });
                        names_agents = true;
                    }
                    if let Some(group) = groups.last_mut() {
                        group.agents.extend(token(&value));
                        group.names.push(value);
                    }
                }
                key @ ("allow" | "disallow") => {
                    names_agents = false;
                    if let Some(group) = groups.last_mut().filter(|_| !value.is_empty()) {
                        let pattern = normalise(&value);
                        group.rules.push(Rule { allow: key == "allow", pattern, raw: value, line: index + 1 });
                    }
                }
                "crawl-delay" => {
                    if let Some(group) = groups.last_mut() {
                        let seconds = value.parse::<f64>().ok().filter(|s| (0.0..86_400.0).contains(s));
                        group.crawl_delay = group.crawl_delay.or(seconds.map(|seconds| seconds.ceil() as u32));
                    }
                }
                "content-usage" => {
                    if let Some(group) = groups.last_mut() {
                        group.usage.push(usage(&value));
                    }
                }
                "content-signal" => {
                    if let Some(group) = groups.last_mut() {
                        group.signals.push(value);
                    }
                }
                _ => {}
            }
        }
        Self { groups, is_open: names_agents }
    }

    /// May an agent fetch a path (with its query)? `agent` is a product token or a whole `User-Agent`.
    pub fn allows(&self, agent: &str, path: &str) -> bool {
        let path = normalise(path);
        if path == "/robots.txt" {
            return true;
        }
        let rules = self.groups_of(agent).flat_map(|group| &group.rules);
        let matching = rules.filter(|rule| matches(&rule.pattern, &path));
        // The longest in octets; of two as long the one that allows (RFC 9309 §2.2.2).
        matching.max_by_key(|rule| (rule.pattern.len(), rule.allow)).is_none_or(|rule| rule.allow)
    }

    /// Is a path forbidden however it is read? Parsers differ about percent signs (RFC 9309 §2.2.2 decodes what need not be
    /// encoded, Google's does not): where one stands, nothing is plain.
    pub fn plainly_forbids(&self, agent: &str, path: &str) -> bool {
        let plain = |text: &str| !text.contains('%');
        let all_plain = self.groups_of(agent).flat_map(|group| &group.rules).all(|rule| plain(&rule.raw));
        plain(path) && path.is_ascii() && all_plain && !self.allows(agent, path)
    }

    /// What `Content-Usage` says about a use: the longest pattern, and of two as long the stricter. Preferences say
    /// nothing about what may not be fetched.
    pub fn usage(&self, agent: &str, path: &str, of: Use) -> Pref {
        if !self.allows(agent, path) {
            return Pref::Unstated;
        }
        let path = normalise(path);
        let says = self.groups_of(agent).flat_map(|group| &group.usage).filter(|usage| matches(&usage.pattern, &path));
        // The longest pattern replaces all others, with what it leaves open, too.
        let Some(longest) = says.clone().map(|usage| usage.pattern.len()).max() else { return Pref::Unstated };
        says.filter(|usage| usage.pattern.len() == longest)
            .flat_map(|usage| &usage.says)
            .filter(|(label, _)| *label == of)
            .map(|(_, pref)| *pref)
            .max()
            .unwrap_or_default()
    }

    /// All that is said about a path: `Content-Usage`, and Content-Signal, which knows no paths. Nothing is said about what
    /// may not be fetched.
    pub fn says(&self, agent: &str, path: &str) -> Uses {
        let mut uses = Uses::default();
        if !self.allows(agent, path) {
            return uses;
        }
        for of in Use::ALL {
            uses.set(of, self.usage(agent, path, of));
        }
        let signals = self.groups_of(agent).flat_map(|group| &group.signals);
        for (of, pref) in signals.flat_map(|signal| super::signal::content_signal(signal)) {
            uses.set(of, uses.get(of).max(pref));
        }
        uses
    }

    /// `Crawl-delay` of an agent, in seconds.
    pub fn crawl_delay(&self, agent: &str) -> Option<u32> {
        self.groups_of(agent).find_map(|group| group.crawl_delay)
    }

    /// Does any group name this agent?
    pub fn names(&self, agent: &str) -> bool {
        let token = token(agent).unwrap_or_default();
        self.groups.iter().any(|group| group.agents.contains(&token))
    }

    /// The groups that hold for an agent: its own, else those of `*`.
    fn groups_of(&self, agent: &str) -> impl Iterator<Item = &Group> + Clone {
        let name = match token(agent) {
            Some(token) if self.groups.iter().any(|group| group.agents.contains(&token)) => token,
            _ => "*".to_owned(),
        };
        self.groups.iter().filter(move |group| group.agents.contains(&name))
    }
}

pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // CR, LF, or both.
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', text) else { return rest.take() };
        let (line, after) = text.split_at(end);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

/// The two sides of a line, without comment and white space.
pub(super) fn key_value(line: &[u8]) -> Option<(String, String)> {
    let line = line.split(|b| *b == b'#').next()?;
    let mut text = String::with_capacity(line.len());
    for byte in line.iter().filter(|b| **b != 0) {
        push_ascii(&mut text, *byte);
    }
    let (key, value) = text.split_once(':')?;
    Some((key.trim().to_owned(), value.trim().to_owned()))
}

/// The product token of a name: letters, `-` and `_` (RFC 9309 §2.2.1); `FooBot/2.1` is `foobot`.
pub(super) fn token(name: &str) -> Option<String> {
    let name = name.trim();
    if name == "*" || name.starts_with("* ") {
        return Some("*".to_owned());
    }
    let end = name.find(|c: char| !c.is_ascii_alphabetic() && c != '-' && c != '_').unwrap_or(name.len());
    name.get(..end).filter(|token| !token.is_empty()).map(str::to_ascii_lowercase)
}

fn push_ascii(out: &mut String, byte: u8) {
    if byte.is_ascii() {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!("%{byte:02X}"));
    }
}

/// Percent signs: unreserved characters decoded, all others written in capitals, what is not ASCII encoded.
pub fn normalise(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let encoded = (*byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let encoded = encoded.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let value = encoded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                    out.push(char::from(value));
                } else {
                    out.push_str(&format!("%{value:02X}"));
                }
                at += 3;
            }
            None => {
                push_ascii(&mut out, *byte);
                at += 1;
            }
        }
    }
    out
}

/// Does a pattern match a path? `*` stands for anything, `$` at the end for the end; both normalised. Linear in the
/// product of their lengths at worst.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, anchored) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && anchored {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(found) => rest = rest.get(found + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    !anchored || rest.is_empty()
}

/// `[path SP] dictionary`.
fn usage(value: &str) -> Usage {
    let (pattern, dictionary) = match value.split_once(|c: char| c.is_ascii_whitespace()) {
        Some((path, rest)) if path.starts_with('/') => (normalise(path), rest),
        _ => ("/".to_owned(), value),
    };
    let dictionary = dictionary.trim();
    Usage { pattern, says: super::signal::content_usage(dictionary), raw: dictionary.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const TABLE: [(&str, &str, &str, &str, bool); 37] = [
        ("1", "user-agent: FooBot\ndisallow: /", "foobot/2.1", "/x", false),
        ("2", "user-agent: *\nallow: /p\ndisallow: /", "FooBot", "/page", true),
        ("3", "user-agent: *\nallow: /folder\ndisallow: /folder", "FooBot", "/folder/p", true),
        ("4", "user-agent: *\ndisallow: /*.php$", "FooBot", "/a.php?x", true),
        ("4b", "user-agent: *\ndisallow: /*.php$", "FooBot", "/a.php", false),
        ("5", "user-agent: *\ndisallow: /foo/bar/ツ", "FooBot", "/foo/bar/%E3%83%84", false),
        ("5b", "user-agent: *\ndisallow: /foo/bar/%E3%83%84", "FooBot", "/foo/bar/ツ", false),
        ("6", "user-agent: *\ndisallow: /a%3cd", "FooBot", "/a%3Cd", false),
        ("6 reversed", "user-agent: *\ndisallow: /a%3Cd", "FooBot", "/a%3cd", false),
        ("6b", "user-agent: *\ndisallow: /%7Ejoe", "FooBot", "/~joe", false),
        ("6c", "user-agent: *\ndisallow: /", "FooBot", "/robots.txt", true),
        ("6d", "\u{FEFF}user-agent: FooBot\ndisallow: /", "FooBot", "/x", false),
        ("6e", "user-agent: FooBot/1.0\ndisallow: /", "FooBot", "/x", false),
        ("6f", "user-agent: foo\nContent-Usage: train-ai=n\nuser-agent: bar\ndisallow: /", "foo", "/x", false),
        ("7", "user-agent: foo\n\nunicorn: 1\ndisallow: /", "foo", "/x", false),
        ("8", "user-agent: *\ndisallow: /\n\nuser-agent: GPTBot\n", "GPTBot", "/x", true),
        ("9", "user-agent: a\ndisallow: /x\n\nuser-agent: b\ndisallow: /\n\nuser-agent: a\ndisallow: /y", "a", "/y", false),
        // google/robotstxt, robots_test.cc, by the names of its cases.
        ("LineSyntax_Line", "foo: FooBot\nbar: /\n", "FooBot", "/x/y", true),
        ("LineSyntax_Groups", "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\ndisallow: /\nallow: /y/\n\n\nallow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\nallow: /z/\ndisallow: /\n", "FooBot", "/x/b", true),
        ("LineSyntax_Groups 2", "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\ndisallow: /\nallow: /y/\n\n\nallow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\nallow: /z/\ndisallow: /\n", "FooBot", "/foo/bar/", false),
        ("LineSyntax_Groups 3", "user-agent: BarBot\ndisallow: /\nallow: /y/\n\nallow: /w/\n", "BarBot", "/w/a", true),
        ("Groups_OtherRules", "User-agent: BarBot\nSitemap: https://foo.bar/sitemap\nUser-agent: *\nDisallow: /\n", "BarBot", "/", false),
        ("REPLineNamesCaseInsensitive", "USER-AGENT: FooBot\nALLOW: /x/\nDISALLOW: /\n", "FooBot", "/x/y", true),
        ("UserAgentValueCaseInsensitive", "User-Agent: FOO BAR\nAllow: /x/\nDisallow: /\n", "foo", "/a/b", false),
        ("AcceptUserAgentUpToFirstSpace", "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /\n", "Foo", "/x/y", true),
        ("GlobalGroups_Secondary", "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n", "FooBot", "/x", false),
        ("AllowDisallow_Value_CaseSensitive", "user-agent: FooBot\ndisallow: /X/\n", "FooBot", "/x/y", true),
        ("LongestMatch", "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/\n", "FooBot", "/x/page.html", false),
        ("LongestMatch 2", "user-agent: FooBot\nallow: /x/page.html\ndisallow: /x/\n", "FooBot", "/x/page.html", true),
        ("LongestMatch empty", "user-agent: FooBot\ndisallow: \nallow: \n", "FooBot", "/x/page.html", true),
        ("LongestMatch wildcard", "user-agent: FooBot\ndisallow: *.html\nallow: /x\n", "FooBot", "/x.html", false),
        ("Encoding", "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar?qux=taz&baz=http://foo.bar?tar&par\n", "FooBot", "/foo/bar?qux=taz&baz=http://foo.bar?tar&par", true),
        ("SpecialCharacters", "User-agent: FooBot\nDisallow: /foo/bar/quz\nAllow: /foo/*/qux\n", "FooBot", "/foo/quz", true),
        ("SpecialCharacters end", "User-agent: FooBot\nDisallow: /foo/bar$\nAllow: /foo/bar/qux\n", "FooBot", "/foo/bar", false),
        ("SpecialCharacters comment", "User-agent: FooBot\n# Disallow: /\nDisallow: /foo/quz#qux\nAllow: /\n", "FooBot", "/foo/quz", false),
        ("NumberOfLinesAreTooLong cr", "User-agent: foo\rAllow: /foo\rDisallow: /", "foo", "/bar", false),
        ("NUL", "User-agent: foo\nDis\0allow: /\0", "foo", "/bar", false),
    ];

    #[test]
    fn what_can_be_read_in_two_ways_is_not_plainly_forbidden() {
        for (file, path, expect) in [
            ("user-agent: *\ndisallow: /a", "/a/b?c", true),
            ("user-agent: *\ndisallow: /a", "/b", false),
            ("user-agent: *\ndisallow: /a", "/a%20b", false),
            ("user-agent: *\ndisallow: /%61", "/a", false),
            ("user-agent: *\ndisallow: /\nallow: /%7Ea", "/b", false),
            ("user-agent: other\ndisallow: /%61\n\nuser-agent: *\ndisallow: /a", "/a", true),
        ] {
            assert_eq!(Robots::parse(file.as_bytes()).plainly_forbids("FooBot", path), expect, "{file} {path}");
        }
    }

    #[test]
    fn paths_are_allowed_or_not() {
        for (name, file, agent, path, allowed) in TABLE {
            assert_eq!(Robots::parse(file.as_bytes()).allows(agent, path), allowed, "{name}");
        }
    }

    #[test]
    fn usage_is_the_longest_match_and_the_stricter() {
        let usage = |file: &str, path: &str| Robots::parse(file.as_bytes()).usage("x", path, Use::AiTrain);
        let ten = "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /ai-ok/ train-ai=y\nDisallow: /never/";
        assert_eq!(usage(ten, "/ai-ok/t"), Pref::Allow);
        assert_eq!(usage(ten, "/t"), Pref::Deny);
        assert_eq!(usage(ten, "/never/x"), Pref::Unstated);
        assert_eq!(
            usage("User-agent: *\nContent-Usage: /a train-ai=y\nContent-Usage: /a train-ai=n", "/a"),
            Pref::Deny
        );
        assert_eq!(usage("User-agent: *\nContent-Usage: Train-AI=n", "/a"), Pref::Unstated);
        assert_eq!(usage("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /a search=y", "/a"), Pref::Unstated);
    }

    #[test]
    fn all_that_is_said_about_a_path() {
        let file = "User-agent: *\nContent-Usage: /press/ search=y, train-ai=y\nContent-Signal: ai-train=no, ai-input=yes\n\
            Disallow: /never/\n\nUser-agent: other\nContent-Signal: search=no\nAllow: /";
        let robots = Robots::parse(file.as_bytes());
        let said = Uses { ai_input: Pref::Allow, ai_train: Pref::Deny, ..Uses::default() };
        assert_eq!(robots.says("*", "/a.jpg"), said);
        assert_eq!(robots.says("*", "/press/a.jpg"), Uses { search: Pref::Allow, ..said });
        assert_eq!(robots.says("*", "/never/a.jpg"), Uses::default());
        assert_eq!(robots.says("other", "/a.jpg"), Uses { search: Pref::Deny, ..Uses::default() });
    }

    #[test]
    fn patterns_match() {
        for (pattern, path) in [
            ("/", "/x"),
            ("/fish*", "/fishheads"),
            ("/*.php", "/a.php?x"),
            ("/a*b*c$", "/axbxc"),
            ("*", "/"),
            ("/$", "/"),
            ("/a*$", "/ab"),
            ("", "/x"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("/fish", "/Fish"), ("/a*b$", "/abc"), ("/$", "/x"), ("/a*bb$", "/ab"), ("x", "/x")] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        let hostile = "/*a".repeat(1_000);
        assert!(!matches(&hostile, &format!("/{}", "a".repeat(4_000))));
    }

    #[test]
    fn hostile_files_are_read_and_bounded() {
        for bytes in [
            vec![b'a'; 2 << 20],
            b"\0".repeat(1 << 20),
            b"user-agent:".to_vec(),
            b":\n:\n#".to_vec(),
            b"\xFF\xFE\n\xEF".to_vec(),
        ] {
            let robots = Robots::parse(&bytes);
            assert!(robots.allows("x", "/"));
        }
        let many = b"user-agent: a\ndisallow: /x\n".repeat(100_000);
        assert!(Robots::parse(&many).groups.len() <= MAX_BYTES / 26 + 1);
        assert_eq!(normalise("/%zz%4%%+5"), "/%zz%4%%+5");
        let latin = Robots::parse(
            b"user-agent: MJ12bot\nuser-agent: 360Spider\ndisallow: /caf\xE9\nContent-Signal: ai-train=no",
        );
        let group = &latin.groups[0];
        assert_eq!(
            (group.rules[0].raw.as_str(), group.names.as_slice()),
            ("/caf%E9", &["MJ12bot".to_owned(), "360Spider".to_owned()][..])
        );
        assert_eq!(
            (group.agents.as_slice(), group.signals.as_slice()),
            (&["mj".to_owned()][..], &["ai-train=no".to_owned()][..])
        );
    }
}
