//! Reads logs: deckle's own NDJSON, and the access logs of most servers, load balancers and networks.
//!
//! One line gives a [`Hit`], or the one reason why it does not. Nothing is lost in silence:
//! `lines = hits + other kinds + empty + skipped`.
//!
//! ```
//! use deckle::audit::reader::{Format, Line, Reader, Skipped};
//! let line = r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0100] "GET /a HTTP/1.1" 200 512 "-" "curl/8""#;
//! let mut reader = Reader::new(Format::Combined);
//! let Line::Hit(hit) = reader.read(line.as_bytes()) else { panic!() };
//! assert_eq!((hit.path.as_ref(), hit.user_agent.as_deref()), ("/a", Some("curl/8")));
//! assert_eq!(reader.read(b"nonsense"), Line::Skipped(Skipped::Malformed));
//! ```

mod combined;
mod detect;
mod formats;
mod hit;
mod log_format;
mod own;
#[cfg(feature = "proxy")]
mod special;
mod time;
#[cfg(feature = "proxy")]
mod usual;
mod zone;

use std::borrow::Cow;
use std::time::Duration;

pub use detect::{Detection, Format, detect};
pub use hit::{DeckleFields, Hit, Skipped, Text};
pub use log_format::LogFormatError;
pub use zone::{Zone, ZoneError};

#[cfg(feature = "proxy")]
pub(crate) use hit::Evidence;
#[cfg(feature = "proxy")]
pub(crate) use own::evidence;
#[cfg(feature = "proxy")]
pub(crate) use special::SpecialBytes;
#[cfg(feature = "proxy")]
pub(crate) use time::rfc3339;

use formats::{cloudfront, w3c};
use log_format::LogFormat;

use crate::watermark::VariantNote;

/// Lines are kept up to this length; longer ones are skipped.
pub const MAX_LINE: usize = 1 << 20;
/// A byte order mark (U+FEFF) in UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every line is a hit, and an allocation for each would cost more")]
#[non_exhaustive]
pub enum Line<'l> {
    /// A response.
    Hit(Hit<'l>),
    /// A line of deckle's log that is no response: `segment`, `gap`, `end` …
    Other(Box<Note>),
    /// A directive of the format, such as `#Fields`.
    Directive,
    /// Nothing but white space, or a comment.
    Empty,
    /// Skipped.
    Skipped(Skipped),
}

/// A line about the log itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Its kind.
    pub kind: String,
    /// Since 1970.
    pub time: Duration,
    /// Records that a `gap` line tells of.
    pub dropped: u64,
    /// The writer's clock went back.
    pub clock_step: bool,
    /// Number of the line.
    pub seq: u64,
    /// The writer.
    pub instance: String,
    /// The host whose robots.txt a `robots` line holds.
    pub host: String,
    /// Version of that robots.txt.
    pub robots_version: Option<String>,
    /// Its text, base64; or the policy of a `policy` line.
    pub text: Option<String>,
    /// Where the head of an `anchored` line was sent.
    pub to: Option<String>,
    /// What a `page` or `variants` line says of a page.
    pub plan: Option<Box<PlanLine>>,
}

/// What the log says once about a page; a `page` line has no variants, a `variants` line nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanLine {
    /// As in [`DeckleFields::mark_plan`].
    pub id: String,
    /// Path, redacted.
    pub path: String,
    /// Words that may carry a mark.
    pub words: u32,
    /// As in [`PlanNote::sketch`](crate::watermark::PlanNote::sketch).
    pub sketch: Vec<u32>,
    /// Alternatives of the author, and where they stand.
    pub variants: Vec<VariantNote>,
}

/// Reads the lines of one file.
#[derive(Debug, Clone)]
pub struct Reader {
    format: Format,
    /// What `#Fields` said last.
    w3c: w3c::Fields,
    cloudfront: cloudfront::Fields,
    custom: Option<LogFormat>,
    hop: usize,
    #[cfg(feature = "proxy")]
    day: time::Day,
    zone: Option<Zone>,
    now: Duration,
    switches: u64,
}

