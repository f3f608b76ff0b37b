//! Category × score × mode → action: pure, total, no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Action, ActionError, Clamp, Clamps, Mode, Settings};
use crate::suspicion::{Assessment, Group, Signal};
use crate::visitor::{self, Agent, Agents, Category, RouteClass, Standing, Verification};

/// What the buckets of the score lead to.
const BUCKETS: [Action; 7] =
    [Action::Allow, Action::Tag, Action::Slow, Action::Limit, Action::Challenge, Action::Block, Action::Block];
/// Points of traps from which a pass does not speak for its holder.
const TRAPPED: f32 = 60.0;
/// A claim from here on is acted on at the first request.
const CLEAR_CLAIM: u8 = 40;

/// What a category gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Choice {
    /// One word: `allow`, `limit`, `card`, `license`, `block` or `score`. Whoever is not what it says is blocked.
    Word(Word),
    /// A word for each state of the claim.
    Checked(Checked),
}

/// A word for each state of the claim, and the strongest action that the score may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// What an agent gets that is what it says.
    #[serde(default = "allow")]
    pub verified: Word,
    /// What an agent gets whose claim cannot be checked.
    pub unverified: Word,
    /// What an agent gets that is not what it says.
    #[serde(default = "block")]
    pub failed: Word,
    /// Nothing stronger follows from the score.
    #[serde(default = "no_cap")]
    pub cap: Action,
}

fn allow() -> Word {
    Word::Allow
}

fn block() -> Word {
    Word::Block
}

fn no_cap() -> Action {
    Action::Block
}

/// By hand, so that a mistake in the table is named and not "matches no variant".
impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Choice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "one of `allow`, `limit`, `card`, `license`, `block`, `score`, or `{ verified = …, unverified = …, failed = …, cap = … }`",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Choice, E> {
                Word::deserialize(text.into_deserializer()).map(Choice::Word)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Choice, A::Error> {
                Checked::deserialize(MapAccessDeserializer::new(map)).map(Choice::Checked)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One word of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Word {
    /// Always let through.
    Allow,
    /// A trickle of pages.
    Limit,
    /// The head of the page alone; else as `limit`.
    Card,
    /// 402 with the licence, where `rights.license.url` names one; else as `limit`.
    License,
    /// Refused.
    Block,
    /// As the score says.
    Score,
}

impl Choice {
    /// What an agent gets whose claim is so far proven. Whoever lies is blocked unless that is said otherwise.
    pub(super) fn word(self, verification: Verification) -> Word {
        match (self, verification) {
            (Self::Word(_), Verification::Failed) => Word::Block,
            (Self::Word(word), _) => word,
            (Self::Checked(checked), Verification::Verified) => checked.verified,
            (Self::Checked(checked), Verification::Failed) => checked.failed,
            (Self::Checked(checked), _) => checked.unverified,
        }
    }

    /// Is `word` among what it may lead to?
    fn names(self, word: Word) -> bool {
        match self {
            Self::Word(own) => own == word,
            Self::Checked(c) => [c.verified, c.unverified, c.failed].contains(&word),
        }
    }

    pub(super) fn cap(self) -> Action {
        match self {
            Self::Word(_) => Action::Block,
            Self::Checked(checked) => checked.cap,
        }
    }
}

/// The defaults: declared crawlers that index are never worse off than a trickle, collectors get one (or the
/// address of the licence), scanners nothing.
fn defaults() -> BTreeMap<Category, Choice> {
    let checked = |unverified, failed, cap| Choice::Checked(Checked { verified: Word::Allow, unverified, failed, cap });
    Category::ALL
        .into_iter()
        .map(|category| {
            let choice = match category {
                Category::Search | Category::AiSearch | Category::AiUser => {
                    checked(Word::Score, Word::Block, Action::Limit)
                }
                Category::Preview => checked(Word::Card, Word::Card, Action::Limit),
                Category::Feed | Category::Monitor => checked(Word::Score, Word::Limit, Action::Limit),
                Category::Reader => checked(Word::Score, Word::Score, Action::Slow),
                // What it is shown is kept as the page of that day.
                Category::Archive => checked(Word::Score, Word::Block, Action::Limit),
                Category::Seo | Category::Advertising | Category::Academic => {
                    checked(Word::Limit, Word::Block, Action::Block)
                }
                Category::AiTrain => Choice::Word(Word::License),
                Category::Scanner => Choice::Word(Word::Block),
                _ => Choice::Word(Word::Score),
            };
            (category, choice)
        })
        .collect()
}

/// Section `[action.policy]`: a choice for each category, and under `agents` for single agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By category.
    pub categories: BTreeMap<Category, Choice>,
    /// By name of the agent; stronger than its category.
    pub agents: BTreeMap<String, Choice>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { categories: defaults(), agents: BTreeMap::new() }
    }
}

