//! What is learned about the site, and kept from one start to the next.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use serde::{Deserialize, Serialize};

use super::operators::{Wanted, fetch_document, fetcher};
use crate::audit;
use crate::config::ProxySettings;
use crate::hosts::HostNames;
use crate::page::{ANY_HOST, Findings, KnownPages, MAX_SHEET, Styles, sheet_name};

const SHEET: Wanted = Wanted { media_type: Some("text/css"), most: MAX_SHEET };

/// `plans.json` in the log directory.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Plans {
    pub(super) version: u32,
    pub(super) activated: u64,
    findings: String,
    styles: String,
}

impl Plans {
    /// Nothing, where there is no such file.
    fn read(file: &Path) -> Self {
        std::fs::read_to_string(file).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        audit::write_private(file, serde_json::to_string(self)?.as_bytes())
    }
}

/// What outlives a reload, and, in its file, the process.
pub(super) struct Learned {
    pub(super) findings: Arc<Findings>,
    pub(super) styles: Arc<Styles>,
    /// The pages that the layer of the moment knows, and how it asks for them.
    pages: Mutex<Option<(ProxySettings, KnownPages)>>,
    file: PathBuf,
    /// The style sheets as they last stood in the file. Others are those of `deckle check --learn`. Whoever reads or writes the
    /// file holds this.
    written: Mutex<String>,
}

impl Learned {
    /// With what the file holds. Of hosts the `names` that most networks ask for are kept.
    pub(super) fn open(file: PathBuf, names: &Arc<HostNames>) -> (Self, Plans) {
        let findings = Arc::new(Findings::among(Arc::clone(names)));
        let styles = Arc::new(Styles::among(Arc::clone(names)));
        let learned = Self { findings, styles, pages: Mutex::default(), file, written: Mutex::default() };
        let saved = learned.saved();
        learned.findings.load_json(&saved.findings);
        (learned, saved)
    }

    /// The file as it is now. What somebody else has put there is taken up.
    pub(super) fn saved(&self) -> Plans {
        self.read(&mut self.written())
    }

    fn read(&self, written: &mut String) -> Plans {
        let saved = Plans::read(&self.file);
        if saved.styles != *written {
            self.styles.load_json(&saved.styles);
            written.clone_from(&saved.styles);
        }
        saved
    }

    /// Writes everything down. Waits for the disk.
    pub(super) fn save(&self, version: u32, activated: u64) {
        let mut written = self.written();
        self.read(&mut written);
        self.write(self.known(version, activated), &mut written);
    }

    /// The same, if there is anything new.
    pub(super) fn save_changes(&self) {
        let mut written = self.written();
        let saved = self.read(&mut written);
        let known = self.known(saved.version, saved.activated);
        if known.findings != saved.findings || known.styles != saved.styles {
            self.write(known, &mut written);
        }
    }

    fn known(&self, version: u32, activated: u64) -> Plans {
        Plans { version, activated, findings: self.findings.to_json(), styles: self.styles.to_json() }
    }

