//! `deckle bench`: what one page costs on this machine, beside the bare tools in the same run.

mod bare;
mod packed;
mod stage;
mod text;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use super::fetch::Document;
use super::output::{self, Exit};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::page::{ProtectLayer, Rewrite};
use crate::slot::{Edit, Slot, What};
use packed::Packed;
use stage::Stage;

/// Rounds of which the medians are; fewer for a page that takes long.
const ROUNDS: usize = 31;
const FEWEST_ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
#[command(
    after_help = "Fetches the page once. Then all is measured in this process, on one core, with nobody else: what a proxy and
its sockets cost comes on top. The parts take turns, and the medians are told: compare them within one run, not across runs.
Exit codes: 0 measured; 2 usage, no such page, or one that deckle leaves alone.

Examples:
  deckle bench https://news.example/2026/11/a-story
  deckle bench --config deckle.toml --json https://news.example/
  deckle bench saved.html"
)]
pub(super) struct BenchArgs {
    /// Address of a page, or an HTML file.
    #[arg(value_name = "URL|FILE")]
    page: String,
    /// Configuration file: how is the page changed?
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The whole report; `--json` prints it as it is.
#[derive(Debug, Serialize)]
struct Report {
    schema_version: u32,
    address: String,
    rounds: usize,
    places: Places,
    /// Places that carry the mark of one copy, as the log has them.
    carriers: Vec<String>,
    bytes: Sizes,
    nanoseconds: Times,
    /// `None`: the page is not packed.
    packed: Option<Packed>,
}

/// Places of the page that are changed, or may be.
#[derive(Debug, Default, Serialize)]
struct Places {
    /// The same in all copies.
    fixed: usize,
    /// White space between words.
    gaps: usize,
    /// Ends of blocks.
    seals: usize,
    /// Characters with two spellings.
    spellings: usize,
    /// Alternatives of the author.
    alternatives: usize,
    /// Tags that hold the whole mark.
    tokens: usize,
}

impl Places {
    fn of(edits: &[Edit]) -> Self {
        let mut places = Self::default();
        for edit in edits {
            match edit.what {
                What::Fixed(_) => places.fixed += 1,
                What::Choice(Slot::Gap { .. }) => places.gaps += 1,
                What::Choice(Slot::Seal) => places.seals += 1,
                What::Choice(Slot::Form { .. }) => places.spellings += 1,
                What::Choice(Slot::Variant { .. }) => places.alternatives += 1,
                What::Choice(Slot::Token(_)) => places.tokens += 1,
                // The one belongs to its seal; the other is no mark.
                What::Choice(Slot::Trim | Slot::Fill(_)) => {}
            }
        }
        places
    }
}

/// Bytes of a body.
#[derive(Debug, Serialize)]
struct Sizes {
    source: usize,
    marked: usize,
    /// Of the marked page.
    gzip_1: usize,
    gzip_6: usize,
}

/// Medians; `None`: this page is not remembered, because it is another one each time.
#[derive(Debug, Serialize)]
struct Times {
    /// lol_html with two handlers that change nothing.
    plain_pass: Option<u64>,
    /// Scan and splice.
    first_sight: Option<u64>,
    /// The bytes of the source into new memory.
    copy: Option<u64>,
    /// Compare and splice.
    known: Option<u64>,
    /// Of the marked page, and nothing else.
    gzip_1: Option<u64>,
    gzip_6: Option<u64>,
    /// As above, and gzip at level 6.
    plain_pass_gzip_6: Option<u64>,
    first_sight_gzip_6: Option<u64>,
    known_gzip_6: Option<u64>,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let config = match &args.config {
        Some(path) => Config::from_path(path)?,
        None => Config::from_env()?,
    };
    let report = measure(&config, &args.page, ROUNDS)?;
    if args.json {
        output::print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        output::print(&text::text(&report))?;
    }
    Ok(Exit::Done)
}

fn measure(config: &Config, page: &str, wanted: usize) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let document = runtime.block_on(Document::of(page))?;
    if !document.status.is_success() {
        bail!("{page}: {}", document.status);
    }
    let stage = Stage::new(config, runtime, &document)?;
    let (first, known) = (stage.layer(false)?, stage.layer(true)?);
    let identity = |layer: &ProtectLayer| stage.run(layer, stage.prepare("identity"), |_| {});
    // The end of the first answer tells what a mark needs to know; behind the second one there is a plan.
    for layer in [&first, &first, &known, &known, &known] {
        identity(layer)?;
    }
    let mut marked = Vec::with_capacity(stage.source.len());
    let facts = stage.run(&known, stage.prepare("identity"), |piece| marked.extend_from_slice(piece))?.facts();
    if let (Rewrite::Skipped | Rewrite::Headers, Some(skip)) = (facts.rewrite, facts.skip) {
        bail!("{page} is left alone: {}", super::doctor::meaning(skip.code()));
    }
    let bench = Bench { stage: &stage, first, known: Some(known).filter(|_| facts.known), marked: &marked };
    let (rounds, nanoseconds) = bench.all(wanted)?;
    Ok(Report {
        schema_version: 1,
        address: page.to_owned(),
        rounds,
        places: Places::of(&bench.first.edits(&stage.source, stage.content_type())),
        carriers: facts.carriers.codes(),
        bytes: Sizes {
            source: stage.source.len(),
            marked: marked.len(),
            gzip_1: bare::gzip(&marked, 1)?.len(),
            gzip_6: bare::gzip(&marked, 6)?.len(),
        },
        nanoseconds,
        packed: packed::figures(&stage, wanted)?,
    })
}