impl Policy {
    pub(super) fn of(&self, agent: &Agent) -> (Choice, Rule) {
        let named = agent.name.as_ref().and_then(|name| Some((*self.agents.get(&**name)?, Rule::Agent(name.clone()))));
        let category = agent.category;
        named.unwrap_or_else(|| {
            let choice = self.categories.get(&category).copied().unwrap_or(Choice::Word(Word::Score));
            (choice, Rule::Policy(category))
        })
    }
}

impl Serialize for Policy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (category, choice) in &self.categories {
            map.serialize_entry(category, choice)?;
        }
        if !self.agents.is_empty() {
            map.serialize_entry("agents", &self.agents)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Policy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of categories, and `agents`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
                let mut policy = Policy::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "agents" {
                        policy.agents = map.next_value()?;
                    } else {
                        let category = Category::deserialize(key.as_str().into_deserializer())?;
                        policy.categories.insert(category, map.next_value()?);
                    }
                }
                Ok(policy)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The configuration path that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// `visitor.allow` or `visitor.routes.never`.
    Allow,
    /// `visitor.deny`.
    Deny,
    /// `action.policy.<category>`.
    Policy(Category),
    /// `action.policy.agents.<name>`.
    Agent(Arc<str>),
    /// The score.
    Score,
    /// `action.limits.<name>`.
    Limit(&'static str),
    /// `action.challenge`: one of its own addresses, or the return from one.
    Challenge,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("visitor.allow"),
            Self::Deny => f.write_str("visitor.deny"),
            Self::Policy(category) => write!(f, "action.policy.{category}"),
            Self::Agent(name) => write!(f, "action.policy.agents.{name}"),
            Self::Score => f.write_str("suspicion.score.buckets"),
            Self::Challenge => f.write_str("action.challenge"),
            Self::Limit(name) => write!(f, "action.limits.{name}"),
        }
    }
}

/// What follows before any quota is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) action: Action,
    pub(crate) rule: Rule,
    pub(crate) clamps: Clamps,
}

/// Nobody who reads, or who leads readers here, is asked to pay.
pub(super) fn check(settings: &Settings) -> Result<(), ActionError> {
    use Category::{AiUser, Browser, Feed, Preview, Reader, Search};
    let readers = [Browser, Search, AiUser, Preview, Feed, Reader, Category::None];
    let policy = &settings.policy;
    let asked = |category: &Category| policy.categories.get(category).is_some_and(|c| c.names(Word::License));
    if let Some(category) = readers.into_iter().find(asked) {
        return Err(ActionError::Readers { category });
    }
    for (agent, choice) in &policy.agents {
        let Some(category) = Agents::builtin().category_or_signer(agent) else {
            return Err(ActionError::Agent { agent: agent.clone() });
        };
        if choice.names(Word::License) && readers.contains(&category) {
            return Err(ActionError::Readers { category });
        }
    }
    Ok(())
}

/// Facts about the process that clamp an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    pub(crate) mode: Mode,
    pub(crate) warm_up: bool,
    /// Too many readers were disturbed.
    pub(crate) valve: bool,
}

