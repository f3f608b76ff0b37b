//! [`Sinks`]: all that `audit.sinks` names, as one.

use std::path::Path;
use std::sync::Arc;

use http::Uri;

use super::anchor::Heads;
use super::privacy::{Pseudonyms, SharedPseudonyms};
use super::queue::Queue;
use super::record::AuditRecord;
use super::sink::{Sink, SinkError, TracingSink};
use super::{Anchor, FileSink, Live, OnFailure, Settings, SinkKind, lines};
use crate::clock::SharedClock;
use crate::secret::Secrets;

/// What every sink gets from outside.
pub(super) struct Around {
    pub(super) clock: SharedClock,
    /// Counts what comes out of the queue, for the dashboard.
    pub(super) live: Option<Arc<Live>>,
    pub(super) pseudonyms: SharedPseudonyms,
    /// Which secrets are in use, as the log names them.
    pub(super) secrets: Vec<String>,
}

/// Every sink of the list gets every record; each has a queue and a thread of its own, so that none waits for another.
pub(crate) struct Sinks {
    /// All that get records.
    all: Vec<Arc<dyn Sink>>,
    file: Option<Arc<FileSink>>,
    /// Those with a thread, the main one first.
    queued: Vec<(SinkKind, Arc<Queue>)>,
    /// Takes heads and no records.
    anchor: Option<Arc<Queue>>,
    #[cfg(feature = "proxy")]
    settings: Settings,
}

impl Sinks {
    /// Opens what `settings` name, or `otherwise` where they name nothing. The figures see what the main one writes: the file,
    /// or else the first with a queue.
    ///
    /// # Errors
    /// [`SinkError`] as [`FileSink::open`]; for a list that does not hold; and for a secret whose key id stands for another
    /// one in the log.
    pub(crate) fn open(
        settings: &Settings,
        otherwise: &[SinkKind],
        clock: &SharedClock,
        live: Option<Arc<Live>>,
        secrets: Option<&Secrets>,
    ) -> Result<Self, SinkError> {
        settings.check()?;
        let kinds = settings.sinks.as_deref().unwrap_or(otherwise);
        if settings.on_failure == OnFailure::Refuse && !kinds.contains(&SinkKind::File) {
            return Err(no_file());
        }
        let main = kinds.iter().copied().find(|kind| *kind == SinkKind::File);
        #[cfg(feature = "proxy")]
        if let (Some(SinkKind::File), Some(secrets)) = (main, secrets) {
            super::secrets::refuse_reused(Path::new(&settings.dir), secrets)?;
        }
        let main = main.or_else(|| kinds.iter().copied().find(|kind| *kind != SinkKind::Tracing));
        // A sink that writes no files makes no folder for its keys, either.
        let keys = Path::new(&settings.dir).join(&settings.keys);
        let has_dir = kinds.iter().any(|kind| kind.writes_files()) || Path::new(&settings.dir).is_dir();
        let pseudonyms = Pseudonyms::shared(has_dir.then_some(keys.as_path()));
        let around = |kind| Around {
            clock: Arc::clone(clock),
            live: live.clone().filter(|_| main == Some(kind)),
            pseudonyms: Arc::clone(&pseudonyms),
            secrets: secrets.map(super::secrets::ids).unwrap_or_default(),
        };
        let mut sinks = Self {
            all: Vec::new(),
            file: None,
            queued: Vec::new(),
            anchor: None,
            #[cfg(feature = "proxy")]
            settings: settings.clone(),
        };
        // First, for it takes the heads of the file.
        let mut heads = None;
        if kinds.contains(&SinkKind::Otlp) || settings.anchor == Anchor::Otlp {
            let (queue, takes) = otlp(settings, around(SinkKind::Otlp))?;
            heads = Some(takes);
            if kinds.contains(&SinkKind::Otlp) {
                sinks.add(SinkKind::Otlp, queue);
            } else {
                sinks.anchor = Some(queue);
            }
        }
        for kind in kinds.iter().copied() {
            match kind {
                // The file has what this sends.
                SinkKind::Otlp | SinkKind::Clickhouse => {}
                SinkKind::Tracing => sinks.all.push(Arc::new(TracingSink)),
                SinkKind::File => {
                    let file = Arc::new(FileSink::beside(settings, around(kind), heads.clone())?);
                    sinks.add(kind, Arc::clone(file.queue()));
                    sinks.file = Some(file);
                }
                SinkKind::Stdout => sinks.add(kind, lines::to_stdout(settings, around(kind))?),
                SinkKind::Combined => sinks.add(kind, lines::to_access_log(settings, false, around(kind))?),
                SinkKind::CombinedDeckle => sinks.add(kind, lines::to_access_log(settings, true, around(kind))?),
            }
        }
        sinks.queued.sort_by_key(|(kind, _)| Some(*kind) != main);
        Ok(sinks)
    }