impl Reader {
    /// Lines of this format; where a line is of another one, that is tried, too.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            w3c: w3c::Fields::default(),
            cloudfront: cloudfront::Fields::default(),
            custom: None,
            hop: 0,
            #[cfg(feature = "proxy")]
            day: time::Day::default(),
            zone: None,
            now: now(),
            switches: 0,
        }
    }

    /// Lines as a server's own format string describes them: nginx `log_format`, Apache `LogFormat`.
    ///
    /// # Errors
    /// [`LogFormatError`] names the column and what is wrong there.
    pub fn with_log_format(text: &str) -> Result<Self, LogFormatError> {
        Ok(Self { custom: Some(LogFormat::compile(text)?), ..Self::new(Format::Custom) })
    }

    /// Of several addresses in a line, the one at this place from the right is the client; 0: the right-most public one.
    #[must_use]
    pub fn trust_xff(mut self, hop: usize) -> Self {
        self.hop = hop;
        self
    }

    /// Times that lines give without an offset are of this zone; without one they are UTC.
    #[must_use]
    pub fn zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = zone;
        self
    }

    /// The format of the last line that was read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How often one format followed another.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Is a line read without knowing those before it?
    #[cfg(feature = "proxy")]
    pub(crate) fn is_stateless(&self) -> bool {
        !matches!(self.format, Format::W3c | Format::CloudFront)
    }

    /// As it is, for the lines that come now, in this format and with no switch counted yet. The clock is looked at anew:
    /// where a log is followed, a reader lives for weeks.
    #[cfg(feature = "proxy")]
    pub(crate) fn resumed(&self, format: Format) -> Self {
        Self { format, switches: 0, now: now(), ..self.clone() }
    }

    /// As if it had been made at this time.
    #[cfg(all(test, feature = "proxy"))]
    pub(crate) fn made_at(self, now: Duration) -> Self {
        Self { now, ..self }
    }

    /// As if no line of another format had come.
    fn back_to(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Reads one line, without its line feed.
    pub fn read<'l>(&mut self, line: &'l [u8]) -> Line<'l> {
        if line.len() > MAX_LINE {
            return Line::Skipped(Skipped::TooLong);
        }
        let line = line.strip_prefix(BOM).unwrap_or(line);
        if is_binary(line) {
            return Line::Skipped(Skipped::Binary);
        }
        if let Ok(text) = std::str::from_utf8(line) {
            return self.read_text(text);
        }
        match self.read_text(&String::from_utf8_lossy(line)) {
            Line::Hit(hit) => Line::Hit(hit.into_owned()),
            Line::Other(note) => Line::Other(note),
            Line::Directive => Line::Directive,
            Line::Empty => Line::Empty,
            Line::Skipped(reason) => Line::Skipped(reason),
        }
    }

    /// Reads a line into `hit` if it is of the most usual form; else `hit` is of no use, and [`read`](Self::read) says what
    /// it is.
    #[cfg(feature = "proxy")]
    pub(crate) fn read_usual<'l>(&mut self, line: &'l str, hit: &mut Hit<'l>) -> bool {
        self.format == Format::Combined
            && !SpecialBytes::of(line.as_bytes()).are_in(&(0..line.len()))
            && self.read_plain(line, hit)
    }

    /// As [`read_usual`](Self::read_usual), of a line in which there are no [`SpecialBytes`].
    #[cfg(feature = "proxy")]
    pub(crate) fn read_plain<'l>(&mut self, line: &'l str, hit: &mut Hit<'l>) -> bool {
        self.format == Format::Combined
            && self.hop == 0
            && line.len() <= MAX_LINE
            && usual::parse(line, &mut self.day, hit).is_some()
            && time::plausible(hit.time, self.now)
    }

    fn read_text<'l>(&mut self, text: &'l str) -> Line<'l> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Line::Empty;
        }
        if text.starts_with('#') {
            if !looks_like_directive(text) {
                return Line::Empty;
            }
            let is_directive = self.w3c.directive(text) | self.cloudfront.directive(text);
            return if is_directive { Line::Directive } else { Line::Empty };
        }
        let first = self.parse(self.format, text);
        let Line::Skipped(Skipped::Malformed) = first else { return self.checked(first) };
        if self.custom.is_some() {
            return first;
        }
        // Somebody may have put two logs into one file.
        for format in detect::candidates(text).filter(|format| *format != self.format) {
            let other = self.parse(format, text);
            if !matches!(other, Line::Skipped(_)) {
                self.format = format;
                self.switches += 1;
                return self.checked(other);
            }
        }
        first
    }

    fn checked<'l>(&self, line: Line<'l>) -> Line<'l> {
        match line {
            Line::Hit(hit) => self.dated(hit),
            other => other,
        }
    }

    fn dated<'l>(&self, mut hit: Hit<'l>) -> Line<'l> {
        if hit.local_time
            && let Some(zone) = &self.zone
        {
            let Some((time, twice)) = zone.utc(hit.time) else { return Line::Skipped(Skipped::BadTime) };
            (hit.time, hit.ambiguous_time) = (time, twice);
        }
        if time::plausible(hit.time, self.now) { Line::Hit(hit) } else { Line::Skipped(Skipped::BadTime) }
    }

    fn parse<'l>(&self, format: Format, text: &'l str) -> Line<'l> {
        let hit = match format {
            Format::Deckle => return own::parse(text),
            Format::Combined => combined::parse(text, self.hop),
            Format::Json => formats::json::parse(text, self.hop),
            Format::Caddy => formats::caddy::parse(text, self.hop),
            Format::TraefikClf => formats::traefik::parse_clf(text),
            Format::TraefikJson => formats::traefik::parse_json(text, self.hop),
            Format::Haproxy => formats::haproxy::parse(text),
            Format::Elb => formats::elb::parse(text),
            Format::CloudFront => self.cloudfront.parse(text),
            Format::W3c => self.w3c.parse(text),
            Format::Cloudflare => formats::cloudflare::parse(text),
            Format::S3 => formats::s3::parse(text),
            Format::Custom => {
                self.custom.as_ref().map_or(Err(Skipped::Malformed), |custom| custom.parse(text, self.hop))
            }
        };
        hit.map_or_else(Line::Skipped, Line::Hit)
    }
}

