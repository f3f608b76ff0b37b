//! Values of the configuration file that have a unit: [`Span`] (`"250ms"`, `"30s"`, `"24h"`, `"7d"`) and [`Size`]
//! (`"64KiB"`, `"10GiB"`).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A length of time, written as a whole number and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes, written as a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A share, in millionths; written as a percentage (`"0.5%"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number for people, with this between its thousands.
#[cfg(feature = "proxy")]
pub(crate) fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

/// An error and its causes, each said once.
#[cfg(any(feature = "proxy", feature = "otlp"))]
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

impl Span {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SPANS)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("`{text}` is not a duration such as \"250ms\", \"30s\", \"24h\" or \"7d\""))
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SIZES).map(Self).ok_or_else(|| format!("`{text}` is not a size such as \"64KiB\" or \"10GiB\""))
    }
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent = number.filter(|percent| (0.0..=100.0).contains(percent));
        percent
            .map(|percent| Self((percent * 10_000.0).round() as u32))
            .ok_or_else(|| format!("`{text}` is not a share such as \"0.5%\", 0% to 100%"))
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn render(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| value > 0 && value.is_multiple_of(*factor))
        .or(units.last())
        .map_or_else(String::new, |(name, factor)| format!("{}{name}", value / factor))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(self.0.as_millis() as u64, &SPANS))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(self.0, &SIZES))
    }
}

/// A bare 0 needs no quotes.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a number with its unit, in quotes")]
enum Written {
    Number(u64),
    Text(String),
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Written::deserialize(deserializer)? {
                    Written::Number(number) => number.to_string(),
                    Written::Text(text) => text,
                }
                .parse()
                .map_err(de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_text!(Span, Size, Share);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_back() {
        for text in ["250ms", "30s", "24h", "7d", "90s"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("24h".parse::<Span>().unwrap().0, Duration::from_secs(86_400));
        assert_eq!("64KiB".parse::<Size>().unwrap().0, 65_536);
        assert_eq!(Size(10 << 30).to_string(), "10GiB");
        assert_eq!("0".parse::<Size>().unwrap().0, 0);
        for bad in ["", "5", "5 parsecs", "-1s", "1.5s", "99999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Size>("0").unwrap().0, 0);
        assert!(serde_json::from_str::<Size>("5").unwrap_err().to_string().contains("`5` is not a size"));
        assert!(serde_json::from_str::<Size>("true").is_err());
        for (text, millionths) in [("0.5%", 5_000), ("100%", 1_000_000), ("0%", 0), ("12.25 %", 122_500)] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.0, millionths);
            assert_eq!(share.to_string().parse::<Share>().unwrap(), share);
        }
        for bad in ["0.5", "-1%", "101%", "%", "NaN%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
