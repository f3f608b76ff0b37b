//! The decision about a line of the log, made again, and what would have come out otherwise.

use std::sync::Arc;
use std::time::Duration;

use super::explain::{Change, Record, Rules, SCORED};
use super::recount::{Between, Recount, Weighed};
use crate::action::{self, Action, Checked, Choice, Circumstances, Clamp, Draft, Mode, Settings, Word};
use crate::suspicion::{Assessment, Group, Signal};
use crate::visitor::{self, Agent, Category, Pass, RouteClass, Standing, Verification, Visitor, VisitorError};

/// A request as it may have been.
#[derive(Clone)]
struct Case {
    visitor: Visitor,
    assessment: Assessment,
    /// A hard quota has refused it.
    refused: bool,
    warm_up: bool,
    mode: Mode,
}

fn category_of(record: &Record) -> Category {
    Category::from_code(record.text("deckle.visitor.category")).unwrap_or(Category::Browser)
}

fn verification_of(record: &Record) -> Verification {
    use Verification::{Error, Failed, Pending, Unverifiable, Verified};
    let code = record.text("deckle.visitor.verification");
    let known = [Unverifiable, Verified, Failed, Error, Pending];
    known.into_iter().find(|state| state.code() == code).unwrap_or(Verification::None)
}

fn route_of(record: &Record) -> RouteClass {
    RouteClass::from_code(record.text("deckle.route")).unwrap_or(RouteClass::Other)
}

fn visitor_of(record: &Record) -> Result<Visitor, VisitorError> {
    let (head, ()) = http::Request::new(()).into_parts();
    let blank = Visitor::from_head(&head, &visitor::Settings::default(), Duration::ZERO)?;
    let name = record.text("deckle.visitor.agent");
    Ok(Visitor {
        agent: Agent { category: category_of(record), name: (!name.is_empty()).then(|| Arc::from(name)) },
        verification: verification_of(record),
        route: route_of(record),
        navigation: record.flag("deckle.navigation"),
        standing: match record.text("deckle.rule") {
            "visitor.allow" => Standing::Allowed,
            "visitor.deny" => Standing::Denied,
            _ => Standing::Ordinary,
        },
        ..blank
    })
}

fn weighed(by: &Weighed, of: Assessment) -> Assessment {
    Assessment { score: by.score, bucket: by.bucket, points: by.points, signals: by.fired.as_slice().into(), ..of }
}

/// Every request that it may have been, by what the line says of who asked and of the score.
fn cases(record: &Record, recount: &Recount) -> Result<Vec<Case>, VisitorError> {
    let visitor = visitor_of(record)?;
    let refused = record.text("deckle.rule").starts_with("action.limits.");
    let only_page = visitor.navigation && !record.is_clamped(Clamp::Asset);
    let has_pass = recount.fired().iter().any(|f| f.signal == Signal::PassToken) || !recount.shows(Signal::PassToken);
    let known = [Group::Rate, Group::Behaviour].into_iter().any(|group| recount.counted(group) >= 1.0);
    // `suspicion.cohort.challenge`, as it was then.
    let pressed =
        [record.text("deckle.action"), record.text("deckle.would_action")].contains(&Action::Challenge.code());
    // Since the log says it, nothing has to be tried.
    let told = record.list("deckle.circumstances");
    let mut cases = Vec::new();
    for bits in 0..64u8 {
        let [page, ahead, first, vouched, warm_up, observe] = [0, 1, 2, 3, 4, 5].map(|at| bits & (1 << at) != 0);
        let all =
            [(page, "page"), (ahead, "prefetch"), (first, "first_request"), (vouched, "pass"), (warm_up, "warm_up")];
        let possible = if told.is_empty() {
            !((page && ahead) || (only_page && !page) || (first && known) || (vouched && !has_pass))
        } else {
            all.iter().all(|(holds, code)| *holds == told.contains(code))
        };
        if !possible {
            continue;
        }
        let assessment = Assessment {
            first_request: first,
            counts_as_page: page,
            prefetched: ahead,
            vouched,
            pressed: pressed && recount.fired().iter().any(|f| f.signal == Signal::Cohort),
            ..weighed(&recount.as_it_was(), Assessment::unknown())
        };
        // As fresh as can be: where it is older, it is as if there was none.
        let pass = vouched.then_some(Pass { id: [0; 8], issued: 0, expires: u32::MAX });
        let mode = if observe { Mode::Observe } else { Mode::Enforce };
        cases.push(Case { visitor: Visitor { pass, ..visitor.clone() }, assessment, refused, warm_up, mode });
    }
    Ok(cases)
}

