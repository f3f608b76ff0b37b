//! Visitors behind marks that many share: with `n` forms of a page, one traced page says little, several say all.

use std::collections::{BTreeMap, BTreeSet};

use super::tail::{binomial, chance};
use super::{INCONCLUSIVE, SHORTLIST, TRACED};

/// The chance that somebody innocent holds the traced form of at least `agree` of so many pages, each having `forms`.
pub fn bucket_tail(pages: u32, agree: u32, forms: u32) -> f64 {
    if agree == 0 || forms < 2 {
        return 1.0;
    }
    let terms = binomial(pages, 1.0 / f64::from(forms));
    terms.iter().skip(agree as usize).map(|ln_p| ln_p.exp()).sum::<f64>().min(1.0)
}

/// A visitor who holds the traced forms of several pages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketHit {
    /// As it was named to [`Buckets::add_page`].
    pub visitor: u64,
    /// Pages that were traced.
    pub pages: u32,
    /// Of how many the visitor got the traced form.
    pub agree: u32,
    /// The chance of one innocent visitor.
    pub p: f64,
    /// The chance that any visitor agrees so often by accident.
    pub adjusted: f64,
}

/// Adds up traced pages.
///
/// ```
/// use deckle::watermark::Buckets;
/// let mut buckets = Buckets::new(64);
/// for _ in 0..9 {
///     buckets.add_page([7, 8]);
/// }
/// buckets.add_page([7]);
/// let hits = buckets.finish(1_000_000);
/// assert_eq!((hits[0].visitor, hits[0].agree), (7, 10));
/// assert!(hits[0].adjusted <= 1e-9);
/// ```
#[derive(Debug, Clone)]
pub struct Buckets {
    forms: u32,
    pages: u32,
    agree: BTreeMap<u64, u32>,
}

impl Buckets {
    /// Pages have so many forms.
    pub fn new(forms: u32) -> Self {
        Self { forms, pages: 0, agree: BTreeMap::new() }
    }

    /// One page whose form was traced, and who got that form.
    pub fn add_page(&mut self, visitors: impl IntoIterator<Item = u64>) {
        self.pages += 1;
        for visitor in visitors.into_iter().collect::<BTreeSet<u64>>() {
            *self.agree.entry(visitor).or_default() += 1;
        }
    }

    /// Who agrees more often than by accident, of so many visitors: all that can be named, or else a short list. Nobody
    /// whose chance is above 0.01 is in it.
    pub fn finish(&self, visitors: u64) -> Vec<BucketHit> {
        let mut hits: Vec<BucketHit> = self
            .agree
            .iter()
            .map(|(visitor, agree)| {
                let p = chance(bucket_tail(self.pages, *agree, self.forms).ln());
                let adjusted = (p * visitors.max(1) as f64).min(1.0);
                BucketHit { visitor: *visitor, pages: self.pages, agree: *agree, p, adjusted }
            })
            .filter(|hit| hit.adjusted <= INCONCLUSIVE)
            .collect();
        hits.sort_by_key(|hit| (std::cmp::Reverse(hit.agree), hit.visitor));
        if hits.first().is_some_and(|hit| hit.adjusted <= TRACED) {
            hits.retain(|hit| hit.adjusted <= TRACED);
        } else {
            hits.truncate(SHORTLIST);
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_pages_of_64_forms_name_one_of_a_million() {
        let named = |pages: usize| {
            let mut buckets = Buckets::new(64);
            (0..pages).for_each(|page| buckets.add_page([7, 7, 1_000 + page as u64]));
            buckets.finish(1_000_000)
        };
        assert!(named(9)[0].adjusted <= TRACED && named(9).len() == 1);
        assert!(named(8)[0].adjusted > TRACED && named(8).len() == 1, "a short list of one");
        assert!(named(3).is_empty());
    }

    #[test]
    fn tails_of_buckets() {
        assert!((bucket_tail(10, 0, 64) - 1.0).abs() < 1e-12 && (bucket_tail(10, 10, 1) - 1.0).abs() < 1e-12);
        assert!((bucket_tail(2, 2, 2) - 0.25).abs() < 1e-12 && (bucket_tail(2, 1, 2) - 0.75).abs() < 1e-12);
        assert!(bucket_tail(3, 4, 64) < f64::MIN_POSITIVE);
    }
}
