//! Marks that many visitors share, `watermark.scope = "bucket(n)"`: one page says little about a visitor, several say
//! more.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::pick::{OfMark, Reader as Holder};
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
    let of_marks: Vec<&OfMark> = marks.iter().filter_map(|mark| of_marks.get(mark)).collect();
    let crowds = crowds(of_marks.iter().flat_map(|of| of.readers()));
    let mut numbers: BTreeMap<&(String, String), u64> = BTreeMap::new();
    let mut buckets = Buckets::new(forms);
    for of in of_marks {
        let alone = of.readers().map(|reader| &reader.name).filter(|name| !crowds.contains(name));
        let readers: Vec<u64> = alone
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

/// Addresses and user agents that are several visitors, as their pseudonyms of one day say: together they hold many forms of a page, and
/// what would be an accident of one is none of theirs.
fn crowds<'r>(readers: impl Iterator<Item = &'r Holder>) -> BTreeSet<&'r (String, String)> {
    let mut pseudonyms: BTreeMap<(&(String, String), &([String; 2], u64)), &str> = BTreeMap::new();
    let mut crowds = BTreeSet::new();
    for Holder { name, day, pseudonym } in readers {
        if pseudonyms.insert((name, day), pseudonym).is_some_and(|other| other != pseudonym) {
            crowds.insert(name);
        }
    }
    crowds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pseudonyms_of_one_day_are_not_one_visitor() {
        let holder = |address: &str, day: u64, pseudonym: &str| Holder {
            name: (address.to_owned(), "Phone".to_owned()),
            day: (["web-1".to_owned(), "news".to_owned()], day),
            pseudonym: pseudonym.to_owned(),
        };
        let all = [
            holder("203.0.113.0/24", 1, "ann"),
            holder("198.51.100.0/24", 1, "cid"),
            holder("203.0.113.0/24", 1, "bob"),
            holder("203.0.113.0/24", 1, "ann"),
            holder("198.51.100.0/24", 2, "dan"),
            holder("198.51.100.0/24", 1, "cid"),
        ];
        let found = crowds(all.iter());
        assert_eq!(found.into_iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["203.0.113.0/24"]);
    }
}