/// Decides from facts alone. The quotas come afterwards: they only ever refuse more.
pub(crate) fn decide(
    settings: &Settings,
    licensed: bool,
    visitor: &visitor::Visitor,
    assessment: &Assessment,
) -> Draft {
    match visitor.standing {
        Standing::Allowed => return Draft { action: Action::Allow, rule: Rule::Allow, clamps: Clamps::new() },
        Standing::Denied => return Draft { action: Action::Block, rule: Rule::Deny, clamps: Clamps::new() },
        Standing::Ordinary => {}
    }
    let (choice, rule) = settings.policy.of(&visitor.agent);
    let (action, rule) = match choice.word(visitor.verification) {
        Word::Allow => (Action::Allow, rule),
        Word::License if licensed => (Action::License, rule),
        Word::Card => (Action::Card, rule),
        Word::Limit | Word::License => (Action::Limit, rule),
        Word::Block => (Action::Block, rule),
        Word::Score if assessment.pressed => (bucket(assessment.bucket).max(Action::Challenge), Rule::Score),
        Word::Score if super::decoy::is_meant(settings, visitor, assessment) => (Action::Decoy, Rule::Score),
        Word::Score => (bucket(assessment.bucket), Rule::Score),
    };
    let mut draft = Draft { action, rule, clamps: Clamps::new() };
    clamp_route(&mut draft, visitor, assessment);
    if draft.rule == Rule::Score {
        clamp_score(&mut draft, choice, visitor, assessment);
    }
    draft
}

/// What softens an action that follows from the score.
fn clamp_score(draft: &mut Draft, choice: Choice, visitor: &visitor::Visitor, assessment: &Assessment) {
    if draft.action == Action::Challenge && !visitor.navigation {
        cap(draft, Action::Limit, Clamp::Navigation);
    }
    cap(draft, choice.cap(), Clamp::Category);
    // A text browser at more than a page in 12 s is slowed for good reason, and limited in the end.
    let hurried = assessment.signals.iter().any(|fired| fired.signal == Signal::PageHour);
    if visitor.agent.category == Category::Reader && hurried {
        draft.action = draft.action.max(Action::Limit);
    }
    if visitor.verification == Verification::Verified {
        cap(draft, Action::Limit, Clamp::Verified);
    }
    if assessment.has_fresh_pass(visitor) && assessment.points.trap.round() < TRAPPED {
        cap(draft, Action::Slow, Clamp::Pass);
    }
    if assessment.first_request && !clear_evidence(assessment) {
        cap(draft, Action::Tag, Clamp::FirstRequest);
    }
}

/// The clamps of the moment, last of all.
pub(crate) fn clamp(draft: &mut Draft, settings: &Settings, now: Circumstances) {
    if now.warm_up && draft.rule != Rule::Deny {
        cap(draft, Action::Limit, Clamp::WarmUp);
    }
    if now.valve && draft.rule == Rule::Score {
        cap(draft, Action::Tag, Clamp::SafetyValve);
    }
    cap(draft, settings.max_action, Clamp::MaxAction);
    if now.mode == Mode::Observe {
        cap(draft, Action::Allow, Clamp::Observe);
    }
}

/// What a bucket of the score leads to, before any clamp.
pub(crate) fn bucket(number: u8) -> Action {
    BUCKETS.get(usize::from(number)).copied().unwrap_or(Action::Block)
}

/// Only pages are slowed or limited by the score; robots.txt and the like by nothing.
fn clamp_route(draft: &mut Draft, visitor: &visitor::Visitor, assessment: &Assessment) {
    match visitor.route {
        RouteClass::Wellknown | RouteClass::Own => cap(draft, Action::Allow, Clamp::Route),
        // What is asked for ahead is a page still, once somebody is limited.
        _ if assessment.prefetched && draft.action >= Action::Limit => {}
        _ if !assessment.counts_as_page && (draft.action != Action::Block || draft.rule == Rule::Score) => {
            cap(draft, Action::Tag, Clamp::Asset);
        }
        _ => {}
    }
}

fn clear_evidence(assessment: &Assessment) -> bool {
    let claim: u8 = assessment.signals.iter().filter(|f| f.signal.group() == Group::Claim).map(|f| f.points).sum();
    claim >= CLEAR_CLAIM || assessment.points.trap >= 1.0
}

