//! The exact chance that an innocent mark agrees as well as one that was found.
//!
//! An innocent mark's bits are independent of what was observed. A column agrees with chance 1/4, 1/2 or 3/4, depending
//! on its bias and the observed bit; agreements weigh 4, 3 and 2. The score is then
//! `4·Bin(n₁,¼) + 3·Bin(n₂,½) + 2·Bin(n₃,¾)`, and its upper tail is summed exactly, in logarithms: these chances become
//! smaller than a float can be.

use std::ops::Add;

/// How many columns agree by accident with which chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Mix {
    /// 1/4.
    pub(super) rare: u32,
    /// 1/2.
    pub(super) even: u32,
    /// 3/4.
    pub(super) common: u32,
}

impl Mix {
    /// Columns.
    pub(super) fn live(self) -> u32 {
        self.rare + self.even + self.common
    }

    /// ln of the chance that all of them agree: no score is less likely.
    pub(super) fn ln_least(self) -> f64 {
        f64::from(self.rare) * 0.25f64.ln() + f64::from(self.even) * 0.5f64.ln() + f64::from(self.common) * 0.75f64.ln()
    }
}

impl Add for Mix {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rare: self.rare + other.rare, even: self.even + other.even, common: self.common + other.common }
    }
}

/// The distribution of the score over one mix.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// ln of the chance of each number of rare agreements.
    rare: Vec<f64>,
    /// ln of the chance that the other columns score so much or more.
    others: Vec<f64>,
}

impl Tail {
    pub(super) fn new(mix: Mix) -> Self {
        let (even, common) = (binomial(mix.even, 0.5), binomial(mix.common, 0.75));
        let mut others = vec![f64::NEG_INFINITY; 3 * mix.even as usize + 2 * mix.common as usize + 1];
        for (agree, even) in even.iter().enumerate() {
            for (chance, common) in others.iter_mut().skip(3 * agree).step_by(2).zip(&common) {
                *chance = ln_add(*chance, even + common);
            }
        }
        let mut above = f64::NEG_INFINITY;
        for chance in others.iter_mut().rev() {
            above = ln_add(above, *chance);
            *chance = above;
        }
        Self { rare: binomial(mix.rare, 0.25), others }
    }

    /// ln P(score ≥ `score`).
    pub(super) fn ln(&self, score: u32) -> f64 {
        let terms = || {
            self.rare.iter().enumerate().map(|(agree, rare)| {
                let missing = (score as usize).saturating_sub(4 * agree);
                rare + self.others.get(missing).copied().unwrap_or(f64::NEG_INFINITY)
            })
        };
        let most = terms().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return most;
        }
        (most + terms().map(|term| (term - most).exp()).sum::<f64>().ln()).min(0.0)
    }
}

/// A chance as it is printed: never zero, for nothing here is impossible.
pub(super) fn chance(ln_p: f64) -> f64 {
    ln_p.exp().clamp(f64::MIN_POSITIVE, 1.0)
}

/// ln of the chances of 0, 1, … n agreements.
pub(super) fn binomial(n: u32, p: f64) -> Vec<f64> {
    let (ln_p, ln_q) = (p.ln(), (1.0 - p).ln());
    // Thousands of terms are added: what a sum loses to rounding is kept beside it.
    let (mut ln_choose, mut lost) = (0.0f64, 0.0f64);
    (0..=n)
        .map(|k| {
            if k > 0 {
                let term = (f64::from(n - k + 1) / f64::from(k)).ln();
                let sum = ln_choose + term;
                lost += if ln_choose.abs() >= term.abs() { ln_choose - sum + term } else { term - sum + ln_choose };
                ln_choose = sum;
            }
            ln_choose + lost + f64::from(k) * ln_p + f64::from(n - k) * ln_q
        })
        .collect()
}

fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(rare: u32, even: u32, common: u32, score: u32) -> f64 {
        Tail::new(Mix { rare, even, common }).ln(score).exp()
    }

    #[test]
    fn tails_are_those_of_the_reference() {
        for (rare, even, common, score, expect) in [
            (4, 0, 0, 16, 3.906_250e-3),
            (0, 10, 0, 30, 9.765_625e-4),
            (0, 0, 8, 16, 1.001_129e-1),
            (10, 0, 30, 88, 7.776_333e-6),
            (10, 14, 30, 142, 1.039_485e-14),
            (10, 14, 30, 120, 1.079_279e-6),
            (120, 0, 360, 1_000, 4.531_600e-40),
        ] {
            let got = tail(rare, even, common, score);
            assert!((got / expect - 1.0).abs() < 1e-6, "{rare} {even} {common} {score}: {got:e}");
        }
        assert!((tail(5, 5, 5, 0) - 1.0).abs() < 1e-12 && (tail(0, 0, 0, 0) - 1.0).abs() < 1e-12);
        assert!(Tail::new(Mix { rare: 1, even: 1, common: 1 }).ln(10).is_infinite());
    }

    /// The counts of all cases, over 4^(rare + common) · 2^even.
    fn exact(mix: Mix, score: u32) -> f64 {
        let ways = |n: u32, weight: u128, of_agreement: bool| -> Vec<u128> {
            let mut choose = 1u128;
            (0..=n)
                .map(|k| {
                    if k > 0 {
                        choose = choose * u128::from(n - k + 1) / u128::from(k);
                    }
                    choose * weight.pow(if of_agreement { k } else { n - k })
                })
                .collect()
        };
        let (rare, even, common) = (ways(mix.rare, 3, false), ways(mix.even, 1, true), ways(mix.common, 3, true));
        let mut sum = 0u128;
        for (i, a) in (0u32..).zip(&rare) {
            for (j, b) in (0u32..).zip(&even) {
                for (k, c) in (0u32..).zip(&common) {
                    sum += if 4 * i + 3 * j + 2 * k >= score { a * b * c } else { 0 };
                }
            }
        }
        sum as f64 / 2f64.powi((2 * (mix.rare + mix.common) + mix.even) as i32)
    }

    #[test]
    fn tails_are_exact() {
        for (rare, even, common) in
            [(0, 0, 1), (1, 1, 1), (7, 0, 13), (0, 20, 0), (5, 9, 17), (15, 14, 30), (20, 0, 32)]
        {
            let mix = Mix { rare, even, common };
            let tail = Tail::new(mix);
            let most = 4 * rare + 3 * even + 2 * common;
            for score in 0..=most {
                let (got, expect) = (tail.ln(score).exp(), exact(mix, score));
                assert!((got / expect - 1.0).abs() < 1e-9, "{mix:?} {score}: {got:e} {expect:e}");
            }
            assert!((tail.ln(most) - mix.ln_least()).abs() < 1e-9);
        }
    }

    /// Sums of whole numbers of any length, in Python.
    #[test]
    fn long_tails_are_exact() {
        for (rare, even, common, score, ln) in [
            (120, 0, 360, 1_000, -90.592_328_559_646),
            (120, 14, 360, 1_000, -76.657_681_643_563_14),
            (150, 0, 450, 1_400, -214.406_374_326_236_7),
            (300, 80, 900, 2_500, -149.039_702_268_974_4),
            (650, 0, 1_950, 5_000, -285.805_806_677_555_6),
            (100, 512, 300, 2_300, -319.610_509_533_703_63),
        ] {
            let got = Tail::new(Mix { rare, even, common }).ln(score);
            // The difference of logarithms is the relative error.
            assert!((got - ln).abs() < 1e-9, "{rare} {even} {common} {score}: {got}");
        }
    }
}
