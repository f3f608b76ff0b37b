//! Which make a client is, and what its make says about it.

use http::header::{self, ACCEPT_LANGUAGE, HeaderName, USER_AGENT};

use super::Signal;
use super::cells::CellKey;
use super::conduct::Step;
use super::headers::Head;
use super::judge::Judge;
use super::state::{Alarm, CohortStep, Keys};
use crate::visitor::{Category, Verification, Visitor};

/// Header fields by whose presence makes are told apart: those that a browser sends with a page and with what belongs to
/// it, and no proxy adds.
static TELLING: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    header::DNT,
    header::FROM,
    HeaderName::from_static("priority"),
    HeaderName::from_static("sec-ch-ua"),
    HeaderName::from_static("sec-ch-ua-mobile"),
    HeaderName::from_static("sec-ch-ua-platform"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-gpc"),
    header::TE,
];

impl Judge {
    /// The make of whoever says that it is a browser.
    pub(super) fn make(&self, visitor: &Visitor, head: Head<'_>) -> Option<CellKey> {
        if visitor.agent.category != Category::Browser || visitor.verification == Verification::Verified {
            return None;
        }
        // A log that is replayed does not know what browsers send.
        let agent = head.headers.get(USER_AGENT)?.as_bytes();
        let there = TELLING.iter().enumerate().filter(|(_, name)| head.headers.contains_key(*name));
        let names = there.fold(0, |bits, (at, _)| bits | 1 << at);
        let languages = head.headers.get(ACCEPT_LANGUAGE).map_or(&[][..], http::HeaderValue::as_bytes);
        Some(self.state.make_key(names, agent, languages))
    }

    /// Counts a page for its make. The signal is for a member that has fetched nothing itself, and not for its first
    /// page: nobody has had the time to fetch anything then.
    pub(super) fn cohort(&self, keys: &Keys, step: &Step, pages: u16, bare: bool) -> Option<Signal> {
        let make = keys.make.filter(|_| step.page && !self.state.standings.blind())?;
        let page = CohortStep { address: keys.address.0, path: step.path, with_assets: !bare };
        let alarm = self.state.note_make(make, page, step.now);
        if let Alarm::Raised { addresses, pages } = alarm {
            tracing::warn!(target: "deckle", event = "cohort", addresses, pages,
                "Clients of one make ask for different pages from many addresses, and for nothing else.");
        }
        (alarm != Alarm::None && bare && pages >= 2).then_some(Signal::Cohort)
    }
}