pub(super) fn cap(draft: &mut Draft, most: Action, why: Clamp) {
    if draft.action > most {
        // A licence is for those whose category is sold one, never a milder form of a refusal.
        draft.action =
            if matches!(most, Action::License | Action::Card) { Action::Limit.min(draft.action) } else { most };
        draft.clamps.push(why);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::visitor::Visitor;

    fn visitor(ua: &str, path: &str) -> Visitor {
        let (head, ()) = http::Request::builder().uri(path).header("user-agent", ua).body(()).unwrap().into_parts();
        Visitor::from_head(&head, &visitor::Settings::default(), Duration::ZERO).unwrap()
    }

    fn at(score: u8, first: bool, page: bool) -> Assessment {
        let bucket = [20, 40, 55, 70, 85, 95].iter().filter(|least| score >= **least).count() as u8;
        Assessment { score, bucket, first_request: first, counts_as_page: page, ..Assessment::unknown() }
    }

    fn of_search(choice: Choice) -> Settings {
        let mut policy = Policy::default();
        policy.categories.insert(Category::Search, choice);
        Settings { policy, ..Settings::default() }
    }

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn scores_become_actions() {
        let settings = Settings::default();
        let table = [
            (0, Action::Allow),
            (19, Action::Allow),
            (20, Action::Tag),
            (39, Action::Tag),
            (40, Action::Slow),
            (54, Action::Slow),
            (55, Action::Limit),
            (69, Action::Limit),
            (70, Action::Challenge),
            (84, Action::Challenge),
            (85, Action::Block),
            (100, Action::Block),
        ];
        for (score, action) in table {
            assert_eq!(
                decide(&settings, false, &visitor(FIREFOX, "/a"), &at(score, false, true)).action,
                action,
                "{score}"
            );
        }
    }

    #[test]
    fn clamps_keep_readers_and_crawlers_safe() {
        let settings = Settings::default();
        let robots = decide(&settings, false, &visitor("nikto", "/robots.txt"), &at(100, false, false));
        assert_eq!((robots.action, robots.clamps.as_slice()), (Action::Allow, &[Clamp::Route][..]));
        let asset = decide(&settings, false, &visitor(FIREFOX, "/a.css"), &at(80, false, false));
        assert_eq!((asset.action, asset.clamps.as_slice()), (Action::Tag, &[Clamp::Asset][..]));
        let first = decide(&settings, false, &visitor(FIREFOX, "/a"), &at(60, true, true));
        assert_eq!((first.action, first.clamps.as_slice()), (Action::Tag, &[Clamp::FirstRequest][..]));
        let google = decide(&settings, false, &visitor("Googlebot/2.1", "/a"), &at(100, false, true));
        assert_eq!((google.action, google.clamps.as_slice()), (Action::Limit, &[Clamp::Category][..]));
        let lynx = decide(&settings, false, &visitor("Lynx/2.9", "/a"), &at(100, false, true));
        assert_eq!(lynx.action, Action::Slow);
    }

    #[test]
    fn categories_have_policies() {
        let settings = Settings::default();
        let gpt = decide(&settings, false, &visitor("GPTBot/1.2", "/a"), &at(15, true, true));
        assert_eq!((gpt.action, gpt.rule.to_string().as_str()), (Action::Limit, "action.policy.ai-train"));
        let licensed = decide(&settings, true, &visitor("GPTBot/1.2", "/a"), &at(15, true, true));
        assert_eq!((licensed.action, licensed.rule), (Action::License, Rule::Policy(Category::AiTrain)));
        let rules = decide(&settings, true, &visitor("GPTBot/1.2", "/robots.txt"), &at(15, true, false));
        assert_eq!(rules.action, Action::Allow, "the rules cost nothing");
        let nikto = decide(&settings, false, &visitor("Mozilla/5.0 (Nikto/2.1.6)", "/a"), &at(40, true, true));
        assert_eq!(nikto.action, Action::Block);
    }

    #[test]
    fn nobody_who_reads_is_asked_to_pay() {
        for category in Category::ALL {
            let mut policy = Policy::default();
            policy.categories.insert(category, Choice::Word(Word::License));
            let refused = check(&Settings { policy, ..Settings::default() }).is_err();
            let reads =
                ["browser", "search", "ai-user", "preview", "feed", "reader", "none"].contains(&category.code());
            assert_eq!(refused, reads, "{category}");
        }
    }

    #[test]
    fn what_is_proven_decides() {
        let settings = Settings::default();
        let table = [
            ("Googlebot/2.1", Verification::Verified, Action::Allow),
            ("Googlebot/2.1", Verification::Unverifiable, Action::Limit),
            ("Googlebot/2.1", Verification::Error, Action::Limit),
            ("Googlebot/2.1", Verification::Failed, Action::Block),
            ("facebookexternalhit/1.1", Verification::Failed, Action::Card),
            ("SemrushBot/7", Verification::Verified, Action::Allow),
            ("SemrushBot/7", Verification::Unverifiable, Action::Limit),
            ("GPTBot/1.2", Verification::Verified, Action::License),
            ("GPTBot/1.2", Verification::Failed, Action::Block),
        ];
        for (agent, verification, action) in table {
            let visitor = Visitor { verification, ..visitor(agent, "/a") };
            assert_eq!(
                decide(&settings, true, &visitor, &at(60, false, true)).action,
                action,
                "{agent} {verification:?}"
            );
        }
    }

    #[test]
    fn mistakes_in_a_policy_are_named() {
        let read = |text: &str| toml::from_str::<Policy>(text);
        for (text, says) in [
            ("seo = { unverified = 'limit', verifed = 'block' }", "verifed"),
            ("seo = { unverified = 'limit', caps = 'limit' }", "caps"),
            ("seo = { verified = 'block' }", "unverified"),
            ("seo = { unverified = 'deny' }", "deny"),
            ("seo = 'deny'", "deny"),
            ("seo = 3", "one of `allow`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let named = read("seo = { unverified = 'limit' }").unwrap();
        assert_eq!(named, Policy::default());
        let own = read("agents = { GPTBot = 'block' }").unwrap();
        let written = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), own);
        let nobody = read("agents = { GTPBot = 'block' }").unwrap();
        let error = check(&Settings { policy: nobody, ..Settings::default() }).unwrap_err();
        assert!(error.to_string().contains("GTPBot"), "{error}");
        let signer = read("agents = { 'crawler.example' = 'block' }").unwrap();
        check(&Settings { policy: signer, ..Settings::default() }).unwrap();
        let settings = Settings { policy: own, ..Settings::default() };
        let gpt = decide(&settings, true, &visitor("GPTBot/1.2", "/a"), &at(0, true, true));
        assert_eq!((gpt.action, gpt.rule.to_string().as_str()), (Action::Block, "action.policy.agents.GPTBot"));
    }

    #[test]
    fn members_of_a_cohort_are_challenged_where_that_is_set() {
        let settings = Settings::default();
        let pressed = Assessment { pressed: true, ..at(20, false, true) };
        let draft = decide(&settings, true, &visitor(FIREFOX, "/a"), &pressed);
        assert_eq!((draft.action, draft.rule), (Action::Challenge, Rule::Score));
        // What is softened for others is softened for them.
        let feed = decide(&settings, true, &visitor("Feedly/1.0", "/a"), &pressed);
        assert!(feed.action < Action::Challenge, "{feed:?}");
    }

    #[test]
    fn a_cap_holds_for_the_score_and_not_for_a_word() {
        let choice =
            Checked { unverified: Word::Block, cap: Action::Limit, verified: Word::Allow, failed: Word::Block };
        let settings = of_search(Choice::Checked(choice));
        let google = decide(&settings, false, &visitor("Googlebot/2.1", "/a"), &at(0, false, true));
        assert_eq!((google.action, google.clamps.len()), (Action::Block, 0));
    }

    #[test]
    fn a_cap_never_makes_a_sale() {
        let settings = Settings { max_action: Action::License, ..Settings::default() };
        let mut denied = decide(&settings, true, &visitor("nikto", "/a"), &at(100, false, true));
        assert_eq!(denied.action, Action::Block);
        clamp(&mut denied, &settings, Circumstances { mode: Mode::Enforce, warm_up: false, valve: false });
        assert_eq!(denied.action, Action::Limit);
        let sold =
            Checked { unverified: Word::Score, cap: Action::License, verified: Word::Allow, failed: Word::Block };
        let sold = Choice::Checked(sold);
        let settings = of_search(sold);
        let google = decide(&settings, true, &visitor("Googlebot/2.1", "/a"), &at(100, false, true));
        assert_eq!(google.action, Action::Limit);
    }

    #[test]
    fn observing_does_nothing() {
        let settings = Settings::default();
        let mut draft = decide(&settings, false, &visitor(FIREFOX, "/a"), &at(100, false, true));
        clamp(&mut draft, &settings, Circumstances { mode: Mode::Observe, warm_up: true, valve: false });
        assert_eq!(draft.action, Action::Allow);
        assert_eq!(*draft.clamps, [Clamp::WarmUp, Clamp::Observe]);
    }
}