/// The works that take turns, so that whatever else the machine does meets all of them.
struct Bench<'a> {
    stage: &'a Stage<'a>,
    first: ProtectLayer,
    /// Remembers the page; `None`: nothing would.
    known: Option<ProtectLayer>,
    marked: &'a [u8],
}

impl Bench<'_> {
    /// How many rounds there were, and the medians.
    fn all(&self, rounds: usize) -> anyhow::Result<(usize, Times)> {
        let clock = SystemClock::new();
        let mut samples: Vec<Times> = Vec::with_capacity(rounds);
        while samples.len() < rounds && (samples.len() < FEWEST_ROUNDS || clock.elapsed() < PATIENCE) {
            samples.push(self.round(&clock)?);
        }
        let middle = |of: fn(&Times) -> Option<u64>| median(samples.iter().filter_map(of).collect());
        let times = Times {
            plain_pass: middle(|times| times.plain_pass),
            first_sight: middle(|times| times.first_sight),
            copy: middle(|times| times.copy),
            known: middle(|times| times.known),
            gzip_1: middle(|times| times.gzip_1),
            gzip_6: middle(|times| times.gzip_6),
            plain_pass_gzip_6: middle(|times| times.plain_pass_gzip_6),
            first_sight_gzip_6: middle(|times| times.first_sight_gzip_6),
            known_gzip_6: middle(|times| times.known_gzip_6),
        };
        Ok((samples.len(), times))
    }

    fn round(&self, clock: &SystemClock) -> anyhow::Result<Times> {
        let (pieces, source) = (&self.stage.pieces, &self.stage.source);
        let pass = |layer: &ProtectLayer, coding: &'static str| {
            let prepared = self.stage.prepare(coding);
            time(clock, || self.stage.run(layer, prepared, |piece| _ = black_box(piece.len())))
        };
        let known = |coding| self.known.as_ref().map(|layer| pass(layer, coding)).transpose();
        Ok(Times {
            plain_pass: Some(time(clock, || bare::plain_pass(pieces, |piece| _ = black_box(piece.len())))?),
            first_sight: Some(pass(&self.first, "identity")?),
            copy: Some(time(clock, || Ok(black_box(source).to_vec()))?),
            known: known("identity")?,
            gzip_1: Some(time(clock, || bare::gzip(self.marked, 1))?),
            gzip_6: Some(time(clock, || bare::gzip(self.marked, 6))?),
            plain_pass_gzip_6: Some(time(clock, || {
                let mut out = Vec::with_capacity(source.len());
                bare::plain_pass(pieces, |piece| out.extend_from_slice(piece))?;
                bare::gzip(&out, 6)
            })?),
            first_sight_gzip_6: Some(pass(&self.first, "gzip")?),
            known_gzip_6: known("gzip")?,
        })
    }
}

