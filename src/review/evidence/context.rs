//! What surrounds the lines: what the visitor did in sum, its marks, and what the site said at the time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::integrity::Kind;

/// A robot may act on a copy of robots.txt that is a day old (RFC 9309 §2.4).
const COPY_MS: i64 = 86_400_000;
/// Values and rows that a summary names.
const MAX_NAMED: usize = 50;
const MAX_ROWS: usize = 500;

/// What the visitor did.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) lines: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) bytes: u64,
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) actions: BTreeMap<String, u64>,
    /// User agents, addresses, names: by label.
    pub(super) named: BTreeMap<&'static str, BTreeSet<String>>,
    /// Time, method, path, status, bytes, action.
    pub(super) rows: Vec<[String; 6]>,
    pub(super) marks: String,
}

/// A value as text.
fn text(fields: &Value, key: &str) -> String {
    match fields.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<&str>>().join(" "),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// A cell that a spreadsheet takes for text (RFC 4180; what could be a formula gets a quote in front).
pub(super) fn cell(value: &str) -> String {
    let guard = if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", value.replace('"', "\"\""))
}

impl Facts {
    pub(super) fn add(&mut self, fields: &Value) {
        self.lines += 1;
        let time = text(fields, "time");
        self.first = Some(self.first.take().map_or_else(|| time.clone(), |first| first.min(time.clone())));
        self.last = self.last.take().max(Some(time.clone()));
        let bytes = fields.get("http.response.body.size").and_then(Value::as_u64).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(bytes);
        let (status, action) = (text(fields, "http.response.status_code"), text(fields, "deckle.action"));
        *self.statuses.entry(status.clone()).or_default() += 1;
        *self.actions.entry(action.clone()).or_default() += 1;
        for (label, key) in [
            ("User-Agent", "user_agent.original"),
            ("Address", "client.address"),
            ("Agent", "deckle.visitor.agent"),
            ("Category", "deckle.visitor.category"),
            ("Verification", "deckle.visitor.verification"),
        ] {
            let (value, known) = (text(fields, key), self.named.entry(label).or_default());
            if !value.is_empty() && known.len() < MAX_NAMED {
                known.insert(value);
            }
        }
        if self.rows.len() < MAX_ROWS {
            let (method, path) = (text(fields, "http.request.method"), text(fields, "url.path"));
            self.rows.push([time, method, path, status, bytes.to_string(), action]);
        }
        self.add_mark(fields);
    }

    fn add_mark(&mut self, fields: &Value) {
        const COLUMNS: [&str; 8] = [
            "time",
            "deckle.seq",
            "deckle.request.id",
            "url.path",
            "deckle.mark.id",
            "deckle.mark.level",
            "deckle.mark.carriers",
            "deckle.mark.plan",
        ];
        if self.marks.is_empty() {
            self.marks = COLUMNS.join(",") + "\r\n";
        }
        if fields.get("deckle.mark.id").is_some() {
            let cells: Vec<String> = COLUMNS.iter().map(|key| cell(&text(fields, key))).collect();
            self.marks.push_str(&(cells.join(",") + "\r\n"));
        }
    }
}

/// A version that came into force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    /// The host, or the instance.
    place: String,
    at: i64,
    time: String,
    version: String,
}

/// Versions of robots.txt and of the policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    robots: Versions,
    policy: Versions,
}

#[derive(Debug, Clone, Default)]
struct Versions {
    changes: BTreeSet<Change>,
    texts: BTreeMap<String, Vec<u8>>,
}

/// A version, and when it was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) version: String,
    pub(super) place: String,
    pub(super) from: String,
    /// Empty: it still is.
    pub(super) until: String,
    pub(super) text: Option<Vec<u8>>,
}

impl Context {
    /// A `robots` or `policy` line.
    pub(super) fn add(&mut self, kind: Kind, line: &[u8]) {
        let Ok(fields) = serde_json::from_slice::<Value>(line) else { return };
        let given = fields.get("text").and_then(Value::as_str);
        if kind == Kind::Robots {
            let decoded = given.and_then(|text| BASE64.decode(text.as_bytes()).ok());
            self.robots.add(&fields, "server.address", "deckle.robots.version", decoded);
        } else {
            let toml = given.map(|text| text.as_bytes().to_vec());
            self.policy.add(&fields, "deckle.instance", "policy.digest", toml);
        }
    }

