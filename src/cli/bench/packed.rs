//! The form of a page that is compressed once and marked in its compressed bytes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::stage::Stage;
use super::{bare, median, time};
use crate::clock::{Clock, SystemClock};
use crate::page::packed::{self, COLUMNS, Effort, Marks, SEAL_SYMBOLS, Template, pack};

/// So often two readers ask for the page, one after the other: then it is packed with effort `Full`.
const SIGHTS: usize = 24;
/// Packing takes long: fewer rounds than for the rest.
const FEWEST_ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);
/// Copies that are timed together: a single one takes no longer than looking at the clock.
const COPIES: u32 = 16;

/// What the packed form of a page costs. Times are medians, in nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct Packed {
    pub(super) rounds: usize,
    /// Bytes of one copy at level 6 of gzip.
    pub(super) gzip_6_bytes: usize,
    /// Compressed bytes of the quick effort; the same for every copy.
    pub(super) quick_bytes: u64,
    /// The same of the full effort.
    pub(super) full_bytes: u64,
    /// Level 6 of gzip on that copy, by turns with the others.
    pub(super) gzip_6_ns: u64,
    /// To make the packed form, quick.
    pub(super) quick_ns: u64,
    /// The same, full.
    pub(super) full_ns: u64,
    /// To make the body of one copy of it.
    pub(super) patch_ns: u64,
    /// The whole page stage with such a body: compare the source, then patch.
    pub(super) answer_ns: u64,
    /// Bytes of memory that a plan with its packed form takes, full effort.
    pub(super) held_bytes: usize,
}

/// One round.
struct Times {
    gzip_6: u64,
    quick: u64,
    full: u64,
    patch: u64,
    answer: u64,
}

/// Figures of the packed form of the page in `stage`, of so many rounds at most; `None`: it is not packed.
pub(super) fn figures(stage: &Stage<'_>, rounds: usize) -> anyhow::Result<Option<Packed>> {
    let layer = stage.layer(true)?;
    // What is packed beside the answers is waited for, so that each answer finds what the ones before it have asked for.
    for _ in 0..SIGHTS / 2 {
        for prepared in [stage.prepare("gzip"), stage.prepare_other("gzip")] {
            stage.run(&layer, prepared, |_| {})?;
            layer.settle();
        }
    }
    let Some(plan) = layer.packed_plan(&stage.source) else { return Ok(None) };
    let (template, marks) = (&plan.template, random_marks(&plan.template));
    let (copy, quick, full) = (template.splice(&marks), pack(template, Effort::Quick)?, pack(template, Effort::Full)?);
    let (quick, full) = (Arc::new(quick), Arc::new(full));
    let [quick_bytes, full_bytes] = [&quick, &full].map(|page| page.body(marks.clone()).remaining());
    let clock = SystemClock::new();
    let mut samples = Vec::with_capacity(rounds);
    while samples.len() < rounds && (samples.len() < FEWEST_ROUNDS || clock.elapsed() < PATIENCE) {
        let prepared = stage.prepare("gzip");
        samples.push(Times {
            gzip_6: time(&clock, || bare::gzip(&copy, 6))?,
            quick: time(&clock, || Ok(pack(template, Effort::Quick)?))?,
            full: time(&clock, || Ok(pack(template, Effort::Full)?))?,
            patch: patch(&clock, &full, &marks)?,
            answer: time(&clock, || stage.run(&layer, prepared, |piece| _ = black_box(piece.len())))?,
        });
    }
    let middle = |of: fn(&Times) -> u64| median(samples.iter().map(of).collect()).unwrap_or_default();
    Ok(Some(Packed {
        rounds: samples.len(),
        gzip_6_bytes: bare::gzip(&copy, 6)?.len(),
        quick_bytes,
        full_bytes,
        gzip_6_ns: middle(|times| times.gzip_6),
        quick_ns: middle(|times| times.quick),
        full_ns: middle(|times| times.full),
        patch_ns: middle(|times| times.patch),
        answer_ns: middle(|times| times.answer),
        held_bytes: plan.bytes,
    }))
}

/// Nanoseconds of one copy, its memory taken and let go.
fn patch(clock: &SystemClock, page: &Arc<packed::Packed>, marks: &Marks) -> anyhow::Result<u64> {
    let all = time(clock, || {
        for _ in 0..COPIES {
            page.body(marks.clone()).for_each(|piece| drop(black_box(piece)));
        }
        Ok(())
    })?;
    Ok(all / u64::from(COPIES))
}

/// The mark of a copy, with random letters where each answer has its own.
fn random_marks(template: &Template) -> Marks {
    let choices = template.choices.iter().map(|_| fastrand::u8(..2)).collect();
    let volatile = template.volatile.iter().cloned().flatten().map(|_| fastrand::u8(b'a'..=b'z')).collect();
    let row = Arc::new(std::array::from_fn::<u64, { COLUMNS / 64 }, _>(|_| fastrand::u64(..)));
    let seal = std::array::from_fn::<u8, SEAL_SYMBOLS, _>(|_| fastrand::u8(..8));
    Marks { row, seal, nonce: None, choices, volatile }
}
