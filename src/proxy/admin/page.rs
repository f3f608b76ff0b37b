//! The dashboard as a page that needs no script: `dashboard.html`, filled in.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::document::Document;
use crate::audit::Step;

const NAME: &str = "dashboard.html";
/// Units of a chart: the width of a step, of its bar, and the height.
const STEP: usize = 10;
const BAR: usize = 8;
const HEIGHT: f64 = 100.0;

/// The compiled page.
pub(super) struct Page(Environment<'static>);

impl Page {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.add_filter("number", number);
        environment.add_filter("size", size);
        environment.add_filter("percent", percent);
        environment.add_filter("clock", clock);
        // The name ends in `.html`: minijinja escapes by name.
        let added = environment.add_template(NAME, include_str!("dashboard.html"));
        debug_assert!(added.is_ok(), "the page is a constant, and does not compile: {added:?}");
        Self(environment)
    }

    pub(super) fn render(&self, document: &Document) -> Result<String, minijinja::Error> {
        let (hour, day) = (&document.figures.hour, &document.figures.day);
        self.0.get_template(NAME)?.render(context! {
            document => Serde(document),
            hour => chart(hour, "Requests by the minute, the last hour"),
            day => chart(day, "Requests by ten minutes, the last day"),
        })
    }
}

/// Bars of what a step is made of, one on top of the other; and the same in words.
fn chart(steps: &[Step], name: &str) -> Value {
    let most = steps.iter().map(height).max().unwrap_or(0);
    let bars: String = steps.iter().enumerate().map(|(at, step)| bar(at * STEP + 1, step, most)).collect();
    let sum = |of: fn(&Step) -> u64| number(steps.iter().map(of).sum());
    let title = format!(
        "{name}: {} of people, {} of robots, {} of suspects, {} refused; {} at most in one step.",
        sum(|step| step.people),
        sum(|step| step.robots),
        sum(|step| step.suspected),
        sum(|step| step.refused),
        number(most)
    );
    let start = steps.first().map_or(0, |step| step.start);
    context! { bars => Value::from_safe_string(bars), title, most, start, width => (steps.len() * STEP) as u64 }
}

fn height(step: &Step) -> u64 {
    step.people + step.robots + step.suspected + step.refused
}

fn bar(x: usize, step: &Step, most: u64) -> String {
    let mut bottom = HEIGHT;
    let parts =
        [("people", step.people), ("robots", step.robots), ("suspected", step.suspected), ("refused", step.refused)];
    parts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(class, count)| {
            let part = count as f64 / most.max(1) as f64 * HEIGHT;
            bottom -= part;
            format!("<rect class=\"{class}\" x=\"{x}\" y=\"{bottom:.2}\" width=\"{BAR}\" height=\"{part:.2}\"/>")
        })
        .collect()
}

/// "1 204 332", with narrow spaces that do not break.
pub(super) fn number(value: u64) -> String {
    crate::unit::grouped(value, '\u{202F}')
}

/// Decimal units, as networks are sold.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes}\u{A0}B");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1_000.0, next);
    }
    if value < 9.95 { format!("{value:.1}\u{A0}{unit}") } else { format!("{value:.0}\u{A0}{unit}") }
}

/// A share of 0–1.
fn percent(share: f64) -> String {
    format!("{:.1}\u{A0}%", share * 100.0)
}

/// Hours and minutes, UTC; `0`: never.
fn clock(unix: u64) -> String {
    jiff::Timestamp::from_second(unix as i64).map_or_else(|_| String::new(), |time| time.strftime("%H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        let numbers = [0, 999, 1_000, 1_204_332].map(number);
        assert_eq!(numbers, ["0", "999", "1\u{202F}000", "1\u{202F}204\u{202F}332"]);
        let sizes = [999, 1_000, 9_960, 999_600, 1_500_000_000].map(size);
        assert_eq!(sizes, ["999\u{A0}B", "1.0\u{A0}kB", "10\u{A0}kB", "1.0\u{A0}MB", "1.5\u{A0}GB"]);
        assert_eq!((percent(0.0054).as_str(), clock(1_800_000_000).as_str()), ("0.5\u{A0}%", "08:00"));
    }

    #[test]
    fn bars_stand_on_each_other_and_fill_the_height() {
        let step = Step { start: 0, people: 3, robots: 0, suspected: 1, refused: 0 };
        let bars = bar(1, &step, 4);
        assert!(bars.contains("class=\"people\" x=\"1\" y=\"25.00\" width=\"8\" height=\"75.00\""), "{bars}");
        assert!(bars.contains("class=\"suspected\" x=\"1\" y=\"0.00\" width=\"8\" height=\"25.00\""), "{bars}");
        assert_eq!(bar(1, &Step::default(), 0), "");
    }
}
