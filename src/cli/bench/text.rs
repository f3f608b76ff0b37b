//! The report of `deckle bench` for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Places, Report};
use crate::cli::output::clean;
use crate::unit::grouped;

/// A line of the table.
struct Row {
    name: &'static str,
    /// Nanoseconds; `None`: there is no such answer.
    time: Option<u64>,
    /// Bytes that come out.
    bytes: Option<u64>,
    /// The time of a peer, and its name.
    peer: Option<(Option<u64>, &'static str)>,
}

impl Row {
    fn new(name: &'static str, time: Option<u64>) -> Self {
        Self { name, time, bytes: None, peer: None }
    }

    fn bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    fn peer(self, time: Option<u64>, name: &'static str) -> Self {
        Self { peer: Some((time, name)), ..self }
    }
}

pub(super) fn text(report: &Report) -> String {
    let mut out = format!("{}\n", clean(&report.address));
    let source = report.bytes.source as u64;
    let _ = writeln!(out, "{} bytes; medians of {} rounds on one core\n", grouped(source, ','), report.rounds);
    let carriers = if report.carriers.is_empty() { "none".to_owned() } else { report.carriers.join(" ") };
    let _ = writeln!(out, "places    {}\nin a copy {carriers}\n", places(&report.places));
    let _ = writeln!(out, "{:<34} {:>10} {:>7} {:>10}  beside", "", "time", "MB/s", "bytes");
    for row in rows(report) {
        let _ = writeln!(out, "{}", line(&row, source).trim_end());
    }
    let packed = match &report.packed {
        Some(packed) => format!(
            "A plan with its packed form takes {} bytes of memory. Figures of that form are medians of {} rounds.",
            grouped(packed.held_bytes as u64, ','),
            packed.rounds
        ),
        None => "It is not packed: docs/packed.md says which pages are.".to_owned(),
    };
    let _ = writeln!(out, "\n{packed}");
    out
}

fn rows(report: &Report) -> Vec<Row> {
    let (times, bytes) = (&report.nanoseconds, &report.bytes);
    let marked = bytes.marked as u64;
    let mut rows = vec![
        Row::new("lol_html alone, two handlers", times.plain_pass),
        Row::new("first sight: scan and splice", times.first_sight).bytes(marked).peer(times.plain_pass, "lol_html"),
        Row::new("a copy in memory", times.copy),
        Row::new("known page: compare and splice", times.known).bytes(marked).peer(times.copy, "a copy"),
        Row::new("gzip 1 of the marked page", times.gzip_1).bytes(bytes.gzip_1 as u64),
        Row::new("gzip 6 of the marked page", times.gzip_6).bytes(bytes.gzip_6 as u64),
        Row::new("lol_html alone and gzip 6", times.plain_pass_gzip_6),
        Row::new("first sight and gzip 6", times.first_sight_gzip_6)
            .peer(times.plain_pass_gzip_6, "lol_html and gzip 6"),
        Row::new("known page and gzip 6", times.known_gzip_6).peer(times.gzip_6, "gzip 6"),
    ];
    if let Some(packed) = &report.packed {
        let (full, quick, gzip) = (packed.full_bytes, packed.quick_bytes, Some(packed.gzip_6_ns));
        rows.extend([
            Row::new("gzip 6 of the copy that is packed", gzip).bytes(packed.gzip_6_bytes as u64),
            Row::new("packed form, made quickly", Some(packed.quick_ns)).bytes(quick).peer(gzip, "gzip 6"),
            Row::new("packed form, made fully", Some(packed.full_ns)).bytes(full).peer(gzip, "gzip 6"),
            Row::new("packed form, the body of a copy", Some(packed.patch_ns))
                .peer(times.known_gzip_6, "known page and gzip 6"),
            Row::new("known page in its packed form", Some(packed.answer_ns))
                .peer(times.known_gzip_6, "known page and gzip 6"),
        ]);
    }
    rows
}

fn line(row: &Row, source: u64) -> String {
    let Some(time) = row.time else { return format!("{:<34} not remembered: it is another one each time", row.name) };
    let ratio = |peer: u64| time as f64 / peer.max(1) as f64;
    let peer = row.peer.and_then(|(peer, name)| Some(format!("{:.3} × {name}", ratio(peer?)))).unwrap_or_default();
    let bytes = row.bytes.map(|bytes| grouped(bytes, ',')).unwrap_or_default();
    // Bytes in a nanosecond are thousands of MB in a second.
    let speed = source as f64 * 1_000.0 / time.max(1) as f64;
    format!("{:<34} {:>10.1?} {speed:>7.0} {bytes:>10}  {peer}", row.name, Duration::from_nanos(time))
}

fn places(places: &Places) -> String {
    let all = [
        (places.fixed, "the same in all copies"),
        (places.gaps, "gaps between words"),
        (places.seals, "seals"),
        (places.spellings, "spellings"),
        (places.alternatives, "alternatives"),
        (places.tokens, "tokens"),
    ];
    let found = all.iter().filter(|(number, _)| *number > 0);
    found.map(|(number, name)| format!("{} {name}", grouped(*number as u64, ','))).collect::<Vec<_>>().join(", ")
}