    fn add(&mut self, kind: SinkKind, queue: Arc<Queue>) {
        self.all.push(Arc::clone(&queue) as Arc<dyn Sink>);
        self.queued.push((kind, queue));
    }

    /// What they were opened with, and write by.
    #[cfg(feature = "proxy")]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The segments, if they are written.
    #[cfg(feature = "proxy")]
    pub(crate) fn file(&self) -> Option<&Arc<FileSink>> {
        self.file.as_ref()
    }

    /// Counters of those with a queue, the main one first.
    #[cfg(feature = "proxy")]
    pub(crate) fn stats(&self) -> impl Iterator<Item = (SinkKind, &super::Stats)> {
        self.queued.iter().map(|(kind, queue)| (*kind, &**queue.stats()))
    }

    /// Says in the log which configuration is in force from now on.
    #[cfg(feature = "proxy")]
    pub(crate) fn policy(&self, policy: super::PolicyText) {
        if let Some(file) = &self.file {
            file.policy(policy);
        }
    }

    /// New files (SIGHUP).
    #[cfg(feature = "proxy")]
    pub(crate) fn reopen(&self) {
        self.queued.iter().for_each(|(_, queue)| queue.reopen());
    }

    /// Writes what is queued, sends what was written, and waits for the threads, for all of them at once.
    pub(crate) fn close(&self) {
        let of = |otlp: bool| self.queued.iter().filter(move |(kind, _)| (*kind == SinkKind::Otlp) == otlp);
        of(false).for_each(|(_, queue)| queue.stop());
        of(false).for_each(|(_, queue)| queue.close());
        // Now all stands in the segments that is to be sent from there.
        #[cfg(feature = "clickhouse")]
        if let Some(file) = &self.file {
            file.end_sending();
        }
        // Last, for the end of a segment has a head, too.
        of(true).for_each(|(_, queue)| queue.close());
        if let Some(anchor) = &self.anchor {
            anchor.close();
        }
        if let Some(file) = &self.file {
            file.close();
        }
    }
}

impl Sink for Sinks {
    fn record(&self, record: Box<AuditRecord>) {
        self.all.record(record);
    }

    /// The segments are what counts: they are the evidence.
    fn is_losing(&self) -> bool {
        self.file.as_ref().is_some_and(Sink::is_losing)
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(feature = "otlp")]
fn otlp(settings: &Settings, around: Around) -> Result<(Arc<Queue>, Heads), SinkError> {
    super::otlp::open(settings, around)
}

#[cfg(not(feature = "otlp"))]
fn otlp(_: &Settings, _: Around) -> Result<(Arc<Queue>, Heads), SinkError> {
    Err(SinkError::Setting { key: "audit.sinks", message: NO_OTLP.to_owned() })
}

const NO_OTLP: &str = "`otlp` needs feature `otlp`, which this program was built without";

fn no_file() -> SinkError {
    let message = "`refuse` guards the segments, but `file` is not among `audit.sinks`".to_owned();
    SinkError::Setting { key: "audit.on_failure", message }
}

impl SinkKind {
    /// The spelling in the configuration.
    pub fn code(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tracing => "tracing",
            Self::Stdout => "stdout",
            Self::Combined => "combined",
            Self::CombinedDeckle => "combined+deckle",
            Self::Otlp => "otlp",
            Self::Clickhouse => "clickhouse",
        }
    }

    fn writes_files(self) -> bool {
        matches!(self, Self::File | Self::Combined | Self::CombinedDeckle)
    }
}