impl Case {
    /// What is decided before the clamps of the moment, and after them.
    fn decide(&self, record: &Record, rules: Rules<'_>) -> (Action, Draft) {
        let mut draft = action::decide(rules.action, rules.licensed, &self.visitor, &self.assessment);
        // The licence itself is free.
        if draft.action == Action::License && record.is_clamped(Clamp::Route) {
            draft.action = Action::Allow;
            draft.clamps.push(Clamp::Route);
        }
        if self.refused && draft.action <= Action::Limit {
            draft.action = Action::Limit;
            draft.clamps.clear();
        }
        let would = draft.action;
        action::clamp(
            &mut draft,
            rules.action,
            Circumstances { mode: self.mode, warm_up: self.warm_up, valve: record.is_clamped(Clamp::SafetyValve) },
        );
        (would, draft)
    }

    /// Does it lead to what the line says?
    fn agrees(&self, record: &Record, rules: Rules<'_>) -> bool {
        let (would, draft) = self.decide(record, rules);
        let own: Vec<&str> = draft.clamps.iter().map(|clamp| clamp.code()).collect();
        let said = record.list("deckle.clamps");
        let Some(later) = said.strip_prefix(own.as_slice()) else { return false };
        let action = match (draft.action, record.action("deckle.action")) {
            (Action::Slow, Some(Action::Tag)) => later.is_empty(),
            (Action::Challenge, Some(Action::Tag | Action::Limit)) | (Action::Limit, Some(Action::Challenge)) => true,
            (drafted, done) => done == Some(drafted) && later.is_empty(),
        };
        let would = (would != draft.action).then_some(would);
        let same_would = record.action("deckle.would_action") == would || later.contains(&Clamp::Breaker.code());
        action && same_would && (self.refused || record.text("deckle.rule") == draft.rule.to_string())
    }
}

/// The requests that it may have been, and what follows from them.
pub(super) struct Model<'e> {
    record: &'e Record,
    rules: Rules<'e>,
    recount: &'e Recount,
    cases: Vec<Case>,
    /// One of them leads to what the line says; else these are all.
    pub(super) agrees: bool,
    pub(super) enforced: Between<Action>,
}

impl<'e> Model<'e> {
    pub(super) fn new(record: &'e Record, rules: Rules<'e>, recount: &'e Recount) -> Result<Self, VisitorError> {
        let all = cases(record, recount)?;
        let agreeing: Vec<Case> = all.iter().filter(|case| case.agrees(record, rules)).cloned().collect();
        let agrees = !agreeing.is_empty();
        let cases = if agrees { agreeing } else { all };
        let enforced = Between { least: Action::Allow, most: Action::Block };
        let mut model = Self { record, rules, recount, cases, agrees, enforced };
        model.enforced = model.outcome(rules, |_| {});
        Ok(model)
    }

    /// What mode `enforce` does under these settings, with requests that differ by this.
    fn outcome(&self, rules: Rules<'_>, edit: impl Fn(&mut Case)) -> Between<Action> {
        let actions = self.cases.iter().map(|case| {
            let mut case = Case { mode: Mode::Enforce, ..case.clone() };
            edit(&mut case);
            case.decide(self.record, rules).1.action
        });
        Between::of(actions).unwrap_or(self.enforced)
    }

