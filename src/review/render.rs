//! The report for a terminal: one screen, widths kept, nothing hidden in it.

use super::reports::{Report, Suspect};
use crate::audit::is_hidden;

/// Suspects on one screen.
const SHOWN: usize = 5;

/// The report as text of at most `width` columns.
pub fn terminal(report: &Report, width: usize) -> String {
    let width = width.clamp(60, 200);
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&cut(text, width));
        out.push('\n');
    };
    let verdict = &report.verdict;
    line(&format!("deckle review   {} to {}", verdict.first, verdict.last));
    line(&format!(
        "{} visitors, {} suspected scrapers with {:.0} % of all requests; they took {} of {} articles.",
        verdict.visitors,
        verdict.suspects,
        verdict.suspect_share * 100.0,
        verdict.articles_taken,
        verdict.articles_seen
    ));
    line("");
    line("SUSPECTED SCRAPERS");
    if report.suspects.is_empty() {
        line("  none");
    }
    for (rank, suspect) in report.suspects.iter().take(SHOWN).enumerate() {
        for text in suspect_lines(rank + 1, suspect, width) {
            line(&text);
        }
    }
    if report.suspects.len() > SHOWN {
        line(&format!("  and {} more (--json has them all)", report.suspects.len() - SHOWN));
    }
    line("");
    line("AGENTS BY CATEGORY        visitors       hits        bytes");
    for row in report.agents.iter().take(8) {
        line(&format!("  {:<22} {:>9} {:>10} {:>12}", row.category, row.visitors, row.hits, size(row.bytes)));
    }
    line("");
    line("CONTENT TAKEN             suspects   visitors");
    for row in report.content.iter().take(5) {
        line(&format!("  {:<22} {:>9} {:>10}   {}", "", row.suspects, row.visitors, clean(&row.path)));
    }
    line("");
    let quality = &report.quality;
    let skipped: Vec<String> = quality.skipped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.join(", ") };
    line(&format!(
        "DATA  {} lines, {} hits, skipped: {skipped}; records dropped by the writer: {}",
        quality.lines, quality.hits, quality.dropped
    ));
    if quality.not_kept > 0 {
        line(&format!("      {} hits belong to visitors beyond the most that are kept apart", quality.not_kept));
    }
    out
}

fn suspect_lines(rank: usize, suspect: &Suspect, width: usize) -> Vec<String> {
    let name = suspect.agent.as_deref().or(suspect.user_agent.as_deref()).unwrap_or("(no user agent)");
    let done = match (&suspect.action, &suspect.would_action) {
        (Some(action), Some(would)) => format!("   {action}, would {would}"),
        (Some(action), None) => format!("   {action}"),
        _ => String::new(),
    };
    let mut lines = vec![
        format!("{rank:>3}. {}   {}   {}", clean(name), clean(&suspect.address), suspect.category),
        format!(
            "     score {}   {} hits, {} articles, {}{done}",
            suspect.score,
            suspect.hits,
            suspect.articles,
            size(suspect.bytes)
        ),
    ];
    let mut text = String::from("    ");
    for (index, reason) in suspect.reasons.iter().enumerate() {
        let piece = format!(" {}{}", clean(reason), if index + 1 < suspect.reasons.len() { ";" } else { "" });
        if text.len() + piece.len() > width && text.trim() != "" {
            lines.push(std::mem::replace(&mut text, String::from("    ")));
        }
        text.push_str(&piece);
    }
    lines.push(text);
    lines
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// Controls and characters that turn text around are shown as escapes.
fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if is_hidden(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use crate::review::Review;

    #[test]
    fn hostile_names_cannot_reach_the_terminal() {
        let mut review = Review::new();
        for i in 0..30 {
            let line = format!(
                "203.0.113.9 - - [20/Nov/2026:10:00:{i:02} +0000] \"GET /a-b-c-{i} HTTP/1.1\" 200 1 \"-\" \"curl\u{1B}[31m\u{202E}x\""
            );
            review.line(line.as_bytes());
        }
        let text = super::terminal(&review.report(), 80);
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(!text.contains('\u{1B}') && !text.contains('\u{202E}'), "{text}");
        assert!(text.contains("1. curl"), "{text}");
    }

    #[test]
    fn the_order_of_files_makes_no_scraper() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let mut days: Vec<Vec<String>> = (20..23)
            .map(|day| {
                let at = |i: u32| format!("{day}/Nov/2026:{:02}:{:02}:00 +0000", 8 + i / 3, i % 3 * 17);
                let line = |i, path: &str| {
                    format!("203.0.113.9 - - [{}] \"GET {path} HTTP/1.1\" 200 9 \"-\" \"{firefox}\"", at(i))
                };
                (0..12).flat_map(|i| [line(i, &format!("/news/a-b-c-{day}-{i}")), line(i, "/s.css")]).collect()
            })
            .collect();
        let mut report = |reverse: bool| {
            if reverse {
                days.reverse();
            }
            let mut review = Review::new();
            days.iter().flatten().for_each(|line| review.line(line.as_bytes()));
            super::terminal(&review.report(), 100)
        };
        assert!(report(false).contains("0 suspected") && report(true).contains("0 suspected"), "{}", report(true));
    }

    #[test]
    fn a_reader_is_no_suspect_and_numbers_add_up() {
        let mut review = Review::new();
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        for i in 0..12 {
            let time = format!("20/Nov/2026:10:{:02}:00 +0000", i * 2);
            for path in [format!("/news/a-b-c-{i}"), "/s.css".into(), "/a.jpg".into()] {
                review.line(
                    format!("198.51.100.2 - - [{time}] \"GET {path} HTTP/2\" 200 9 \"-\" \"{firefox}\"").as_bytes(),
                );
            }
        }
        review.line(b"garbage");
        review.line(b"");
        review.last_line(br#"{"v":1,"time":"2026-11-2"#);
        let report = review.report();
        assert!(report.suspects.is_empty(), "{:?}", report.suspects);
        let quality = report.quality;
        let skipped: u64 = quality.skipped.values().sum();
        assert_eq!(quality.lines, quality.hits + quality.other + quality.empty + skipped);
        assert_eq!((quality.skipped["malformed"], quality.skipped["torn"]), (1, 1));
    }
}
