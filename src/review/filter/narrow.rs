//! What of the filters an engine can look for by itself.

#![cfg(feature = "clickhouse")]
#![cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the program asks"))]

use std::time::Duration;

use super::{Expression, Filters, Get, Literal, Operator};

impl Filters {
    /// The first moment that can be kept, and the first one that cannot any more.
    pub(crate) fn between(&self) -> (Option<Duration>, Option<Duration>) {
        let (mut since, mut until) = (None::<Duration>, None::<Duration>);
        for expression in &self.all {
            match expression {
                Expression::Compares(Get::Time, Operator::AtLeast, Literal::Time(time)) => {
                    since = Some(since.map_or(*time, |known| known.max(*time)));
                }
                Expression::Compares(Get::Time, Operator::Less, Literal::Time(time)) => {
                    until = Some(until.map_or(*time, |known| known.min(*time)));
                }
                _ => {}
            }
        }
        (since, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::FilterArgs;

    #[test]
    fn times_narrow_what_is_asked_for() {
        let of = |since: Option<&str>, until: Option<&str>, expression: Option<&str>| {
            let [since, until, expression] = [since, until, expression].map(|text| text.map(str::to_owned));
            let args = FilterArgs { since, until, expression, ..FilterArgs::default() };
            Filters::new(&args, Duration::from_secs(1_795_169_647)).unwrap().between()
        };
        assert_eq!(of(None, None, None), (None, None));
        let (since, until) = (Duration::from_secs(1_795_132_800), Duration::from_secs(1_795_219_200));
        assert_eq!(of(Some("2026-11-20"), Some("2026-11-21"), None), (Some(since), Some(until)));
        // What may hold for either side narrows nothing.
        let either = Some("time<\"2026-11-20\" || status==404");
        assert_eq!(of(Some("2026-11-20"), None, either), (Some(since), None));
    }
}
