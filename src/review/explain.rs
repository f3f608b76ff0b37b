//! Why a request was answered as it was, and what would have changed that: one line of the log, the configuration, and
//! arithmetic.
//!
//! The decision is made again by the code that made it, from what the line says. What it does not say (in lines without
//! `deckle.circumstances`: was it the first request? was it within a minute of the start? was a pass fresh?) is tried
//! both ways, and kept if it leads to what the line says was done. Points that earlier requests left behind may come from any signal of their group. Where such
//! a thing matters, what follows is a span and not a guess.

use serde::Serialize;
use serde_json::{Map, Value};

use super::outcome::Model;
use super::recount::{Between, Recount, Score};
use crate::action::{Action, Clamp, Settings};
use crate::suspicion::{Quota, ScoreSettings, SuspicionError};
use crate::visitor::{Category, Verification, VisitorError};

/// The rule of what follows from the score.
pub(super) const SCORED: &str = "suspicion.score.buckets";

/// The settings that an explanation needs.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'c> {
    /// Section `[suspicion.score]`.
    pub score: &'c ScoreSettings,
    /// Section `[action]`.
    pub action: &'c Settings,
    /// `rights.license.url` names a licence.
    pub licensed: bool,
}

/// Why a line cannot be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// No JSON object.
    #[error("this is no line of deckle's log")]
    Line(#[from] serde_json::Error),
    /// Another format.
    #[error("this line has a format that is not known (`v` is not 1)")]
    Version,
    /// `segment`, `gap`, `end` …
    #[error("this line tells of the log itself (`{kind}`), not of a response")]
    NoResponse {
        /// Its kind.
        kind: String,
    },
    /// Section `[suspicion.score]` does not hold.
    #[error(transparent)]
    Suspicion(#[from] SuspicionError),
    /// Section `[visitor]` does not hold.
    #[error(transparent)]
    Visitor(#[from] VisitorError),
}

/// One line of the log, under its own keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Record(Map<String, Value>);

impl Record {
    /// Reads a line about a response.
    ///
    /// # Errors
    /// [`ExplainError`] for any other line.
    pub fn read(line: &[u8]) -> Result<Self, ExplainError> {
        let record = Self(serde_json::from_slice(line)?);
        if record.number("v") != Some(1) {
            return Err(ExplainError::Version);
        }
        match record.text("deckle.kind") {
            "" | "hit" => Ok(record),
            kind => Err(ExplainError::NoResponse { kind: kind.to_owned() }),
        }
    }

    /// A text; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    /// Is it there, and true?
    pub fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of texts; empty if there is none.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// An action, if it is a known one.
    pub fn action(&self, key: &str) -> Option<Action> {
        serde_json::from_value(self.0.get(key)?.clone()).ok()
    }

    /// `code:points`, as groups and signals are written.
    pub(super) fn points(&self, key: &str) -> impl Iterator<Item = (&str, u8)> {
        self.list(key).into_iter().filter_map(|item| {
            let (code, points) = item.rsplit_once(':')?;
            Some((code, points.parse::<u8>().ok()?))
        })
    }

    pub(super) fn is_clamped(&self, clamp: Clamp) -> bool {
        self.list("deckle.clamps").contains(&clamp.code())
    }
}

/// Why a request was answered as it was.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// 1. Changes when a key does.
    pub schema_version: u32,
    /// The line of the log.
    pub record: Record,
    /// What the score is made of; absent without an assess stage.
    pub score: Option<Score>,
    /// What the configuration says under the rule that decided.
    pub setting: Option<Value>,
    /// The size of the quota that refused or was asked last.
    pub quota: Option<Quota>,
    /// What mode `enforce` does with such a request.
    pub enforced: Option<Between<Action>>,
    /// Why something else was done: `too_many_wait`, `no_challenge` or `way_out`.
    pub instead: Option<&'static str>,
    /// The configuration leads to what the line says.
    pub agrees: bool,
    /// What would have changed the outcome, the decisive ones first.
    pub changes: Vec<Change>,
    /// What to know about the numbers.
    pub notes: Vec<Note>,
}

/// What to know about the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// The log rounds the points of each group down; together that is so much.
    Rounded(i16),
    /// The points of the line make this score, and not the one that it gives.
    OtherScore(u8),
    /// Signals that this version does not know.
    UnknownSignals(Vec<String>),
    /// Parts of what is remembered were not to be had.
    Degraded(Vec<String>),
    /// The configuration leads to something else than the line says: it was another one.
    OtherConfiguration,
}

