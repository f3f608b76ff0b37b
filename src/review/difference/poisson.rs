//! Have two counts come from the same rate? The exact conditional test.
//!
//! If both are Poisson, the newer count, given the sum of the two, is binomial, with the share of its length of time in
//! both (J. Przyborowski and H. Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31
//! (1940), 313–323). Computed with logarithms, so that no count is too large.

/// The probability of counts at least so far apart, in either direction, when the rate is the same. Lengths are positive.
pub(super) fn p_value(old: (u64, f64), new: (u64, f64)) -> f64 {
    let n = old.0.saturating_add(new.0);
    let share = new.1 / (old.1 + new.1);
    // The count that is above its mean: what lies beyond it gets smaller with each step.
    let is_above = new.0 as f64 >= n as f64 * share;
    let (count, share) = if is_above { (new.0, share) } else { (old.0, 1.0 - share) };
    let at = probability(n, count, share);
    let above = from_there_on(at, n, count, share);
    let below = 1.0 - above + at;
    (2.0 * above.min(below)).clamp(0.0, 1.0)
}

/// Binomial: so many of `n`.
fn probability(n: u64, count: u64, share: f64) -> f64 {
    let rest = n - count;
    let ways = ln_factorial(n) - ln_factorial(count) - ln_factorial(rest);
    // Of nothing, no part: 0 × ln 0 is 0.
    let part = |count: u64, share: f64| if count == 0 { 0.0 } else { count as f64 * share.ln() };
    (ways + part(count, share) + part(rest, 1.0 - share)).exp()
}

/// The sum of the probabilities from this count on.
fn from_there_on(first: f64, n: u64, count: u64, share: f64) -> f64 {
    let odds = share / (1.0 - share);
    let (mut sum, mut term) = (first, first);
    for count in count..n {
        term *= (n - count) as f64 / (count + 1) as f64 * odds;
        sum += term;
        if term <= sum * f64::EPSILON / 16.0 {
            break;
        }
    }
    sum
}

/// ln n!, by Stirling's series from where that is exact to the last digits.
fn ln_factorial(n: u64) -> f64 {
    if n < 32 {
        return (2..=n).map(|factor| (factor as f64).ln()).sum();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected.abs() * 1e-9
    }

    /// By exact fractions (Python's `fractions` and `math.comb`).
    #[test]
    fn p_values_are_those_of_exact_arithmetic() {
        for (old, new, expected) in [
            ((0, 1.0), (0, 1.0), 1.0),
            ((0, 1.0), (1, 1.0), 1.0),
            ((0, 1.0), (7, 1.0), 0.015_625),
            ((0, 1.0), (8, 1.0), 0.007_812_5),
            ((8, 1.0), (0, 1.0), 0.007_812_5),
            ((10, 1.0), (12, 1.0), 0.831_811_904_907_226_6),
            ((10, 1.0), (30, 1.0), 0.002_221_433_773_229_364_3),
            ((100, 7.0), (10, 1.0), 0.350_434_650_418_087_86),
            ((100, 7.0), (30, 1.0), 0.001_211_609_733_813_361_2),
            ((1_000, 7.0), (100, 1.0), 0.000_450_052_928_453_776_37),
            ((300, 7.0), (1, 1.0), 3.082_525_172_862_066e-16),
            ((5, 2.0), (9, 3.0), 0.971_709_185_064_96),
            ((2_000, 1.0), (2_200, 1.0), 0.002_132_355_671_991_234_6),
            ((1, 30.0), (3, 1.0), 0.000_262_040_603_299_762_53),
            ((40, 1.0), (41, 3.0), 3.932_257_458_829_609e-6),
        ] {
            let found = p_value(old, new);
            assert!(is_near(found, expected), "{old:?} {new:?}: {found}");
            let turned = p_value(new, old);
            assert!(is_near(turned, expected), "{new:?} {old:?}: {turned}");
        }
    }

    #[test]
    fn factorials_meet_where_the_series_begins() {
        for (n, expected) in
            [(0, 0.0), (5, 4.787_491_742_782_047), (31, 78.092_223_553_315_3), (32, 81.557_959_456_115_03)]
        {
            assert!((ln_factorial(n) - expected).abs() < 1e-12, "{n}");
        }
        assert!(is_near(ln_factorial(1_000), 5_912.128_178_488_163));
    }

    #[test]
    fn large_counts_are_no_trouble() {
        let million = 1_000_000_000;
        assert!(p_value((million, 1.0), (million, 1.0)) > 0.99);
        // Five standard deviations.
        let p = p_value((million, 1.0), (million + 223_607, 1.0));
        assert!((4e-7..8e-7).contains(&p), "{p}");
        assert!(p_value((million, 1.0), (2 * million, 1.0)) < 1e-300);
        assert!(p_value((u64::MAX, 1.0), (u64::MAX, 1.0)).is_finite());
    }
}
