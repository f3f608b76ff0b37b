//! Evidence to points to score: pure arithmetic.

use super::signals::{Group, Signal};

/// Half-life of the rate group, in milliseconds.
const RATE_HALF_LIFE: f32 = 300_000.0;

/// Most points of the behaviour group while nothing is hurried.
const UNHURRIED_BEHAVIOUR: f32 = 15.0;

/// Points after `elapsed_ms` of silence.
pub(crate) fn decay(points: f32, elapsed_ms: u64) -> f32 {
    points * (-(elapsed_ms as f32) / RATE_HALF_LIFE).exp2()
}

/// Rate points after a time and new events, capped.
pub(crate) fn add_rate(points: f32, elapsed_ms: u64, events: &[Signal]) -> f32 {
    let added: f32 = events.iter().map(|s| f32::from(s.weight())).sum();
    (decay(points, elapsed_ms) + added).min(Group::Rate.cap())
}

/// The points of the three groups.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Points {
    /// Claim, at most 60.
    pub claim: f32,
    /// Rate, at most 30.
    pub rate: f32,
    /// Behaviour, at most 50.
    pub behaviour: f32,
}

impl Points {
    /// Sums the level signals of the claim and behaviour groups and takes the decayed rate as it is.
    ///
    /// At a human pace and while the rate group is empty, behaviour counts 15 at most: a reader without images and
    /// scripts stays below every price and limit however long the visit.
    pub(crate) fn of(signals: &[Signal], rate: f32, hurried: bool) -> Self {
        let sum = |group: Group| -> f32 {
            let weights = signals.iter().filter(|s| s.group() == group).map(|s| f32::from(s.weight()));
            weights.fold(0.0, |total, weight| total + weight).min(group.cap())
        };
        let behaviour = sum(Group::Behaviour);
        let behaviour = if rate < 1.0 && !hurried { behaviour.min(UNHURRIED_BEHAVIOUR) } else { behaviour };
        Self { claim: sum(Group::Claim), rate, behaviour }
    }

    /// 0–100.
    pub fn score(&self) -> u8 {
        (self.claim + self.rate + self.behaviour).floor().clamp(0.0, 100.0) as u8
    }

    /// `group:points`, groups without points left out, in alphabetical order.
    pub fn codes(&self) -> Vec<String> {
        [(Group::Behaviour, self.behaviour), (Group::Claim, self.claim), (Group::Rate, self.rate)]
            .into_iter()
            .filter(|(_, points)| *points >= 1.0)
            .map(|(group, points)| format!("{}:{}", group.code(), points.floor() as u8))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Signal::{ArticleRun, ClaimHeadless, ClaimLibrary, NoAssets, PageHour, PageSoft};

    #[test]
    fn vectors() {
        #[rustfmt::skip]
        let table: [(&str, &[Signal], f32, u8); 7] = [
            ("a browser's first page", &[], 0.0, 0),
            ("python-requests, page 1", &[ClaimLibrary], 0.0, 25),
            ("the same, three refusals later", &[ClaimLibrary, ArticleRun], add_rate(0.0, 0, &[PageSoft; 3]), 51),
            ("a perfect browser that takes no assets", &[NoAssets, ArticleRun], 30.0, 58),
            ("headless, one page", &[ClaimHeadless], 0.0, 40),
            ("no images at a human pace", &[NoAssets, ArticleRun], 0.0, 15),
            ("everything at once", &[ClaimHeadless, ClaimLibrary, NoAssets, ArticleRun], 30.0, 100),
        ];
        for (name, signals, rate, score) in table {
            assert_eq!(Points::of(signals, rate, false).score(), score, "{name}");
        }
    }

    #[test]
    fn rate_points_are_capped_and_fade() {
        let full = add_rate(0.0, 0, &[PageSoft; 12]);
        assert!((full - 30.0).abs() < f32::EPSILON);
        assert!((decay(full, 600_000) - 7.5).abs() < 0.01);
        assert!(add_rate(full, 0, &[PageHour]) <= 30.0);
        assert_eq!(Points::of(&[], decay(full, 600_000), false).score(), 7);
    }
}
