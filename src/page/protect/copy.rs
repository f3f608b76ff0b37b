//! What one copy of a page is made by: the rules for its page, the choices of its mark, and what its end tells.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::ask::Ask;
use super::marks;
use super::site::Site;
use crate::page::Finding;
use crate::page::marks::MarkRules;
use crate::page::pipeline::{OnEnd, unmarked};
use crate::page::replace::ENOUGH_PAGES;
use crate::page::rewrite::Outcome;
use crate::slot::Choose;
use crate::watermark::SealForm;

impl Site {
    /// Asked for once an answer, when its head is here: what is known may change meanwhile, and head and body must say the same.
    /// An answer may take long: whether its text may be touched is what was learned until then. What is stored is looked for by what
    /// was known before ([`recall`](Site::recall)), and holds if that is the same.
    pub(super) fn finding(&self, ask: &Ask) -> Option<Finding> {
        self.marking.as_ref().and_then(|marks| marks.findings.lookup_kind(&ask.host, ask.kind()))
    }

    /// Is all of the body the article? Where roots are named there are no others.
    pub(super) fn body_is_root(&self, finding: Option<Finding>) -> bool {
        self.rules.roots.is_empty() && finding.is_some_and(|finding| !finding.has_root)
    }

    /// Why this visitor's copy carries no mark, by all that is known before the site has answered.
    pub(super) fn no_slots(&self, ask: &Ask, finding: Option<Finding>) -> Option<&'static str> {
        ask.unmarked.or(match finding {
            None => Some("learning"),
            Some(finding) if finding.hydrated && !self.rules.hydrated_ok => Some("hydrated"),
            Some(finding) if finding.amp => Some("amp"),
            Some(_) => None,
        })
    }

    /// The rules for the page that is asked for; `unmarked`: no mark may stand in it.
    pub(super) fn page_rules(&self, ask: &Ask, unmarked: bool) -> MarkRules {
        // Behind a proxy the name that was asked for may be another one than readers know.
        let host = self.public_host.as_ref().unwrap_or(&ask.host);
        let mut rules = marks::of_page(&self.rules, Arc::clone(host), unmarked);
        if let Some(marks) = &self.marking {
            marks.add_style(&mut rules, ask);
        }
        rules
    }

    /// The choices of this visitor's mark; `no_slots`: why there are none.
    pub(super) fn choices(&self, ask: &Ask, no_slots: Option<&'static str>, form: SealForm) -> Box<dyn Choose> {
        match (&self.marking, ask.mark) {
            (Some(marks), Some(mark)) if no_slots.is_none() => {
                Box::new(marks.marker.choices(mark, marks.channels, form))
            }
            _ => unmarked(),
        }
    }

    /// Learns from a page that has come to its end.
    pub(super) fn on_end(self: &Arc<Self>, ask: &Arc<Ask>, status: StatusCode) -> OnEnd {
        let (site, ask) = (Arc::clone(self), Arc::clone(ask));
        // Error pages and answers to forms say nothing about the articles beside them.
        let teaches = status == StatusCode::OK && ask.method == Method::GET;
        Box::new(move |outcome: &Outcome| {
            if let (Some(marks), Some(finding), true) = (&site.marking, outcome.finding, teaches) {
                marks.findings.learn_kind(&ask.host, ask.kind(), finding);
                marks.learn_style(&ask.host, &outcome.sheets);
            }
            if outcome.too_many_alternatives {
                site.told.too_many_alternatives(&ask.path);
            }
            if teaches && site.replaced.is_useless(&site.settings.guard.replace, outcome.replaced) {
                tracing::warn!(
                    target: "deckle",
                    "Nothing of what `page.guard.replace` names was found in {ENOUGH_PAGES} pages: has the plugin gone, or changed?"
                );
            }
        })
    }
}
