//! Fuzz targets as a plain program: random inputs out of the words that matter to a parser, and a check for each that
//! must hold whatever comes in.
//!
//! `cargo run --release --features full --example fuzz -- TARGET [SECONDS | NUMBERx]`; without a target all of them. A
//! failure prints the seed of its input; `DECKLE`'s own tests hold what was found.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../benches/chunks.rs"]
mod chunks;
mod copies;
mod generate;
#[cfg(feature = "web-bot-auth")]
mod identity;
#[cfg(feature = "proxy")]
mod logs;
#[allow(dead_code, reason = "a server needs more of it than is tried here")]
#[path = "../src/page/packed/mod.rs"]
mod packed;
mod packing;
mod targets;
#[path = "../tests/it/undo.rs"]
mod undo;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs one input out of this generator.
type Input = dyn FnMut(&mut fastrand::Rng);
/// Makes what runs inputs.
type Target = fn() -> Box<Input>;

/// No input takes longer. Twice: the machine may have been busy.
const LONGEST: Duration = Duration::from_secs(1);

const TARGETS: &[(&str, Target)] = &[
    ("rewriter", targets::rewriter),
    ("plans", targets::plans),
    ("csp", targets::csp),
    ("entity-tags", targets::entity_tags),
    ("accept-encoding", targets::accept_encoding),
    ("forwarded", targets::forwarded),
    ("robots", targets::robots),
    ("content-usage", targets::content_usage),
    ("images", targets::images),
    ("copies", copies::copies),
    ("packed", packing::packed),
    #[cfg(feature = "proxy")]
    ("logs", logs::lines),
    #[cfg(feature = "proxy")]
    ("log-formats", logs::typed),
    #[cfg(feature = "web-bot-auth")]
    ("signatures", identity::signatures),
    #[cfg(feature = "web-bot-auth")]
    ("passes", identity::passes),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.first().filter(|name| TARGETS.iter().any(|(known, _)| known == name));
    let limit = arguments.last().filter(|last| Some(*last) != named).map_or("10", String::as_str);
    let (count, time) = match limit.strip_suffix('x') {
        Some(number) => (number.parse().unwrap(), Duration::MAX),
        None => (u64::MAX, Duration::from_secs(limit.parse().unwrap())),
    };
    let (failed, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| named.is_none_or(|n| n == name)).collect();
    // One core each: a target uses no more.
    let work = || {
        while let Some((name, target)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !run(name, *target, count, time) {
                failed.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    std::process::exit(i32::from(failed.into_inner()));
}

fn run(name: &str, target: Target, count: u64, time: Duration) -> bool {
    let (mut target, start) = (target(), Instant::now());
    // Other inputs each time, and each can be had again.
    let first = fastrand::u64(..);
    let mut done = 0;
    while done < count && (done % 64 != 0 || start.elapsed() < time) {
        let seed = first.wrapping_add(done);
        let is_slow = |took: Option<Duration>| took.is_some_and(|took| took > LONGEST);
        let took = one(target.as_mut(), seed);
        if took.is_none() || (is_slow(took) && is_slow(one(target.as_mut(), seed))) {
            println!("{name}: {}, seed {seed}", if took.is_none() { "FAILED" } else { "TOO SLOW" });
            return false;
        }
        done += 1;
    }
    println!("{name}: {done} inputs in {:.0?}, no fault", start.elapsed());
    true
}

/// How long it took; `None`: it panicked.
fn one(target: &mut Input, seed: u64) -> Option<Duration> {
    let start = Instant::now();
    catch_unwind(AssertUnwindSafe(|| target(&mut fastrand::Rng::with_seed(seed)))).ok()?;
    Some(start.elapsed())
}
