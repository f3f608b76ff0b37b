//! When.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Everybody, ROWS, time, title, visitor};
use crate::review::engine::Requests;
use crate::review::report::{PaceRow, SeriesRow, Times};

/// Steps of the series at most.
const STEPS: u32 = 168;
/// 1970-01-01 was a Thursday; weeks begin on Monday.
const FIRST_WEEKDAY: u32 = 3;

pub(super) fn times(everybody: &Everybody<'_>) -> Times {
    let hours = hours(everybody);
    let heat = heat(hours.iter().map(|(hour, [robots, others, _])| (*hour, robots + others)));
    let heat_automated = heat_of_automated(&hours);
    let (step_s, series) = series(&hours);
    Times { heat, heat_automated, step_s, series, pace: pace(everybody) }
}

/// By hour: declared robots, all others, and suspects among the others and among the robots.
fn hours(everybody: &Everybody<'_>) -> BTreeMap<u32, [u64; 3]> {
    let mut sums: BTreeMap<u32, [Requests; 2]> = BTreeMap::new();
    for (hour, counts) in everybody.counts.shards.iter().flat_map(|shard| &shard.tally.hours) {
        let of = sums.entry(*hour).or_default();
        of.iter_mut().zip(counts).for_each(|(sum, count)| *sum += *count);
    }
    let whole = |(hour, [robots, others]): (u32, [Requests; 2])| (hour, [robots.count(), others.count(), 0]);
    let mut hours: BTreeMap<u32, [u64; 3]> = sums.into_iter().map(whole).collect();
    // What robots say that they are is said already.
    for one in everybody.ranked.iter().filter(|one| !one.facts.category.is_declared_bot()) {
        for (hour, hits) in one.facts.hours() {
            hours.entry(hour).or_default()[2] += u64::from(hits);
        }
    }
    hours
}

fn heat(hours: impl Iterator<Item = (u32, u64)>) -> Vec<[u64; 24]> {
    let mut heat = vec![[0; 24]; 7];
    for (hour, hits) in hours {
        let (day, hour) = ((hour / 24 + FIRST_WEEKDAY) % 7, hour % 24);
        if let Some(cell) = heat.get_mut(day as usize).and_then(|day| day.get_mut(hour as usize)) {
            *cell += hits;
        }
    }
    heat
}

fn heat_of_automated(hours: &BTreeMap<u32, [u64; 3]>) -> Vec<[u64; 24]> {
    heat(hours.iter().map(|(hour, [robots, others, suspects])| (*hour, robots + suspects.min(others))))
}

fn series(hours: &BTreeMap<u32, [u64; 3]>) -> (u64, Vec<SeriesRow>) {
    let (Some((first, _)), Some((last, _))) = (hours.first_key_value(), hours.last_key_value()) else {
        return (3_600, Vec::new());
    };
    let step = (last - first + 1).div_ceil(STEPS).max(1);
    let mut rows = Vec::new();
    for start in (*first..=*last).step_by(step as usize) {
        let mut sums = [0u64; 3];
        for (_, counts) in hours.range(start..start.saturating_add(step)) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let [robots, others, suspects] = sums;
        let suspects = suspects.min(others);
        rows.push(SeriesRow {
            start: time(Duration::from_secs(u64::from(start) * 3_600)),
            people: others - suspects,
            robots,
            suspects,
        });
    }
    (u64::from(step) * 3_600, rows)
}

fn pace(everybody: &Everybody<'_>) -> Vec<PaceRow> {
    let rows = everybody.ranked.iter().take(ROWS).map(|one| {
        let (p50, p99, max) = one.facts.paces();
        PaceRow { visitor: visitor(one.facts), name: title(one.facts), p50, p99, max }
    });
    rows.collect()
}