/// Something that could have been otherwise.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What, in words.
    pub what: String,
    /// As the configuration would say it.
    pub setting: Option<String>,
    /// The score then, where it follows from that.
    pub score: Option<Between<u8>>,
    /// What mode `enforce` would do then.
    pub action: Between<Action>,
    /// That is something else than now.
    pub decisive: bool,
}

/// Is this the line about the request of this id?
pub fn is_about(line: &[u8], id: &str) -> bool {
    Record::read(line).is_ok_and(|record| record.text("deckle.request.id") == id)
}

/// Explains one line.
///
/// # Errors
/// [`ExplainError`] for a line that is about no response, and for settings that do not hold.
pub fn explain(line: &[u8], rules: Rules<'_>) -> Result<Explanation, ExplainError> {
    let record = Record::read(line)?;
    let recount = Recount::of(&record, rules.score)?;
    // The addresses of a challenge are no pages, and follow rules of their own.
    let decided = !matches!(record.text("deckle.rule"), "" | "action.challenge");
    let model = recount.as_ref().filter(|_| decided).map(|recount| Model::new(&record, rules, recount)).transpose()?;
    let mut notes = recount.as_ref().map(|recount| recount.notes(&record)).unwrap_or_default();
    if model.as_ref().is_some_and(|model| !model.agrees) {
        notes.push(Note::OtherConfiguration);
    }
    Ok(Explanation {
        schema_version: 1,
        score: recount.as_ref().map(Recount::score),
        setting: setting(&record, rules),
        quota: quota(&record, rules.action),
        enforced: model.as_ref().map(|model| model.enforced),
        instead: model.as_ref().and_then(Model::instead),
        agrees: model.as_ref().is_none_or(|model| model.agrees),
        changes: model.as_ref().map(Model::changes).unwrap_or_default(),
        notes,
        record: record.clone(),
    })
}

/// What stands under the rule that decided.
fn setting(record: &Record, rules: Rules<'_>) -> Option<Value> {
    let rule = record.text("deckle.rule");
    if rule == SCORED {
        return serde_json::to_value(rules.score.buckets).ok();
    }
    let (policy, name) = (&rules.action.policy, rule.strip_prefix("action.policy.")?);
    let choice = match name.strip_prefix("agents.") {
        Some(agent) => policy.agents.get(agent)?,
        None => policy.categories.get(&Category::from_code(name)?)?,
    };
    serde_json::to_value(choice).ok()
}