impl Settings {
    /// The list of sinks, and what single ones need.
    ///
    /// # Errors
    /// [`SinkError::Setting`].
    pub(super) fn check_sinks(&self) -> Result<(), SinkError> {
        let refuse = |key, message: String| Err(SinkError::Setting { key, message });
        let kinds = self.sinks.as_deref().unwrap_or_default();
        if self.sinks.is_some() && kinds.is_empty() {
            return refuse("audit.sinks", "name one at least; `audit.enabled = false` writes nothing".to_owned());
        }
        for (at, kind) in kinds.iter().enumerate() {
            if kinds.iter().take(at).any(|before| before == kind) {
                return refuse("audit.sinks", format!("`{}` stands there twice", kind.code()));
            }
        }
        if kinds.contains(&SinkKind::Combined) && kinds.contains(&SinkKind::CombinedDeckle) {
            return refuse("audit.sinks", "`combined` and `combined+deckle` are the same file; name one".to_owned());
        }
        if self.on_failure == OnFailure::Refuse {
            if !self.enabled {
                return refuse("audit.on_failure", "`refuse` needs `audit.enabled`".to_owned());
            }
            if self.sinks.is_some() && !kinds.contains(&SinkKind::File) {
                return Err(no_file());
            }
        }
        let wanted = if kinds.contains(&SinkKind::Otlp) { Some("audit.sinks") } else { None };
        let wanted = wanted.or((self.anchor == Anchor::Otlp).then_some("audit.anchor"));
        match (wanted, &self.otlp.endpoint) {
            (Some(key), _) if !cfg!(feature = "otlp") => refuse(key, NO_OTLP.to_owned()),
            (Some(_), None) => {
                refuse("audit.otlp.endpoint", "needed for `otlp`, such as http://127.0.0.1:4318".to_owned())
            }
            (_, Some(endpoint)) => check_endpoint(endpoint),
            (None, None) => Ok(()),
        }
    }
}

