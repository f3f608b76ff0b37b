//! Codings that a site nearby need not put on.
//!
//! A page that comes coded is taken apart here and coded again. Where the site is on the same machine or network, nothing is
//! gained by its coding: of a page that was rewritten the coding is remembered, by host, address and what the client accepts, and
//! the next time the site is asked for none. The page then leaves in the coding that it came in before. So whatever left coded
//! leaves coded, and what comes without a coding of its own accord leaves without one (`page.compress`).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::ask::Ask;
use super::shape::Address;
use crate::page::PageReport;
use crate::page::accept::asks_for_none;
use crate::page::encoding::{Coding, NearSite};
use crate::page::headers::Expected;

/// Pages that are remembered, at 8 bytes each; one of the same place pushes out the one before.
const CELLS: usize = 16_384;
const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Br, Coding::Zstd, Coding::Deflate];

/// In which codings pages came; fixed size, no lock.
pub(super) struct KnownCodings {
    /// 61 bits of hash, and three for the coding.
    cells: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A page that was asked for, and how.
pub(super) struct Question {
    codings: Arc<KnownCodings>,
    hash: u64,
    /// Without a coding, though the client accepts one.
    plain: bool,
}

impl KnownCodings {
    pub(super) fn new() -> Arc<Self> {
        let cells = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { cells, hasher: RandomState::new() })
    }

    /// Asks for a known page without a coding; it leaves in the one that is known.
    pub(super) fn ask(self: &Arc<Self>, ask: &mut Ask, headers: &mut HeaderMap) -> Option<Question> {
        let page = ask.enabled && ask.expected == Expected::Page && !ask.card && ask.document.is_none();
        let page = page && !asks_for_none(headers);
        let accepted = headers.get(header::ACCEPT_ENCODING).filter(|_| page && ask.method == Method::GET)?;
        let hash = self.hasher.hash_one((&ask.host, Address::of(ask), accepted));
        let known = self.known(hash);
        if let Some(coding) = known {
            ask.preferred = coding;
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(Coding::Identity.code()));
        }
        Some(Question { codings: Arc::clone(self), hash, plain: known.is_some() })
    }

    fn known(&self, hash: u64) -> Option<Coding> {
        let (cell, tag) = self.cell(hash);
        let word = cell?.load(Ordering::Relaxed);
        (word & !7 == tag).then(|| CODINGS.get((word & 7) as usize).copied()).flatten()
    }

    fn learn(&self, hash: u64, coding: Coding) {
        let at = CODINGS.iter().position(|known| *known == coding);
        if let ((Some(cell), tag), Some(at)) = (self.cell(hash), at) {
            cell.store(tag | at as u64, Ordering::Relaxed);
        }
    }

    fn forget(&self, hash: u64) {
        if let (Some(cell), tag) = self.cell(hash) {
            let is_it = |word: u64| (word & !7 == tag).then_some(0);
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_it);
        }
    }

    fn cell(&self, hash: u64) -> (Option<&AtomicU64>, u64) {
        let index = ((u128::from(hash) * self.cells.len() as u128) >> 64) as usize;
        (self.cells.get(index), (hash << 3).max(8))
    }
}

impl Question {
    /// What the answer says about the next time.
    pub(super) fn learn<B>(&self, response: &Response<B>) {
        let extensions = response.extensions();
        // Only a page that is rewritten has one.
        let coding = extensions.get::<PageReport>().and_then(|report| report.facts_mut().coding_in);
        match coding {
            Some(Coding::Identity) => {}
            Some(coding) if extensions.get::<NearSite>().is_some() => self.codings.learn(self.hash, coding),
            // It is left alone now, and would leave without the coding that it had.
            None if self.plain && response.status() == StatusCode::OK => self.codings.forget(self.hash),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::protect::site::Site;
    use crate::page::{Rewrite, Settings, Skip};
    use crate::rights;

    fn asked(codings: &Arc<KnownCodings>, path: &str, accepts: &'static str) -> (Question, Coding, String) {
        let site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        let request = http::Request::builder().uri(path).header("accept-encoding", accepts).body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        let mut ask = site.ask(&mut head);
        let question = codings.ask(&mut ask, &mut head.headers);
        let passed = head.headers["accept-encoding"].to_str().unwrap().to_owned();
        (question.unwrap(), ask.preferred, passed)
    }

    fn page(coding: Coding, near: bool) -> Response<()> {
        let report = PageReport::new(Rewrite::Done, None);
        report.facts_mut().coding_in = Some(coding);
        let mut response = Response::new(());
        response.extensions_mut().insert(report);
        if near {
            response.extensions_mut().insert(NearSite);
        }
        response
    }

    #[test]
    fn a_page_that_came_coded_is_asked_for_without_and_leaves_as_before() {
        let codings = KnownCodings::new();
        let plain = |path: &str, accepts| {
            let (_, leaves, passed) = asked(&codings, path, accepts);
            (leaves, passed)
        };
        let (first, leaves, passed) = asked(&codings, "/a", "gzip, br");
        assert_eq!((leaves, passed.as_str()), (Coding::Identity, "gzip, br"));
        for coding in [Coding::Gzip, Coding::Br, Coding::Zstd, Coding::Deflate] {
            first.learn(&page(coding, true));
            assert_eq!(plain("/a", "gzip, br"), (coding, "identity".to_owned()));
        }
        assert_eq!(plain("/a", "gzip"), (Coding::Identity, "gzip".to_owned()), "nobody has asked like this");
        assert_eq!(plain("/b", "gzip, br"), (Coding::Identity, "gzip, br".to_owned()));
        // What comes now is as it was asked for, and says nothing new.
        let (again, ..) = asked(&codings, "/a", "gzip, br");
        again.learn(&page(Coding::Identity, true));
        again.learn(&Response::builder().status(304).body(()).unwrap());
        assert_eq!(plain("/a", "gzip, br").0, Coding::Deflate);
        // It is no page any more.
        let mut data = Response::new(());
        data.extensions_mut().insert(PageReport::new(Rewrite::Skipped, Some(Skip::Type)));
        first.learn(&data);
        assert_eq!(plain("/a", "gzip, br").0, Coding::Deflate, "that was asked for with a coding");
        again.learn(&data);
        assert_eq!(plain("/a", "gzip, br"), (Coding::Identity, "gzip, br".to_owned()));
    }

    #[test]
    fn nothing_is_remembered_for_who_accepts_no_coding() {
        let codings = KnownCodings::new();
        let site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        for accepts in ["identity", "gzip;q=0", "*"] {
            let request = http::Request::builder().uri("/a").header("accept-encoding", accepts).body(()).unwrap();
            let (mut head, ()) = request.into_parts();
            let mut ask = site.ask(&mut head);
            assert!(codings.ask(&mut ask, &mut head.headers).is_none(), "{accepts}");
            assert_eq!(head.headers["accept-encoding"], "identity");
        }
    }

    #[test]
    fn a_site_that_is_far_away_goes_on_compressing() {
        let codings = KnownCodings::new();
        let (question, ..) = asked(&codings, "/a", "gzip");
        question.learn(&page(Coding::Gzip, false));
        assert_eq!(asked(&codings, "/a", "gzip").2, "gzip");
    }
}