fn quota(record: &Record, settings: &Settings) -> Option<Quota> {
    let name = record.text("deckle.limit.name");
    // Whoever is not proven has a quota of that name which is fixed.
    if name == "agent" && record.text("deckle.visitor.verification") != Verification::Verified.code() {
        return None;
    }
    let limits = serde_json::to_value(settings.limits).ok()?;
    serde_json::from_value(limits.get(name)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = r#""deckle.visitor.category":"browser","deckle.visitor.verification":"none",
        "deckle.route":"page","deckle.navigation":true"#;
    const SCRAPER: &str = r#""deckle.score":60,"deckle.points":["behaviour:28","headers:6","network:8","rate:18"],
        "deckle.signals":["article_run:8","cloud_address:8","no_accept_language:6","no_assets:20","page_soft:6"],
        "deckle.action":"limit","deckle.rule":"suspicion.score.buckets","deckle.limit.name":"limited",
        "deckle.limit.retry_after":20"#;

    fn robot(category: &str, agent: &str) -> String {
        format!(
            r#""deckle.visitor.category":"{category}","deckle.visitor.agent":"{agent}",
                "deckle.visitor.verification":"unverifiable","deckle.route":"page","deckle.navigation":true"#
        )
    }

    fn under(score: &ScoreSettings, who: &str, what: &str) -> Explanation {
        let line = format!("{{\"v\":1,\"deckle.request.id\":\"x\",{who},{what}}}");
        let rules = Rules { score, action: &Settings::default(), licensed: false };
        explain(line.as_bytes(), rules).unwrap()
    }

    fn explained(who: &str, what: &str) -> Explanation {
        under(&ScoreSettings::default(), who, what)
    }

    /// Score and action, each from the least to the most.
    fn then(of: &Explanation, what: &str) -> (Option<(u8, u8)>, &'static str, &'static str) {
        let change = of.changes.iter().find(|change| change.what == what);
        let change = change.unwrap_or_else(|| panic!("{what}: {:#?}", of.changes));
        (change.score.map(|s| (s.least, s.most)), change.action.least.code(), change.action.most.code())
    }

    #[test]
    fn a_line_with_more_points_than_there_are_is_explained() {
        let signals = vec!["\"claim_library:255\""; 300].join(",");
        let what = format!(
            r#""deckle.score":100,"deckle.points":["claim:100"],"deckle.signals":[{signals}],"deckle.action":"block""#
        );
        let score = explained(BROWSER, &what).score.unwrap();
        assert_eq!((score.groups[0].counted, score.groups[0].cut), (100, u16::MAX - 100));
    }

    #[test]
    fn one_claim_is_the_whole_score() {
        let of = explained(
            &robot("library", "curl"),
            r#""deckle.score":25,"deckle.points":["claim:25"],"deckle.signals":["claim_library:25"],
                "deckle.action":"tag","deckle.rule":"suspicion.score.buckets""#,
        );
        let score = of.score.as_ref().unwrap();
        assert_eq!((score.conduct, score.sum, score.bucket, score.leads_to), (25, 25, 1, Action::Tag));
        assert_eq!((score.range.least, score.range.most), (20, 39));
        assert!(of.agrees && of.notes.is_empty(), "{of:?}");
        assert_eq!(then(&of, "without `claim_library`"), (Some((0, 0)), "allow", "allow"));
        assert_eq!(then(&of, "with 6 points less"), (Some((19, 19)), "allow", "allow"));
        assert_eq!(then(&of, "with its prefix in `visitor.allow`"), (None, "allow", "allow"));
        assert!(!of.changes.iter().any(|change| change.what.contains("group")), "one signal is its group");
    }

    #[test]
    fn each_signal_is_taken_out_alone() {
        let of = explained(BROWSER, SCRAPER);
        assert!(of.agrees && of.instead.is_none());
        assert_eq!(then(&of, "without `no_assets`"), (Some((40, 40)), "slow", "slow"));
        assert_eq!(then(&of, "without `cloud_address`"), (Some((52, 52)), "slow", "slow"));
        // Whose the points of earlier requests are does not stand in the line; and at rate 0 missing assets count less.
        assert_eq!(then(&of, "without `page_soft`"), (Some((37, 54)), "tag", "slow"));
        assert_eq!(then(&of, "without group `rate`"), (Some((37, 37)), "tag", "tag"));
        assert_eq!(then(&of, "without group `behaviour`"), (Some((32, 32)), "tag", "tag"));
        let rate = of.score.as_ref().unwrap().groups.iter().find(|g| g.group.code() == "rate").unwrap();
        assert_eq!((rate.counted, rate.earlier, rate.cut, rate.cap), (18, 12, 0, 30));
        assert_eq!(of.quota.unwrap().burst.get(), 2);
        let decisive: Vec<bool> = of.changes.iter().map(|change| change.decisive).collect();
        assert!(decisive.is_sorted_by(|a, b| a >= b), "{decisive:?}");
    }

    #[test]
    fn odd_headers_count_what_conduct_counts() {
        let of = explained(
            &robot("library", "curl"),
            r#""deckle.score":50,"deckle.points":["claim:25","headers:25","network:8"],
            "deckle.signals":["claim_library:25","cloud_address:8","fetch_metadata_impossible:8",
            "h2c_upgrade:15","no_accept:8"],
            "deckle.action":"tag","deckle.rule":"suspicion.score.buckets","deckle.clamps":["first_request"]"#,
        );
        let score = of.score.as_ref().unwrap();
        assert_eq!((score.conduct, score.odd, score.odd_most, score.sum), (25, 33, 25, 50));
        let headers = &score.groups[1];
        assert_eq!((headers.group.code(), headers.counted, headers.cut, headers.earlier), ("headers", 25, 6, 0));
        assert_eq!(score.leads_to, Action::Slow);
        assert_eq!(then(&of, "at a later request, with the same score"), (None, "slow", "slow"));
        assert_eq!(then(&of, "without `h2c_upgrade`"), (Some((49, 49)), "tag", "tag"));
        // 22 without any conduct.
        assert_eq!(then(&of, "without `claim_library`"), (Some((22, 22)), "tag", "tag"));
    }

    #[test]
    fn what_is_hidden_behind_others_makes_a_span() {
        let of = explained(
            BROWSER,
            r#""deckle.score":21,"deckle.points":["behaviour:15","headers:6"],
                "deckle.signals":["no_accept_language:6","no_assets:15"],
            "deckle.action":"tag","deckle.rule":"suspicion.score.buckets""#,
        );
        assert_eq!(then(&of, "without `no_assets`"), (Some((6, 21)), "allow", "tag"));
        let behaviour = of.score.as_ref().unwrap().groups.last().unwrap();
        assert_eq!((behaviour.signals[0].weight, behaviour.signals[0].counts), (20, Some("capped")));
    }

    #[test]
    fn observing_is_what_holds_it_back() {
        let of = explained(
            &robot("headless", "HeadlessChrome"),
            r#""deckle.score":40,"deckle.points":["claim:40"],"deckle.signals":["claim_headless:40"],
                "deckle.action":"allow",
            "deckle.would_action":"slow","deckle.rule":"suspicion.score.buckets","deckle.clamps":["observe"]"#,
        );
        assert_eq!(
            (of.changes[0].what.as_str(), of.changes[0].setting.as_deref()),
            ("in mode `enforce`", Some("mode = \"enforce\""))
        );
        assert_eq!(then(&of, "in mode `enforce`"), (None, "slow", "slow"));
        assert_eq!(then(&of, "without `claim_headless`"), (Some((0, 0)), "allow", "allow"));
    }

    #[test]
    fn policies_and_quotas_decide_without_the_score() {
        let limited = r#""deckle.score":15,"deckle.points":["claim:15"],
            "deckle.signals":["claim_unverifiable:15"],"deckle.action":"limit","deckle.limit.name":"limited""#;
        let gpt =
            explained(&robot("ai-train", "GPTBot"), &format!(r#"{limited},"deckle.rule":"action.policy.ai-train""#));
        assert_eq!(gpt.setting, Some("license".into()));
        assert_eq!(then(&gpt, "by the score alone"), (None, "allow", "allow"));
        assert!(!gpt.changes.iter().any(|change| change.score.is_some() || change.what.contains("proven")), "{gpt:?}");
        let seo = explained(&robot("seo", "SemrushBot"), &format!(r#"{limited},"deckle.rule":"action.policy.seo""#));
        assert_eq!(then(&seo, "if it were proven to be what it says"), (None, "allow", "allow"));

        let hard = explained(
            BROWSER,
            r#""deckle.score":0,"deckle.action":"limit","deckle.rule":"action.limits.page_hard",
                "deckle.limit.name":"page_hard","deckle.limit.retry_after":1"#,
        );
        assert!(hard.agrees);
        assert_eq!(then(&hard, "1 s later, or without that quota"), (None, "allow", "allow"));
        assert_eq!(hard.quota.unwrap().every.to_string(), "500ms");
        let denied = explained(BROWSER, r#""deckle.score":30,"deckle.action":"block","deckle.rule":"visitor.deny""#);
        assert_eq!(then(&denied, "without its prefix in `visitor.deny`").1, "tag");
    }

    #[test]
    fn what_the_code_does_in_the_end_is_told() {
        let no_challenge = explained(
            BROWSER,
            r#""deckle.score":75,"deckle.points":["behaviour:50","rate:25"],"deckle.action":"limit",
                "deckle.rule":"suspicion.score.buckets",
            "deckle.limit.name":"limited","deckle.limit.retry_after":30"#,
        );
        assert_eq!((no_challenge.agrees, no_challenge.instead), (true, Some("no_challenge")));
        let too_many = explained(
            BROWSER,
            r#""deckle.score":45,"deckle.points":["behaviour:45"],"deckle.action":"tag",
                "deckle.rule":"suspicion.score.buckets""#,
        );
        assert_eq!(too_many.instead, Some("too_many_wait"));
    }

    #[test]
    fn another_configuration_and_rounding_are_noted() {
        let of = explained(BROWSER, &SCRAPER.replace("\"limit\"", "\"block\""));
        assert!(!of.agrees && of.notes.contains(&Note::OtherConfiguration));
        let of = explained(BROWSER, &SCRAPER.replace(":60", ":61"));
        assert_eq!(of.notes, [Note::Rounded(1)]);
        let of = explained(BROWSER, &SCRAPER.replace(":60", ":69"));
        assert_eq!(of.notes, [Note::OtherScore(60)]);
        let settings =
            ScoreSettings { signals: [(crate::suspicion::Signal::NoAssets, 30)].into(), ..ScoreSettings::default() };
        let of = under(&settings, BROWSER, SCRAPER);
        let behaviour = of.score.as_ref().unwrap().groups.iter().find(|g| g.group.code() == "behaviour").unwrap();
        assert_eq!(behaviour.signals[1].counts, Some("capped"));
    }

    #[test]
    fn lines_about_no_response_are_refused_and_odd_ones_are_read() {
        let (score, action) = (ScoreSettings::default(), Settings::default());
        let rules = Rules { score: &score, action: &action, licensed: true };
        let refused = |line: &str| explain(line.as_bytes(), rules).unwrap_err();
        assert!(matches!(refused("203.0.113.9 - - [x] \"GET /\""), ExplainError::Line(_)));
        assert!(matches!(refused("{\"v\":2}"), ExplainError::Version));
        assert!(matches!(refused("{\"v\":1,\"deckle.kind\":\"gap\"}"), ExplainError::NoResponse { .. }));
        let bare = explain(b"{\"v\":1}", rules).unwrap();
        assert!(bare.score.is_none() && bare.changes.is_empty() && bare.agrees);
        let odd = explained(
            BROWSER,
            r#""deckle.score":99999,"deckle.points":["claim:300","claim","x:1",7],"deckle.signals":["no_such:3",
                "no_assets:999","no_assets"],
            "deckle.rule":"action.policy.nobody","deckle.action":"no_such","deckle.clamps":[1]"#,
        );
        assert!(odd.notes.contains(&Note::UnknownSignals(vec!["no_such".to_owned()])), "{odd:?}");
        let broken = ScoreSettings { buckets: [0; 6], ..ScoreSettings::default() };
        assert!(explain(b"{\"v\":1}", Rules { score: &broken, ..rules }).is_err());
        assert!(
            is_about(b"{\"v\":1,\"deckle.request.id\":\"x\"}", "x") && !is_about(b"{\"v\":1,\"url.path\":\"x\"}", "x")
        );
    }
}