/// An address of http or https, without secrets: it stands in the log and in error messages.
fn check_endpoint(endpoint: &str) -> Result<(), SinkError> {
    let refuse = |message: &str| Err(SinkError::Setting { key: "audit.otlp.endpoint", message: message.to_owned() });
    let Ok(uri) = endpoint.parse::<Uri>() else { return refuse("not an address") };
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.is_empty() {
        return refuse("not an http:// or https:// address");
    }
    if authority.contains('@') {
        return refuse("put no password here, but into the header of OTEL_EXPORTER_OTLP_HEADERS");
    }
    if uri.query().is_some() {
        return refuse("an address without a query");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::blank;
    use crate::clock::SystemClock;

    fn read(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn lists_that_do_not_hold_are_refused_with_their_key() {
        for (text, says) in [
            ("sinks = []", "`audit.sinks`: name one"),
            ("sinks = ['stdout', 'file', 'stdout']", "`audit.sinks`: `stdout` stands there twice"),
            ("sinks = ['combined', 'combined+deckle']", "the same file"),
            ("sinks = ['stdout']\non_failure = 'refuse'", "`audit.on_failure`"),
            ("enabled = false\non_failure = 'refuse'", "`audit.on_failure`: `refuse` needs `audit.enabled`"),
            (
                "sinks = ['otlp']",
                if cfg!(feature = "otlp") { "`audit.otlp.endpoint`: needed" } else { "feature `otlp`" },
            ),
            (
                "anchor = 'otlp'",
                if cfg!(feature = "otlp") { "`audit.otlp.endpoint`: needed" } else { "feature `otlp`" },
            ),
            (
                "sinks = ['clickhouse', 'stdout']",
                if cfg!(feature = "clickhouse") { "sends what `file` has written" } else { "feature `clickhouse`" },
            ),
            ("otlp.endpoint = 'ftp://x/'", "not an http:// or https:// address"),
            ("otlp.endpoint = 'collector:4318'", "not an http:// or https:// address"),
            ("otlp.endpoint = 'https://u:p@x/'", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("otlp.endpoint = 'http://x/?a'", "without a query"),
        ] {
            let error = read(text).check().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let most =
            read("sinks = ['file', 'tracing', 'stdout', 'combined+deckle']\notlp.endpoint = 'https://x:4318/in'");
        most.check().unwrap();
        let kinds = most.sinks.unwrap();
        let again: Vec<SinkKind> = serde_json::from_str(&serde_json::to_string(&kinds).unwrap()).unwrap();
        assert_eq!((again, kinds[3].code()), (kinds.clone(), "combined+deckle"));
        assert!(toml::from_str::<Settings>("sinks = ['paper']").is_err());
        // In a library, where nothing is named, there are no segments to guard.
        let refuse = read("on_failure = 'refuse'");
        assert!(Sinks::open(&refuse, &[SinkKind::Tracing], &SystemClock::shared(), None, None).is_err());
    }

    #[test]
    fn all_sinks_get_the_same_records_under_the_same_pseudonyms() {
        let dir = std::env::temp_dir().join(format!("deckle-sinks-{}", std::process::id()));
        let settings = Settings {
            sinks: Some(vec![SinkKind::CombinedDeckle, SinkKind::File]),
            address: crate::audit::AddressMode::Pseudonym,
            dir: dir.display().to_string(),
            instance: Some("w1".into()),
            min_free: crate::unit::Size(0),
            ..Settings::default()
        };
        let sinks = Sinks::open(&settings, &[], &SystemClock::shared(), None, None).unwrap();
        let (head, ()) = http::Request::builder().uri("/").body(()).unwrap().into_parts();
        let visitor = crate::visitor::Settings::default();
        let visitor = crate::visitor::Visitor::from_head(&head, &visitor, std::time::Duration::ZERO).unwrap();
        let ip = Some("203.0.113.9".parse().unwrap());
        let address = crate::visitor::ClientAddress { ip, ..crate::visitor::ClientAddress::UNKNOWN };
        let record = AuditRecord { visitor: Some(crate::visitor::Visitor { address, ..visitor }), ..blank() };
        (0..3).for_each(|_| sinks.record(Box::new(record.clone())));
        sinks.close();
        assert!(sinks.queued.iter().all(|(_, queue)| queue.stats().written() == 3));
        assert_eq!(sinks.queued.first().map(|(kind, _)| *kind), Some(SinkKind::File), "the main one is first");
        let access = std::fs::read_to_string(dir.join("access.log")).unwrap();
        let id = access.split(' ').next().unwrap();
        let mut files = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        let segment = files.find(|path| path.extension().is_some_and(|e| e == "ndjson")).unwrap();
        let segment = std::fs::read_to_string(segment).unwrap();
        assert_eq!((access.lines().count(), id.len()), (3, 20), "{access}");
        assert_eq!(segment.matches(&format!("\"deckle.visitor.id\":\"{id}\"")).count(), 3, "{segment}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn a_log_that_was_written_with_another_secret_of_the_same_id_is_not_gone_on_with() {
        use crate::secret::Secret;
        let dir = std::env::temp_dir().join(format!("deckle-reused-{}", std::process::id()));
        let settings = Settings {
            dir: dir.display().to_string(),
            instance: Some("w1".into()),
            min_free: crate::unit::Size(0),
            compress: crate::audit::Compress::None,
            ..Settings::default()
        };
        let secrets =
            |kid: u8, first: u8| Secrets::from(Secret::new(kid, &(first..first + 32).collect::<Vec<u8>>()).unwrap());
        let open = |kinds: &[SinkKind], secrets: &Secrets| {
            Sinks::open(&settings, kinds, &SystemClock::shared(), None, Some(secrets)).map(|sinks| sinks.close())
        };
        open(&[SinkKind::File], &secrets(1, 0)).unwrap();
        let segments = || {
            let files = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
            let mut segments: Vec<_> = files.filter(|path| path.to_string_lossy().contains(".ndjson")).collect();
            segments.sort();
            segments
        };
        let first = segments().remove(0);
        let text = std::fs::read_to_string(&first).unwrap();
        assert!(text.lines().next().unwrap().contains("\"secret.ids\":[\"1:aabfa0db\"]"), "{text}");
        let error = open(&[SinkKind::File], &secrets(1, 7)).unwrap_err();
        let named = format!("key id 1 stood for another secret when `{}`", first.display());
        assert!(matches!(error, SinkError::Secret(_)) && error.to_string().starts_with(&named), "{error}");
        assert_eq!(segments().len(), 1, "nothing was begun");
        // Another id is another matter, and without segments nobody reads a mark out of them.
        open(&[SinkKind::Combined], &secrets(1, 7)).unwrap();
        open(&[SinkKind::File], &secrets(2, 7)).unwrap();
        open(&[SinkKind::File], &secrets(1, 0)).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_renamed_access_log_is_left_alone_after_a_reopen() {
        let dir = std::env::temp_dir().join(format!("deckle-reopen-{}", std::process::id()));
        let settings = Settings {
            sinks: Some(vec![SinkKind::Combined]),
            dir: dir.display().to_string(),
            min_free: crate::unit::Size(0),
            flush: crate::unit::Span(std::time::Duration::from_millis(1)),
            ..Settings::default()
        };
        let sinks = Sinks::open(&settings, &[], &SystemClock::shared(), None, None).unwrap();
        let (_, queue) = sinks.queued.first().unwrap();
        let patience = SystemClock::shared();
        let until = |done: &dyn Fn() -> bool| {
            while !done() {
                assert!(patience.elapsed() < std::time::Duration::from_secs(30), "nothing happened");
                std::thread::yield_now();
            }
        };
        sinks.record(Box::new(blank()));
        until(&|| queue.stats().written() > 0);
        std::fs::rename(dir.join("access.log"), dir.join("access.log.1")).unwrap();
        queue.reopen();
        until(&|| dir.join("access.log").exists());
        sinks.record(Box::new(blank()));
        sinks.close();
        for name in ["access.log", "access.log.1"] {
            assert_eq!(std::fs::read_to_string(dir.join(name)).unwrap().lines().count(), 1, "{name}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
