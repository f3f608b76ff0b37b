//! `deckle review -f`: on a terminal one screen that is drawn anew, elsewhere a line for each alert.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::alerts::{Alert, Alerts};
use super::{facts, look};
use crate::cli::output;
use crate::clock::{Clock, SystemClock};
use crate::review::{Facts, Live, Look, Report, Review, Reviewed, Source, terminal};

/// A screen is not drawn more often.
const REDRAW: Duration = Duration::from_millis(250);
/// Reports take at most one part in so many of the time.
const SHARE: u32 = 5;
/// Alerts that stand below the screen.
const ALERTS: usize = 3;
/// To the upper left corner, and away with everything from there on.
const CLEAR: &str = "\x1B[H\x1B[J";

/// What came out.
pub(super) struct Watched {
    pub(super) reviewed: Reviewed,
    /// Notes that have been told.
    pub(super) told: usize,
    /// Nobody reads standard output any more.
    pub(super) is_closed: bool,
}

/// Follows until `stop`, or until nothing can come any more.
pub(super) fn run(review: &Review, sources: &[Source], alerts: &mut Alerts<'_>, stop: &AtomicBool) -> Watched {
    let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let mut watch = Watch {
        alerts,
        stop,
        clock: SystemClock::new(),
        due: Duration::ZERO,
        seen: (0, false),
        told: 0,
        is_closed: false,
        is_screen: std::io::stdout().is_terminal() && !is_dumb,
        last: Vec::new(),
    };
    let reviewed = review.follow(sources, &mut |live| watch.see(live));
    if watch.is_screen && watch.seen.0 > 0 {
        watch.print(CLEAR);
    }
    // A screen has wiped away what was told on it.
    let told = if watch.is_screen { 0 } else { watch.told };
    Watched { reviewed, told, is_closed: watch.is_closed }
}

struct Watch<'w, 'c> {
    alerts: &'w mut Alerts<'c>,
    stop: &'w AtomicBool,
    clock: SystemClock,
    /// No report before.
    due: Duration,
    /// Lines of the last report, and whether it had caught up.
    seen: (u64, bool),
    told: usize,
    is_closed: bool,
    is_screen: bool,
    /// The last alerts.
    last: Vec<String>,
}

impl Watch<'_, '_> {
    fn see(&mut self, live: &mut Live<'_>) {
        for note in live.notes().iter().skip(self.told) {
            let _ = writeln!(std::io::stderr().lock(), "deckle: {}", output::clean(note));
        }
        self.told = live.notes().len();
        let (now, seen) = (self.clock.elapsed(), (live.progress().lines, live.has_caught_up()));
        if seen == self.seen || seen.0 == 0 || (now < self.due && !live.is_over()) {
            return;
        }
        self.seen = seen;
        let Reviewed { report, most_by_one, windowed, .. } = live.reviewed();
        // A part of what is there may have another share of something than all of it.
        if live.has_caught_up() {
            let facts = Facts { windowed, ..facts(&report, most_by_one) };
            for alert in self.alerts.look(now, &facts, &report) {
                self.tell(&alert);
            }
        }
        if self.is_screen {
            self.draw(&report);
        }
        let took = self.clock.elapsed().saturating_sub(now);
        self.due = now + REDRAW.max(took * SHARE);
    }

    fn tell(&mut self, alert: &Alert) {
        let line = format!("{} {alert}\n", alert.time);
        if self.is_screen {
            self.last.push(line);
            let old = self.last.len().saturating_sub(ALERTS);
            self.last.drain(..old);
        } else {
            self.print(&line);
        }
    }

    fn draw(&mut self, report: &Report) {
        let look = screen(self.last.len());
        let mut text = format!("{CLEAR}{}", terminal(report, look));
        for line in &self.last {
            text.extend(line.trim_end().chars().take(look.width));
            text.push('\n');
        }
        self.print(&text);
    }

    fn print(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.is_closed = true;
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// How the terminal looks now: it may have been made larger or smaller. So many lines are kept for something else.
fn screen(kept: usize) -> Look {
    let look = look(false);
    let (width, height) = size();
    let from_environment = |name: &str| std::env::var_os(name).is_some();
    let width = width.filter(|_| !from_environment("COLUMNS")).unwrap_or(look.width);
    let height = look.height.or(height).map(|height| height.saturating_sub(kept));
    Look { width, height, ..look }
}

/// Columns and lines of the terminal.
fn size() -> (Option<usize>, Option<usize>) {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) {
        let known = |length: u16| Some(usize::from(length)).filter(|length| *length > 0);
        return (known(size.ws_col), known(size.ws_row));
    }
    (None, None)
}