    /// `robots/` beside the log: it knows versions of which the segments are gone.
    pub(super) fn add_history(&mut self, log_dir: &Path) {
        let dir = log_dir.join("robots");
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "ndjson") {
                continue;
            }
            let lines = std::fs::read_to_string(&path).unwrap_or_default();
            for fields in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                let version = text(&fields, "version");
                let bytes = is_name(&version).then(|| std::fs::read(dir.join(format!("{version}.txt"))).ok()).flatten();
                self.robots.add(&fields, "host", "version", bytes);
            }
        }
    }

    pub(super) fn robots(&self, facts: &Facts) -> Vec<Period> {
        self.robots.within(facts)
    }

    pub(super) fn policy(&self, facts: &Facts) -> Vec<Period> {
        self.policy.within(facts)
    }
}

impl Versions {
    fn add(&mut self, fields: &Value, place: &str, version: &str, given: Option<Vec<u8>>) {
        let (time, version) = (text(fields, "time"), text(fields, version));
        let Some(at) = millis(&time).filter(|_| is_name(&version)) else { return };
        if let Some(bytes) = given {
            self.texts.insert(version.clone(), bytes);
        }
        self.changes.insert(Change { place: text(fields, place), at, time, version });
    }

    /// What was in force while the visitor was there, and a day before.
    fn within(&self, facts: &Facts) -> Vec<Period> {
        let at = |time: &Option<String>| time.as_deref().and_then(millis);
        let (Some(first), Some(last)) = (at(&facts.first), at(&facts.last)) else { return Vec::new() };
        let mut changes: Vec<&Change> = self.changes.iter().collect();
        changes.dedup_by(|next, before| next.place == before.place && next.version == before.version);
        let mut periods = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let next = changes.get(index + 1).filter(|next| next.place == change.place);
            if change.at <= last && next.is_none_or(|next| next.at >= first.saturating_sub(COPY_MS)) {
                periods.push(Period {
                    version: change.version.clone(),
                    place: change.place.clone(),
                    from: change.time.clone(),
                    until: next.map(|next| next.time.clone()).unwrap_or_default(),
                    text: self.texts.get(&change.version).cloned(),
                });
            }
        }
        periods
    }
}

/// Digits of a digest: they become the name of a file.
fn is_name(version: &str) -> bool {
    (8..=64).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_hexdigit())
}

fn millis(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(cell("=1+\"a\""), "\"'=1+\"\"a\"\"\"");
        assert_eq!(cell("/a,b"), "\"/a,b\"");
    }

    #[test]
    fn only_versions_of_the_time_are_kept() {
        let mut context = Context::default();
        for (day, version) in [(1, "aaaaaaaaaaaa"), (5, "bbbbbbbbbbbb"), (9, "cccccccccccc"), (20, "dddddddddddd")] {
            let line = format!(
                "{{\"time\":\"2026-11-{day:02}T00:00:00.000Z\",\"deckle.kind\":\"robots\",\"server.address\":\"h\",\
                 \"deckle.robots.version\":\"{version}\",\"text\":\"{}\"}}\n",
                BASE64.encode(version.as_bytes())
            );
            context.add(Kind::Robots, line.as_bytes());
        }
        let facts = Facts {
            first: Some("2026-11-09T12:00:00.000Z".to_owned()),
            last: Some("2026-11-10T00:00:00.000Z".to_owned()),
            ..Facts::default()
        };
        let periods = context.robots(&facts);
        let versions: Vec<&str> = periods.iter().map(|period| period.version.as_str()).collect();
        // The second ended half a day before: a copy of it was still good.
        assert_eq!(versions, ["bbbbbbbbbbbb", "cccccccccccc"]);
        assert_eq!(periods[1].until, "2026-11-20T00:00:00.000Z");
        assert_eq!(periods[0].text.as_deref(), Some(&b"bbbbbbbbbbbb"[..]));
    }
}