    fn under(&self, settings: &Settings) -> Between<Action> {
        self.outcome(Rules { action: settings, ..self.rules }, |_| {})
    }

    /// Why something else was done in the end.
    pub(super) fn instead(&self) -> Option<&'static str> {
        let drafted = self.cases.first().filter(|_| self.agrees)?.decide(self.record, self.rules).1.action;
        match (drafted, self.record.action("deckle.action")?) {
            (Action::Slow, Action::Tag) => Some("too_many_wait"),
            (Action::Challenge, Action::Tag | Action::Limit) => Some("no_challenge"),
            (Action::Limit, Action::Challenge) => Some("way_out"),
            _ => None,
        }
    }

    /// What would have changed the outcome, the decisive ones first.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut out = self.of_the_operator();
        out.extend(self.of_clamps());
        out.extend(self.of_proof());
        out.retain(|change| change.decisive);
        if self.record.text("deckle.rule") == SCORED {
            let now = Between::of([self.recount.as_it_was().score]);
            out.extend(self.of_score().filter(|change| change.decisive || change.score != now));
        }
        out.sort_by_key(|change| !change.decisive);
        out
    }

    fn change(&self, what: impl Into<String>, setting: Option<String>, action: Between<Action>) -> Change {
        Change { what: what.into(), setting, score: None, action, decisive: action != self.enforced }
    }

    /// What the operator decides: mode, policy, quotas and lists.
    fn of_the_operator(&self) -> Vec<Change> {
        let (rules, rule) = (self.rules, self.record.text("deckle.rule"));
        let mut out = Vec::new();
        if self.record.is_clamped(Clamp::Observe) {
            let change = self.change("in mode `enforce`", Some("mode = \"enforce\"".to_owned()), self.enforced);
            out.push(Change { decisive: true, ..change });
        }
        if rule.starts_with("action.limits.") {
            let wait = self.record.number("deckle.limit.retry_after").unwrap_or(0);
            let action = self.outcome(rules, |case| case.refused = false);
            out.push(self.change(format!("{wait} s later, or without that quota"), None, action));
        }
        if rule.starts_with("action.policy.") {
            let (score, cap) = (Word::Score, Action::Block);
            let choice = Checked { verified: score, unverified: score, failed: score, cap };
            let action = self.under(&self.with_choice(Choice::Checked(choice)));
            let value = "{ verified = \"score\", unverified = \"score\", failed = \"score\" }";
            out.push(self.change("by the score alone", Some(format!("{rule} = {value}")), action));
        }
        if rule == "visitor.deny" {
            let action = self.outcome(rules, |case| case.visitor.standing = Standing::Ordinary);
            out.push(self.change("without its prefix in `visitor.deny`", None, action));
        }
        if rule != "visitor.allow" {
            let allow = Between { least: Action::Allow, most: Action::Allow };
            out.push(self.change("with its prefix in `visitor.allow`", None, allow));
            out.push(self.change("with its path in `visitor.routes.never`", None, allow));
        }
        out
    }

    /// Without one of the clamps.
    fn of_clamps(&self) -> Vec<Change> {
        let rules = self.rules;
        let change = |clamp: &str| match clamp {
            "first_request" => {
                let action = self.outcome(rules, |case| case.assessment.first_request = false);
                Some(self.change("at a later request, with the same score", None, action))
            }
            "warm_up" => {
                let action = self.outcome(rules, |case| case.warm_up = false);
                Some(self.change("later than a minute after the start", None, action))
            }
            "pass" => {
                let action = self.outcome(rules, |case| case.assessment.vouched = false);
                Some(self.change("later than ten minutes after the challenge", None, action))
            }
            "max_action" => {
                let action = self.under(&Settings { max_action: Action::Block, ..rules.action.clone() });
                Some(self.change("with any action", Some("action.max_action = \"block\"".to_owned()), action))
            }
            "category" => {
                let (action, path) = (self.under(&self.with_choice(uncapped(self.choice()))), self.path());
                Some(self.change("without the cap of its policy", Some(format!("{path}.cap = \"block\"")), action))
            }
            _ => None,
        };
        self.record.list("deckle.clamps").into_iter().filter_map(change).collect()
    }

    /// If it were what it says, and that leads to a word.
    fn of_proof(&self) -> Option<Change> {
        let word = match self.choice() {
            Choice::Word(word) => word,
            Choice::Checked(checked) => checked.verified,
        };
        let claims =
            category_of(self.record).is_declared_bot() && verification_of(self.record) != Verification::Verified;
        (claims && word != Word::Score).then(|| {
            let action = self.outcome(self.rules, |case| case.visitor.verification = Verification::Verified);
            self.change("if it were proven to be what it says", None, action)
        })
    }

    /// With another score.
    fn of_score(&self) -> impl Iterator<Item = Change> {
        let recount = self.recount;
        let fewer = recount.below().map(|score| {
            let points = recount.as_it_was().score - score;
            let what = if points == 1 { "with a point less".to_owned() } else { format!("with {points} points less") };
            self.scored(what, None, &recount.at(score))
        });
        let signals = recount.fired().iter().map(|f| f.signal).filter(|signal| signal.group() != Group::Credit);
        let signals = signals.map(move |signal| {
            let setting = format!("suspicion.score.signals.{signal} = 0");
            self.scored(format!("without `{signal}`"), Some(setting), &recount.without(|s| s == signal, None))
        });
        // One signal alone is the group.
        let several = move |group: &Group| {
            let count = recount.fired().iter().filter(|f| f.signal.group() == *group).count();
            recount.counted(*group) >= 1.0 && (count != 1 || recount.earlier(*group) > 0 || *group == Group::Credit)
        };
        let groups = Group::ALL.into_iter().filter(several).map(move |group| {
            let (code, other) = (group.code(), recount.without(|s| s.group() == group, Some(group)));
            self.scored(format!("without group `{code}`"), Some(format!("suspicion.score.caps.{code} = 0")), &other)
        });
        fewer.into_iter().chain(signals).chain(groups)
    }

    fn scored(&self, what: String, setting: Option<String>, [one, other]: &[Weighed; 2]) -> Change {
        let action =
            |by: &Weighed| self.outcome(self.rules, |case| case.assessment = weighed(by, case.assessment.clone()));
        let change = self.change(what, setting, action(one).join(action(other)));
        Change { score: Between::of([one.score, other.score]), ..change }
    }

    /// The agent, if it has a policy of its own.
    fn agent(&self) -> Option<&'e str> {
        let name = self.record.text("deckle.visitor.agent");
        self.rules.action.policy.agents.contains_key(name).then_some(name)
    }

    fn choice(&self) -> Choice {
        let policy = &self.rules.action.policy;
        let own = self.agent().and_then(|name| policy.agents.get(name));
        let choice = own.or_else(|| policy.categories.get(&category_of(self.record)));
        choice.copied().unwrap_or(Choice::Word(Word::Score))
    }

    fn path(&self) -> String {
        match self.agent() {
            Some(name) => format!("action.policy.agents.{name}"),
            None => format!("action.policy.{}", category_of(self.record)),
        }
    }

    fn with_choice(&self, choice: Choice) -> Settings {
        let mut settings = self.rules.action.clone();
        match self.agent() {
            Some(name) => settings.policy.agents.insert(name.to_owned(), choice),
            None => settings.policy.categories.insert(category_of(self.record), choice),
        };
        settings
    }
}

fn uncapped(choice: Choice) -> Choice {
    match choice {
        Choice::Checked(checked) => Choice::Checked(Checked { cap: Action::Block, ..checked }),
        word @ Choice::Word(_) => word,
    }
}