/// Times are compared with the day after tomorrow; far-off ones are told from broken ones, nothing more.
fn now() -> Duration {
    crate::clock::Clock::unix(&crate::clock::SystemClock::new())
}

/// `#Fields: …`; anything else behind a `#` is a comment.
fn looks_like_directive(text: &str) -> bool {
    let name = text.split_once(':').and_then(|(name, _)| name.strip_prefix('#'));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'))
}

/// Mostly control bytes.
fn is_binary(line: &[u8]) -> bool {
    // Nearly every line has none, which takes no branch a byte to see.
    if line.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= 0x20 {
        return false;
    }
    let controls = line.iter().filter(|b| **b < 0x20 && **b != b'\t' && **b != b'\r').count();
    controls > 0 && (memchr::memchr(0, line).is_some() || controls * 10 > line.len() * 3)
}

impl Hit<'_> {
    /// The same, independent of its line.
    pub fn into_owned(self) -> Hit<'static> {
        fn own(text: Text<'_>) -> Text<'static> {
            Cow::Owned(text.into_owned())
        }
        Hit {
            time: self.time,
            address: own(self.address),
            user_agent: self.user_agent.map(own),
            method: own(self.method),
            host: own(self.host),
            path: own(self.path),
            query: self.query.map(own),
            status: self.status,
            bytes: self.bytes,
            referer: self.referer.map(own),
            content_type: self.content_type.map(own),
            foreign_signal: self.foreign_signal.map(own),
            duration_us: self.duration_us,
            upstream_us: self.upstream_us,
            local_time: self.local_time,
            ambiguous_time: self.ambiguous_time,
            deckle: self.deckle.map(|fields| Box::new(fields.into_owned())),
        }
    }
}

impl DeckleFields<'_> {
    fn into_owned(self) -> DeckleFields<'static> {
        fn own(text: Text<'_>) -> Text<'static> {
            Cow::Owned(text.into_owned())
        }
        DeckleFields {
            seq: self.seq,
            instance: own(self.instance),
            site: own(self.site),
            request_id: own(self.request_id),
            visitor: own(self.visitor),
            category: own(self.category),
            agent: self.agent.map(own),
            verification: own(self.verification),
            verification_method: self.verification_method.map(own),
            ranges_age_d: self.ranges_age_d,
            asn: self.asn,
            score: self.score,
            signals: self.signals.into_iter().map(own).collect(),
            action: own(self.action),
            would_action: self.would_action.map(own),
            challenge: self.challenge.map(own),
            token: self.token.map(own),
            page_kind: own(self.page_kind),
            article: self.article.map(own),
            robots: self.robots.map(own),
            robots_version: self.robots_version.map(own),
            mark: self.mark.map(own),
            mark_plan: self.mark_plan.map(own),
            mark_seen: self.mark_seen.map(own),
            rewrite_skip: self.rewrite_skip.map(own),
            rewrite_us: self.rewrite_us,
            complete: self.complete,
            sample: self.sample,
            brief: self.brief,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "proxy")]
    #[test]
    fn a_reader_of_two_days_ago_reads_what_comes_now() {
        let stamp = jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
        let line = format!("203.0.113.7 - - [{stamp}] \"GET /a HTTP/1.1\" 200 512 \"-\" \"curl/8\"");
        let old = Reader::new(Format::Combined).made_at(now().saturating_sub(Duration::from_secs(2 * 86_400)));
        assert_eq!(old.clone().read(line.as_bytes()), Line::Skipped(Skipped::BadTime));
        assert!(!old.clone().read_usual(&line, &mut Hit::default()));
        let mut resumed = old.resumed(old.format());
        assert!(matches!(resumed.read(line.as_bytes()), Line::Hit(_)));
        assert!(resumed.read_usual(&line, &mut Hit::default()));
    }
}
