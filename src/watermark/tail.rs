//! The exact chance that an innocent mark agrees as well as one that was found.
//!
//! An innocent mark's bits are independent of what was observed. A column agrees with chance 1/4 or 3/4, depending on
//! its bias and the observed bit; agreements weigh 4 and 2. The score is then `4·Bin(n₁,¼) + 2·Bin(n₃,¾)`, and its
//! upper tail is summed exactly, in logarithms.

/// ln P(score ≥ `score`) for `rare` columns of chance 1/4 and `common` ones of chance 3/4.
pub(crate) fn ln_tail(rare: u32, common: u32, score: u32) -> f64 {
    let a = binomial(rare, 0.25);
    let b = binomial(common, 0.75);
    // ln P(second ≥ j), from the top.
    let mut above = vec![f64::NEG_INFINITY; common as usize + 2];
    for j in (0..=common as usize).rev() {
        above[j] = ln_add(above[j + 1], b[j]);
    }
    a.iter().enumerate().fold(f64::NEG_INFINITY, |total, (i, p)| {
        let missing = i64::from(score) - 4 * i as i64;
        let least = (missing.max(0) + 1) / 2;
        let tail = above.get(least as usize).copied().unwrap_or(f64::NEG_INFINITY);
        ln_add(total, p + tail)
    })
}

/// ln of the binomial probabilities.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let (ln_p, ln_q) = (p.ln(), (1.0 - p).ln());
    let mut ln_choose = 0.0;
    (0..=n)
        .map(|k| {
            if k > 0 {
                ln_choose += f64::from(n - k + 1).ln() - f64::from(k).ln();
            }
            ln_choose + f64::from(k) * ln_p + f64::from(n - k) * ln_q
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

    #[test]
    fn tails_are_exact() {
        // Without the columns of chance 1/2, which only other channels have.
        for (rare, common, score, expect) in [
            (4, 0, 16, 3.906_250e-3),
            (0, 8, 16, 1.001_129e-1),
            (10, 30, 88, 7.776_333e-6),
            (120, 360, 1_000, 4.531_600e-40),
        ] {
            let got = ln_tail(rare, common, score).exp();
            assert!((got / expect - 1.0).abs() < 1e-6, "{rare} {common} {score}: {got:e}");
        }
        assert!((ln_tail(5, 5, 0)).abs() < 1e-12);
        assert!(ln_tail(1, 1, 7).is_infinite());
    }
}
