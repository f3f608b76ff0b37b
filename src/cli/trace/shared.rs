//! Marks that many visitors share, `watermark.scope = "bucket(n)"`: one page says little about a visitor, several say
//! more.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::pick::OfMark;
use crate::watermark::{BucketHit, Buckets, Mark, Verdict};

/// A visitor who got the traced form of most pages.
pub(super) struct Reader {
    pub(super) address: String,
    pub(super) user_agent: String,
    /// Pages that were traced, and of how many of them the visitor got this form.
    pub(super) pages: u32,
    pub(super) agree: u32,
    /// Over all visitors.
    pub(super) adjusted: f64,
}

/// Who got the traced forms of all these copies. `forms`: of each page; `visitors`: in the log.
pub(super) fn readers(
    findings: &[Finding<'_>],
    of_marks: &BTreeMap<Mark, OfMark>,
    forms: u32,
    visitors: u64,
) -> Vec<Reader> {
    // Two copies of one form are one page.
    let traced = findings.iter().filter(|finding| finding.trace.verdict == Verdict::Traced);
    let marks: BTreeSet<Mark> = traced.filter_map(|finding| finding.trace.hits.first()).map(|hit| hit.mark).collect();
    let mut numbers: BTreeMap<&(String, String), u64> = BTreeMap::new();
    let mut buckets = Buckets::new(forms);
    for of in marks.iter().filter_map(|mark| of_marks.get(mark)) {
        let readers: Vec<u64> = of
            .readers()
            .map(|reader| {
                let next = numbers.len() as u64;
                *numbers.entry(reader).or_insert(next)
            })
            .collect();
        buckets.add_page(readers);
    }
    let names: BTreeMap<u64, &(String, String)> = numbers.into_iter().map(|(name, number)| (number, name)).collect();
    let reader = |hit: BucketHit| {
        let (address, user_agent) = names.get(&hit.visitor).map(|name| (*name).clone())?;
        Some(Reader { address, user_agent, pages: hit.pages, agree: hit.agree, adjusted: hit.adjusted })
    };
    buckets.finish(visitors).into_iter().filter_map(reader).collect()
}