/// Nanoseconds of the work; what it leaves is let go afterwards.
fn time<T>(clock: &SystemClock, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<u64> {
    let start = clock.elapsed();
    let _done = black_box(work()?);
    Ok(clock.elapsed().saturating_sub(start).as_nanos() as u64)
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::Whitespace;

    /// Writes a page and measures it in two rounds.
    fn bench(name: &str, page: &str, config: &Config) -> anyhow::Result<Report> {
        let file = std::env::temp_dir().join(format!("deckle-bench-{}-{name}.html", std::process::id()));
        std::fs::write(&file, page).unwrap();
        let report = measure(config, &file.display().to_string(), 2);
        std::fs::remove_file(file).unwrap();
        report
    }

    fn article() -> String {
        let words =
            "<p>The committee said on Monday that it would not publish the full report before the year is over.</p>\n";
        let words = words.repeat(100);
        format!(
            "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article>{words}</article></body></html>"
        )
    }

    #[test]
    fn an_article_is_measured_new_and_known() {
        let mut config = Config::default();
        config.watermark.channels.whitespace = Whitespace::Always;
        let page = article();
        let report = bench("article", &page, &config).unwrap();
        assert_eq!((report.rounds, report.places.seals), (2, 60), "as many seals as a page may have");
        // Seventeen gaps a paragraph, of which those beside its ends have too few words around them.
        assert!((1_000..=1_700).contains(&report.places.gaps) && report.places.fixed >= 1, "{:?}", report.places);
        assert!(report.carriers.contains(&"s:60".to_owned()), "{:?}", report.carriers);
        let (bytes, times) = (&report.bytes, &report.nanoseconds);
        assert_eq!(bytes.source, page.len());
        assert!(bytes.marked > bytes.source && bytes.gzip_6 < bytes.gzip_1 && bytes.gzip_1 < bytes.source, "{bytes:?}");
        assert!([times.plain_pass, times.first_sight, times.copy, times.gzip_1].iter().all(|time| *time > Some(0)));
        assert!(times.known > Some(0) && times.known_gzip_6 > Some(0), "it is known: {times:?}");
        let text = text::text(&report);
        assert!(
            text.contains("60 seals") && text.contains(" × a copy") && text.contains("packed form, made fully"),
            "{text}"
        );
    }

    #[test]
    fn the_packed_form_is_measured_as_it_leaves() {
        let mut config = Config::default();
        config.watermark.channels.whitespace = Whitespace::Always;
        let report = bench("packed", &article(), &config).unwrap();
        let packed = report.packed.as_ref().unwrap();
        assert_eq!(packed.rounds, 2);
        // A copy of this page: it compresses as the one that left.
        assert!(packed.gzip_6_bytes.abs_diff(report.bytes.gzip_6) < report.bytes.gzip_6 / 4, "{packed:?}");
        let gzip = packed.gzip_6_bytes as u64;
        assert!([packed.quick_bytes, packed.full_bytes].iter().all(|bytes| (gzip / 2..gzip * 2).contains(bytes)));
        assert!(packed.held_bytes as u64 > packed.full_bytes, "{packed:?}");
        let times = [packed.gzip_6_ns, packed.quick_ns, packed.full_ns, packed.patch_ns, packed.answer_ns];
        assert!(times.iter().all(|time| *time > 0), "{packed:?}");
        config.page.packed = false;
        let report = bench("unpacked", &article(), &config).unwrap();
        assert!(report.packed.is_none() && report.nanoseconds.known.is_some());
        assert!(text::text(&report).contains("It is not packed"));
    }

    #[test]
    fn a_page_that_is_another_one_each_time_is_never_known() {
        let mut config = Config::default();
        config.page.length_jitter = true;
        let report = bench("jitter", &article(), &config).unwrap();
        assert!(report.nanoseconds.first_sight.is_some() && report.nanoseconds.known.is_none());
        assert!(text::text(&report).contains("another one each time"));
    }

    #[test]
    fn what_deckle_leaves_alone_is_an_error_that_says_why() {
        let config = Config::default();
        let error = bench("text", "no markup at all", &config).unwrap_err().to_string();
        assert!(error.ends_with("it does not begin with a tag"), "{error}");
        assert!(measure(&config, "/nowhere/at/all.html", 2).is_err());
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(Vec::new()), None);
    }
}
