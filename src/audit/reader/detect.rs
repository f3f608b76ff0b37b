//! Which format a file is in: every candidate reads the first lines, and the one that understands most of them wins.

use super::{Line, Reader};

/// Share of lines that a format must understand.
const ENOUGH: (usize, usize) = (4, 5);

/// A format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// deckle's own NDJSON.
    Deckle,
    /// Common or Combined, of Apache, nginx and most others, with a virtual host in front or not.
    Combined,
    /// JSON under the names that nginx, Envoy and Fastly use.
    Json,
    /// JSON of Caddy.
    Caddy,
    /// Common log of Traefik, with four more fields.
    TraefikClf,
    /// JSON of Traefik.
    TraefikJson,
    /// HTTP log of `HAProxy`, behind a syslog prefix or not.
    Haproxy,
    /// Load balancers of AWS, new and classic.
    Elb,
    /// Standard log of `CloudFront`.
    CloudFront,
    /// Extended log of the W3C, as IIS writes it.
    W3c,
    /// Logpush of Cloudflare.
    Cloudflare,
    /// Server access log of S3.
    S3,
    /// `--log-format`.
    Custom,
}

impl Format {
    /// All that can be named or found, the special ones before those that understand their lines, too.
    pub const ALL: [Self; 12] = [
        Self::Deckle,
        Self::Caddy,
        Self::TraefikJson,
        Self::Cloudflare,
        Self::Json,
        Self::TraefikClf,
        Self::Elb,
        Self::S3,
        Self::Haproxy,
        Self::CloudFront,
        Self::W3c,
        Self::Combined,
    ];

    /// The name, as `--format` takes it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Deckle => "deckle",
            Self::Combined => "combined",
            Self::Json => "json",
            Self::Caddy => "caddy",
            Self::TraefikClf => "traefik-clf",
            Self::TraefikJson => "traefik-json",
            Self::Haproxy => "haproxy",
            Self::Elb => "elb",
            Self::CloudFront => "cloudfront",
            Self::W3c => "w3c",
            Self::Cloudflare => "cloudflare",
            Self::S3 => "s3",
            Self::Custom => "custom",
        }
    }

    /// Reads the name.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }
}

/// What the first lines say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// This one.
    Found(Format),
    /// Two understand the same lines: it must be named.
    Ambiguous(Format, Format),
    /// None understands enough of them.
    Unknown,
}

/// The formats that a line may be in, by its first characters.
pub(super) fn candidates(line: &str) -> impl Iterator<Item = Format> {
    let json = line.starts_with('{');
    let own = super::own::is_own(line);
    Format::ALL.into_iter().filter(move |format| match format {
        Format::Deckle => own,
        Format::Caddy | Format::TraefikJson | Format::Cloudflare | Format::Json => json && !own,
        _ => !json,
    })
}

/// Looks at the first lines of a file.
pub fn detect<'l>(lines: impl Iterator<Item = &'l [u8]> + Clone) -> Detection {
    let scores = Format::ALL.map(|format| (score(format, lines.clone()), format));
    let best = scores.iter().map(|((understood, _), _)| *understood).max().unwrap_or(0);
    let mut winners = scores.iter().filter(|((understood, lines), _)| {
        *understood == best && best > 0 && understood * ENOUGH.1 >= lines * ENOUGH.0
    });
    match (winners.next(), winners.next()) {
        (None, _) => Detection::Unknown,
        (Some((_, first)), Some((_, second))) if !first.is_special_case_of(*second) => {
            Detection::Ambiguous(*first, *second)
        }
        (Some((_, first)), _) => Detection::Found(*first),
    }
}

impl Format {
    /// Does the other one understand its lines, too, and less of each?
    fn is_special_case_of(self, other: Self) -> bool {
        match other {
            Self::Json => matches!(self, Self::Caddy | Self::TraefikJson | Self::Cloudflare),
            Self::Combined => self == Self::TraefikClf,
            Self::W3c => self == Self::CloudFront,
            _ => false,
        }
    }
}

/// Lines that a format understands, and lines that there are.
fn score<'l>(format: Format, lines: impl Iterator<Item = &'l [u8]>) -> (usize, usize) {
    let mut reader = Reader::new(format);
    let (mut understood, mut all) = (0, 0);
    for line in lines {
        match reader.read(line) {
            Line::Hit(_) | Line::Other(_) if reader.format() == format => understood += 1,
            Line::Empty | Line::Directive => continue,
            _ => reader = reader.back_to(format),
        }
        all += 1;
    }
    (understood, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Detection {
        detect(text.split('\n').map(str::as_bytes))
    }

    #[test]
    fn one_line_is_enough() {
        let rows = [
            (r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0100] "GET /a HTTP/1.1" 200 5"#, Format::Combined),
            (r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.seq":4,"url.path":"/"}"#, Format::Deckle),
            (
                "#Version: 1.0\n#Fields: date time cs-method cs-uri-stem c-ip sc-status\n2026-11-20 10:14:07 GET /a 203.0.113.7 200",
                Format::W3c,
            ),
        ];
        for (text, format) in rows {
            assert_eq!(found(text), Detection::Found(format), "{text}");
        }
        assert_eq!(found("complete nonsense\nand more of it"), Detection::Unknown);
        assert_eq!(found(""), Detection::Unknown);
    }

    #[test]
    fn names_are_read_and_written() {
        for format in Format::ALL {
            assert_eq!(Format::from_code(format.code()), Some(format));
        }
        assert_eq!(Format::from_code("custom"), None);
    }
}