    fn write(&self, plans: Plans, written: &mut String) {
        match plans.write(&self.file) {
            Ok(()) => *written = plans.styles,
            Err(error) => {
                tracing::warn!(target: "deckle", %error, "What was learned about the site could not be saved.");
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, String> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pages that are known of the site that is asked so. Another one may send other pages with the same validators.
    pub(super) fn pages(&self, settings: &ProxySettings) -> Option<KnownPages> {
        let same = |before: &ProxySettings| {
            before.upstream == settings.upstream
                && before.host == settings.host
                && before.upstream_coding == settings.upstream_coding
        };
        let known = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(before, _)| same(before)).map(|(_, pages)| pages.clone())
    }

    /// A layer is in force that knows these.
    pub(super) fn keep_pages(&self, settings: &ProxySettings, pages: KnownPages) {
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = Some((settings.clone(), pages));
    }

    /// Sheets of other hosts count while `watermark.stylesheets` names them.
    pub(super) fn keep_sheets(&self, addresses: &[String]) {
        let names: BTreeSet<String> = addresses.iter().filter_map(|address| name_of(address)).collect();
        self.styles.keep_shared(&names);
    }

    /// Fetches these sheets of other hosts, once. A failure is no error: pages that need one carry seals alone.
    pub(super) async fn fetch_sheets(&self, addresses: &[String]) {
        match fetcher() {
            Ok(client) => learn_sheets(&client, &self.styles, addresses).await,
            Err(error) => {
                tracing::warn!(target: "deckle", %error, "Style sheets are not fetched: TLS cannot be set up.");
            }
        }
    }
}

/// What a sheet at this address is known by.
pub(crate) fn name_of(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    let target = address.path_and_query().map_or("/", |target| target.as_str());
    Some(sheet_name(address.authority()?.as_str(), target))
}

async fn learn_sheets<C>(client: &Client<C, Empty<Bytes>>, styles: &Styles, addresses: &[String])
where
    C: Connect + Clone + Send + Sync + 'static,
{
    for address in addresses {
        let learned = match (fetch_document(client, address, SHEET).await, name_of(address)) {
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err("not an address".to_owned()),
            (Ok(sheet), Some(name)) => {
                styles.learn(ANY_HOST, &name, &sheet.body).ok_or_else(|| "it cannot be read".to_owned())
            }
        };
        if let Err(error) = learned {
            tracing::warn!(target: "deckle", sheet = %address, error, "A style sheet is not known; pages that need it carry seals alone.");
        }
    }
}

/// Changes what is kept of style sheets, and tells in which file. A running proxy takes it up when it saves.
///
/// # Errors
/// The file cannot be written.
#[cfg(feature = "cli")]
pub(crate) fn update_styles(dir: &Path, change: impl FnOnce(&Styles)) -> io::Result<PathBuf> {
    let file = dir.join("plans.json");
    let (plans, styles) = (Plans::read(&file), Styles::default());
    styles.load_json(&plans.styles);
    change(&styles);
    std::fs::create_dir_all(dir)?;
    Plans { styles: styles.to_json(), ..plans }.write(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    /// A directory of its own for one test.
    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("deckle-plans-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn what_was_learned_outlives_the_process_and_meets_what_others_have_learned() {
        let dir = dir("both");
        let (first, saved) = Learned::open(dir.join("plans.json"), &Arc::default());
        assert_eq!((saved.version, saved.activated), (0, 0));
        first.styles.learn("a.example", "a.example/s.css", b"p{color:red}");
        first.save(7, 9);
        // `deckle check --learn` while the proxy runs.
        #[cfg(feature = "cli")]
        {
            let other = |styles: &Styles| drop(styles.learn(ANY_HOST, "cdn.example/x.css", b"p{color:blue}"));
            assert_eq!(update_styles(&dir, other).unwrap(), dir.join("plans.json"));
            first.styles.learn("a.example", "a.example/t.css", b"p{color:green}");
            first.save_changes();
        }
        let (second, saved) = Learned::open(dir.join("plans.json"), &Arc::default());
        assert_eq!((saved.version, saved.activated), (7, 9));
        assert_eq!(second.styles.to_json(), first.styles.to_json());
        #[cfg(feature = "cli")]
        for name in ["a.example/s.css", "a.example/t.css", "cdn.example/x.css"] {
            assert!(second.styles.to_json().contains(name), "{name}");
        }
        second.keep_sheets(&["https://other.example/x.css".to_owned()]);
        assert!(!second.styles.to_json().contains("cdn.example"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_of_an_older_version_is_read() {
        let dir = dir("old");
        std::fs::write(dir.join("plans.json"), r#"{"version":3,"activated":5,"findings":"{}"}"#).unwrap();
        let (learned, saved) = Learned::open(dir.join("plans.json"), &Arc::default());
        assert_eq!((saved.version, saved.activated), (3, 5));
        assert!(!learned.findings.knows_any());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn pages_are_handed_on_while_the_site_is_the_same() {
        let dir = dir("pages");
        let (learned, _) = Learned::open(dir.join("plans.json"), &Arc::default());
        let settings = ProxySettings { upstream: Some("http://a.example".to_owned()), ..ProxySettings::default() };
        assert!(learned.pages(&settings).is_none());
        let layer = crate::layer::DeckleLayer::builder().build().unwrap();
        learned.keep_pages(&settings, layer.known_pages());
        let others = ProxySettings { max_headers: 7, ..settings.clone() };
        assert!(learned.pages(&settings).is_some() && learned.pages(&others).is_some());
        let other = ProxySettings { upstream: Some("http://b.example".to_owned()), ..settings };
        assert!(learned.pages(&other).is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn sheets_of_other_hosts_are_fetched_and_failures_are_none() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let kind = if request.uri().path() == "/page.css" { "text/html" } else { "text/css" };
                    let body = Full::new(Bytes::from_static(b"p { margin: 0 }"));
                    Ok::<_, std::convert::Infallible>(
                        Response::builder().header("content-type", kind).body(body).unwrap(),
                    )
                });
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serve);
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        let styles = Styles::default();
        let mut addresses = vec!["none".to_owned()];
        addresses.extend(["/s.css?v=1", "/page.css"].map(|path| format!("http://{host}{path}")));
        learn_sheets(&client, &styles, &addresses).await;
        let known = styles.to_json();
        assert!(known.contains(&format!("{host}/s.css?v=1")) && !known.contains("page.css"), "{known}");
    }
}
