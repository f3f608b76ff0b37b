//! What is known of the style sheets of a site: by host, and for the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::address;
use super::host::{HostRules, MAX_OF_PAGES};
use super::judge::{Form, HostStyles, PageSheets, Sheet};
use super::reader;
use super::rules::SheetRules;
use super::texts::StyleTexts;
use crate::hosts::HostNames;

/// Sheets that count for the pages of every host.
pub(crate) const ANY_HOST: &str = "*";
const MAX_HOSTS: usize = 64;
/// Sheets of one host.
const MAX_SHEETS: usize = 64;
/// Bytes of a name: anybody can ask for a sheet under a long one. A page that names such a sheet is one whose sheets are not known.
const MAX_NAME: usize = 4_096;
/// Changes when sheets are read in another way: what was saved before is read anew.
const READER: u32 = 1;

/// Style sheets of a site, shared by its pages. Fixed bounds; hosts that many networks ask for, and sheets that pages name, stay
/// longest.
#[derive(Debug, Default)]
pub struct Styles {
    known: Mutex<Vec<Host>>,
    /// What pages are judged by: nobody waits for a sheet that is being read.
    now: ArcSwap<BTreeMap<String, Arc<HostStyles>>>,
    texts: Arc<StyleTexts>,
    names: Arc<HostNames>,
}

#[derive(Debug, Default)]
struct Host {
    name: String,
    /// The oldest first.
    sheets: Vec<Arc<Sheet>>,
    /// What the pages themselves have said.
    pages: SheetRules,
}

impl Host {
    fn put(&mut self, sheet: Sheet) {
        if let Some(old) = self.sheets.iter().position(|old| old.name == sheet.name) {
            sheet.follow(&self.sheets.remove(old));
        }
        self.sheets.push(Arc::new(sheet));
        if self.sheets.len() > MAX_SHEETS {
            let least = self.least();
            self.sheets.remove(least);
        }
    }

    /// The sheet that is needed least. Anybody can ask for one under many addresses: a name more of a text that is here says
    /// nothing, and pages name only some.
    fn least(&self) -> usize {
        let idle = |sheet: &Arc<Sheet>| !sheet.wanted.load(Ordering::Relaxed);
        let again = |sheet: &Arc<Sheet>| self.sheets.iter().filter(|one| one.content == sheet.content).count() > 1;
        let repeated = self.sheets.iter().position(|sheet| idle(sheet) && again(sheet));
        repeated.or_else(|| self.sheets.iter().take(MAX_SHEETS).position(idle)).unwrap_or(0)
    }

    fn is_wanted(&self) -> bool {
        self.sheets.iter().any(|sheet| sheet.wanted.load(Ordering::Relaxed))
    }
}

impl Styles {
    /// Those that keep the hosts that most networks ask for; give the same names to
    /// [`IdentifyLayer::host_names`](crate::visitor::IdentifyLayer::host_names). Without, the first hosts stay.
    pub fn among(names: Arc<HostNames>) -> Self {
        Self { names, ..Self::default() }
    }

    /// What is known for the pages of a host now.
    pub(crate) fn host(&self, host: &str) -> Arc<HostStyles> {
        let now = self.now.load();
        now.get(&*address::host(host)).or_else(|| now.get(ANY_HOST)).cloned().unwrap_or_default()
    }

    /// What the `<style>` elements of pages have said.
    pub(crate) fn texts(&self) -> &Arc<StyleTexts> {
        &self.texts
    }

    /// Reads a sheet that the pages of `host` may name; `name` is [`name`](address::name). `None`: it cannot be read, or
    /// its name is too long.
    pub(crate) fn learn(&self, host: &str, name: &str, css: &[u8]) -> Option<Arc<SheetRules>> {
        if name.len() > MAX_NAME {
            return None;
        }
        let (host, content) = (address::host(host), XxHash3_64::oneshot(css));
        let known = self.with(|hosts| {
            let of_host = hosts.iter().find(|known| known.name == host);
            let same = |sheet: &&Arc<Sheet>| sheet.content == content;
            let here = of_host.is_some_and(|known| known.sheets.iter().any(|s| s.name == name && s.content == content));
            let rules = hosts.iter().flat_map(|known| &known.sheets).find(same).map(|sheet| sheet.rules.clone());
            (here, rules)
        });
        if let (true, Some(rules)) = known {
            return rules;
        }
        // Nobody waits for this but who brings the sheet.
        let rules = known.1.unwrap_or_else(|| reader::read(css).map(Arc::new));
        self.put(&host, Sheet::new(name.to_owned(), content, rules.clone()));
        rules
    }

    /// A sheet that is known came in this form.
    pub(crate) fn came(&self, host: &str, name: &str, form: Form) {
        self.with(|hosts| {
            let host = address::host(host);
            let known = hosts.iter().filter(|known| known.name == host).flat_map(|known| &known.sheets);
            known.filter(|sheet| sheet.name == name).for_each(|sheet| sheet.came(form));
        });
    }

    /// Sheets of other hosts that are not among these count no longer.
    pub fn keep_shared(&self, names: &BTreeSet<String>) {
        self.with(|hosts| {
            let Some(shared) = hosts.iter_mut().find(|host| host.name == ANY_HOST) else { return };
            let before = shared.sheets.len();
            shared.sheets.retain(|sheet| names.contains(&sheet.name));
            if shared.sheets.len() != before {
                self.publish(hosts, ANY_HOST);
            }
        });
    }

    /// A sheet that is known may have another text, which nobody has read.
    pub(crate) fn forget(&self, host: &str, name: &str) {
        let host = address::host(host);
        let knows = |known: &Host| known.name == host && known.sheets.iter().any(|s| s.name == name && s.content != 0);
        if self.with(|hosts| hosts.iter().any(knows)) {
            self.put(&host, Sheet::unread(name.to_owned()));
        }
    }

    /// What the `<style>` elements of a page have said, for the next page.
    pub(crate) fn learn_page(&self, host: &str, page: &PageSheets) {
        self.with(|hosts| {
            let host = address::host(host);
            let new = self.entry(hosts, &host).is_some_and(|known| {
                let rules = [page.inline(), page.late()];
                rules.map(|rules| known.pages.add_regions(rules, MAX_OF_PAGES)).contains(&true)
            });
            if new {
                self.publish(hosts, &host);
            }
        });
    }

    fn put(&self, host: &str, sheet: Sheet) {
        self.with(|hosts| {
            if let Some(known) = self.entry(hosts, host) {
                known.put(sheet);
                self.publish(hosts, host);
            }
        });
    }

    /// The entry of a host, for which another one may go. `None`: there is no room for it.
    fn entry<'h>(&self, hosts: &'h mut Vec<Host>, name: &str) -> Option<&'h mut Host> {
        if !hosts.iter().any(|host| host.name == name) {
            let named = || hosts.iter().filter(|host| host.name != ANY_HOST);
            if name != ANY_HOST && named().count() >= MAX_HOSTS {
                // A client can send any name. Of as many networks those go first whose sheets no page has named.
                let known = named().map(|host| (host.name.as_str(), host.is_wanted()));
                let least = self.names.gives_way(name, known)?.to_owned();
                hosts.retain(|host| host.name != least);
            }
            hosts.push(Host { name: name.to_owned(), ..Host::default() });
        }
        hosts.iter_mut().find(|host| host.name == name)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Host>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts what is known now before the pages. Only what nobody has said before is put together anew: under how many names a
    /// text comes, and on how many hosts, is anybody's choice.
    fn publish(&self, hosts: &[Host], changed: &str) {
        let shared = hosts.iter().find(|host| host.name == ANY_HOST).map(|host| host.sheets.as_slice());
        let shared = shared.unwrap_or_default();
        let before = self.now.load();
        let mut now: BTreeMap<String, Arc<HostStyles>> = BTreeMap::new();
        for host in hosts {
            let kept = before.get(&host.name).filter(|_| host.name != changed && changed != ANY_HOST);
            let styles = kept.cloned().unwrap_or_else(|| {
                let others: &[Arc<Sheet>] = if host.name == ANY_HOST { &[] } else { shared };
                let sheets: Vec<Arc<Sheet>> = others.iter().chain(&host.sheets).cloned().collect();
                let source = HostRules::source(&sheets, &host.pages);
                let known = now.values().chain(before.values()).find(|styles| styles.rules.source == source);
                let rules = known
                    .map_or_else(|| Arc::new(HostRules::new(&sheets, &host.pages)), |styles| Arc::clone(&styles.rules));
                Arc::new(HostStyles::new(sheets.into_iter(), rules))
            });
            now.insert(host.name.clone(), styles);
        }
        self.now.store(Arc::new(now));
    }

    /// What is known as JSON, for a file that outlives a restart.
    pub fn to_json(&self) -> String {
        self.with(|hosts| {
            let sheets = hosts.iter().flat_map(|host| &host.sheets);
            let contents = sheets.map(|sheet| (sheet.content, sheet.rules.as_deref())).collect();
            let names = |host: &Host| host.sheets.iter().map(|sheet| (sheet.name.clone(), sheet.content)).collect();
            let hosts = hosts
                .iter()
                .map(|host| SavedHost { name: host.name.clone(), sheets: names(host), pages: host.pages.clone() })
                .collect();
            serde_json::to_string(&Saved { reader: READER, contents, hosts }).unwrap_or_default()
        })
    }

    /// Reads [`Styles::to_json`] of an earlier process, or of another one beside this: what is known here stays, but for sheets
    /// of other hosts. What does not parse, or was read in another way, is nothing.
    pub fn load_json(&self, text: &str) {
        let Ok(saved) = serde_json::from_str::<Saved<SheetRules>>(text) else { return };
        if saved.reader != READER {
            return;
        }
        let contents: BTreeMap<u64, Arc<SheetRules>> =
            saved.contents.into_iter().filter_map(|(content, rules)| Some((content, Arc::new(rules?)))).collect();
        self.with(|hosts| {
            for one in saved.hosts.into_iter().take(MAX_HOSTS + 1) {
                let Some(host) = self.entry(hosts, &one.name) else { continue };
                host.pages.add_regions(&one.pages, MAX_OF_PAGES);
                for (name, content) in one.sheets {
                    let known = host.sheets.iter().find(|sheet| sheet.name == name);
                    if known.is_none_or(|known| host.name == ANY_HOST && known.content != content) {
                        host.put(Sheet::new(name, content, contents.get(&content).cloned()));
                    }
                }
            }
            self.publish(hosts, ANY_HOST);
        });
    }
}

#[derive(Serialize, Deserialize)]
struct Saved<R> {
    reader: u32,
    /// By the hash of their text; `null`: it could not be read.
    contents: BTreeMap<u64, Option<R>>,
    hosts: Vec<SavedHost>,
}

#[derive(Serialize, Deserialize)]
struct SavedHost {
    name: String,
    sheets: Vec<(String, u64)>,
    pages: SheetRules,
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;
    use crate::page::marks::Gate;

    fn page(host: &str, links: &[&str]) -> PageSheets {
        let base: Uri = format!("http://{host}/").parse().unwrap();
        let mut page = PageSheets::default();
        for link in links {
            page.link(Some(&base), link);
        }
        page
    }

    fn white(styles: &Styles, host: &str, links: &[&str]) -> Option<&'static str> {
        styles.host(host).judge(&page(host, links)).white
    }

    const UNKNOWN: Option<&str> = Some("w:css_unknown");

    #[test]
    fn a_page_is_open_once_its_sheets_have_passed_and_closed_when_they_change() {
        let styles = Styles::default();
        assert_eq!(white(&styles, "a.example", &["/s.css"]), UNKNOWN);
        assert_eq!(white(&styles, "a.example", &[]), None, "no sheet, nothing to know");
        styles.learn("A.example:443", "a.example/s.css", b"p{margin:0}").unwrap();
        assert_eq!(white(&styles, "a.example", &["/s.css"]), None);
        assert_eq!(white(&styles, "b.example", &["/s.css"]), UNKNOWN, "hosts are known apart");
        let before = styles.host("a.example");
        styles.learn("a.example", "a.example/s.css", b"p{margin:0}");
        assert!(Arc::ptr_eq(&before, &styles.host("a.example")), "the same text changes nothing");
        styles.learn("a.example", "a.example/s.css", b"p{white-space:var(--x)}:is(p){white-space:pre}");
        assert_eq!(white(&styles, "a.example", &["/s.css"]), Some("w:css_preserves"));
        assert_ne!(before.fingerprint(), styles.host("a.example").fingerprint());
        assert_eq!(before.judge(&page("a.example", &["/s.css"])), Gate::default(), "who is on the way stays there");
        assert_eq!(styles.learn("a.example", "a.example/s.css", b"/*"), None);
        assert_eq!(white(&styles, "a.example", &["/s.css"]), UNKNOWN);
        styles.learn("a.example", "a.example/s.css", b"");
        styles.forget("a.example", "a.example/s.css");
        styles.forget("a.example", "a.example/other.css");
        assert_eq!(white(&styles, "a.example", &["/s.css"]), UNKNOWN);
    }

    fn form(codings: u64, hash: u64) -> Form {
        Form { codings, hash }
    }

    #[test]
    fn a_form_that_came_before_is_known_until_the_text_changes() {
        let styles = Styles::default();
        let (host, name) = ("a.example", "a.example/s.css");
        let has_come = |hash| styles.host(host).has_come(name, form(1, hash));
        styles.came(host, name, form(1, 7));
        assert!(!has_come(7), "nothing is known of it");
        styles.learn(host, name, b"");
        (0..9).for_each(|hash| styles.came(host, name, form(1, hash)));
        assert_eq!([0, 4, 5, 8].map(has_come), [false, false, true, true]);
        assert!(!styles.host(host).has_come(name, form(2, 8)), "another coding");
        styles.learn(host, name, b"p{margin:0}");
        assert!(!has_come(8));
    }

    #[test]
    fn a_sheet_is_steady_while_it_comes_as_it_was() {
        let styles = Styles::default();
        let (host, name) = ("a.example", "a.example/s.css");
        let steady = || [1, 2].map(|codings| styles.host(host).is_steady(name, codings));
        styles.learn(host, name, b"");
        for codings in [1, 2] {
            styles.came(host, name, form(codings, 7));
        }
        assert_eq!(steady(), [false, false], "it came once");
        assert!(styles.host(host).has_come(name, form(1, 7)));
        assert_eq!(steady(), [true, false]);
        styles.came(host, name, form(1, 8));
        assert_eq!(steady(), [false, false], "two forms of one coding");
        // One that has changed while nobody kept a copy is kept each time.
        styles.learn(host, name, b"p{margin:0}");
        styles.came(host, name, form(1, 9));
        assert!(styles.host(host).has_come(name, form(1, 9)));
        assert_eq!(steady(), [true, false]);
        for text in [&b"p{margin:0}"[..], b"/*"] {
            styles.learn(host, name, text);
            styles.forget(host, name);
            assert!(!styles.host(host).has_come(name, form(1, 9)));
            styles.learn(host, name, text);
            styles.came(host, name, form(1, 9));
            assert!(styles.host(host).has_come(name, form(1, 9)) && steady() == [false, false]);
        }
    }

    fn one_of(css: &str) -> Option<Arc<SheetRules>> {
        reader::read(css.as_bytes()).map(Arc::new)
    }

    #[test]
    fn sheets_of_other_hosts_count_for_all() {
        let styles = Styles::default();
        styles.learn(ANY_HOST, "cdn.example/x.css", b"#y{white-space:pre}");
        let links = ["//cdn.example/x.css"];
        assert_eq!(white(&styles, "a.example", &links), None, "a host of which nothing is known");
        styles.learn("b.example", "b.example/s.css", b"");
        assert_eq!(white(&styles, "b.example", &links), None);
        assert_eq!(styles.host("b.example").selectors().0.len(), 1);
        styles.learn(ANY_HOST, "cdn.example/x.css", b":is(p){white-space:pre}");
        assert_eq!(white(&styles, "b.example", &links), Some("w:css_preserves"));
    }

    #[test]
    fn a_style_element_counts_on_the_next_page() {
        let styles = Styles::default();
        let mut one = page("a.example", &[]);
        one.style(None, one_of(".poem{white-space:pre}").as_ref());
        assert_eq!(styles.host("a.example").judge(&one).white, Some("w:css_preserves"));
        styles.learn_page("a.example", &one);
        let known = styles.host("a.example");
        assert_eq!(known.judge(&one), Gate::default());
        assert!(known.classes(b"poem", false).preserve);
        for i in 0..2_000 {
            let mut one = page("a.example", &[]);
            one.style(None, one_of(&format!("#x{i} :not(b){{white-space:pre}}")).as_ref());
            styles.learn_page("a.example", &one);
        }
        assert_eq!(styles.host("a.example").judge(&one), Gate::default(), "too many shut out themselves alone");
        assert!(styles.to_json().len() < 64 << 10);
    }

    #[test]
    fn what_finds_no_room_is_known_and_shuts_out_its_own_page_alone() {
        let (styles, host) = (Styles::default(), "a.example");
        let says = |css: String| {
            let mut one = page(host, &[]);
            one.style(None, one_of(&css).as_ref());
            one
        };
        let shut = Gate { white: Some("w:css_preserves"), seal: None };
        // More selectors than a scan looks for.
        let many = says((0..30).map(|i| format!("#x{i}{{white-space:pre}}")).collect());
        assert!(!styles.host(host).knows(&many));
        styles.learn_page(host, &many);
        let known = styles.host(host);
        assert!(known.knows(&many) && known.judge(&many) == shut);
        styles.learn_page(host, &many);
        assert!(Arc::ptr_eq(&known, &styles.host(host)), "nothing is new");
        // What is covered is learned, too, so that nobody looks into it again.
        styles.learn(host, "a.example/s.css", b".poem{white-space:pre}");
        let covered = says("p.poem{white-space:pre}".to_owned());
        assert!(!styles.host(host).knows(&covered) && styles.host(host).judge(&covered) == Gate::default());
        styles.learn_page(host, &covered);
        assert!(styles.host(host).knows(&covered) && styles.host(host).judge(&covered) == Gate::default());
        // More than is kept of pages.
        for i in 0..MAX_OF_PAGES {
            styles.learn_page(host, &says(format!(".y{i}{{white-space:pre}}")));
        }
        let known = styles.host(host);
        for new in [".new{white-space:pre}", "b.poem{white-space:pre}"].map(|css| says(css.to_owned())) {
            assert!(known.knows(&new) && known.judge(&new) == shut);
        }
        assert_eq!(known.judge(&says(".y0{white-space:pre}".to_owned())), Gate::default());
    }

    #[test]
    fn memory_is_bounded_and_sheets_that_pages_name_stay() {
        let styles = Styles::default();
        styles.learn("a.example", "a.example/s.css", b".x{display:flex}");
        let (before, links) = (styles.host("a.example").fingerprint(), ["/s.css"]);
        assert_eq!(white(&styles, "a.example", &links), None);
        for i in 0..10_000 {
            styles.learn("a.example", &format!("a.example/s.css?{i}"), b".x{display:flex}");
        }
        assert_eq!(white(&styles, "a.example", &links), None);
        assert_eq!(styles.host("a.example").fingerprint(), before, "plans of pages stay");
        assert_eq!(styles.with(|hosts| hosts.iter().map(|host| host.sheets.len()).sum::<usize>()), MAX_SHEETS);
        for i in 0..1_000 {
            styles.learn(&format!("h{i}.example"), "x/s.css", b"");
        }
        let long = format!("/s.css?{}", "x".repeat(MAX_NAME));
        assert!(styles.learn("a.example", &format!("a.example{long}"), b".x{display:flex}").is_none());
        assert!(white(&styles, "a.example", &[&long]).is_some());
        assert_eq!(white(&styles, "a.example", &links), None);
        assert_eq!(styles.with(|hosts| hosts.len()), MAX_HOSTS);
        assert!(styles.to_json().len() < 64 << 10, "the same text is written once");
    }

    #[test]
    fn one_text_under_many_names_and_on_many_hosts_is_put_together_once() {
        let styles = Styles::default();
        let (host, css) = ("a.example", b".x{display:flex}");
        styles.learn(host, "a.example/s.css", css);
        styles.learn(host, "a.example/t.css", b"#y{white-space:pre}");
        let before = styles.host(host);
        for i in 0..1_000 {
            styles.learn(host, &format!("a.example/s.css?{i}"), css);
            assert!(Arc::ptr_eq(&before.rules, &styles.host(host).rules));
        }
        assert_eq!(white(&styles, host, &["/s.css?999"]), None, "the name is known all the same");
        // Nobody has asked for it yet, and it stays: no other sheet says the same.
        assert_eq!(white(&styles, host, &["/t.css"]), None);
        styles.learn("h0.example", "h0.example/s.css", css);
        let first = styles.host("h0.example");
        for i in 1..MAX_HOSTS - 1 {
            let host = format!("h{i}.example");
            styles.learn(&host, &format!("{host}/s.css"), css);
            assert!(Arc::ptr_eq(&first.rules, &styles.host(&host).rules));
        }
        // What counts for all hosts has a place of its own, however many there are.
        styles.learn(ANY_HOST, "cdn.example/x.css", b"");
        for i in 0..200 {
            styles.learn(&format!("w{i}.example"), "x/s.css", css);
        }
        for host in ["h0.example", "h61.example"] {
            assert_eq!(white(&styles, host, &["/s.css", "//cdn.example/x.css"]), None, "{host}");
        }
    }

    #[test]
    fn hosts_that_one_client_makes_up_have_no_place_of_the_site() {
        let names = Arc::new(HostNames::default());
        let styles = Styles::among(Arc::clone(&names));
        let learn = |host: &str| styles.learn(host, &format!("{host}/s.css"), b"p{margin:0}");
        let is_known = |host: &str| white(&styles, host, &["/s.css"]).is_none();
        let ask = |host: &str, networks: u32| (0..networks).for_each(|network| _ = names.asked(host, &network));
        ask("early.example", 20);
        learn("early.example");
        assert!(is_known("early.example"));
        // Pages name their sheets, too.
        for i in 0..1_000 {
            let host = format!("h{i}.example:8{i:03}");
            ask(&host, 1);
            learn(&host);
            is_known(&host);
        }
        assert!(is_known("early.example") && is_known("h0.example:8000") && !is_known("h999.example:8999"));
        ask("late.example:8080", 20);
        learn("late.example:8080");
        assert!(is_known("late.example:8080") && is_known("early.example"));
        assert_eq!(styles.with(|hosts| hosts.len()), MAX_HOSTS);
    }

    #[test]
    fn what_is_known_outlives_a_restart() {
        let styles = Styles::default();
        styles.learn("a.example", "a.example/s.css", b"@import 'o.css';#p{white-space:pre}.x{display:flex}");
        styles.learn("a.example", "a.example/o.css", b"");
        styles.learn("a.example", "a.example/cut.css", b"/*");
        styles.learn(ANY_HOST, "cdn.example/s.css", b"");
        let copy = Styles::default();
        copy.load_json(&styles.to_json());
        assert_eq!(copy.to_json(), styles.to_json());
        assert_eq!(white(&copy, "a.example", &["/s.css", "//cdn.example/s.css"]), None);
        assert_eq!(white(&copy, "a.example", &["/cut.css"]), UNKNOWN);
        assert_eq!(copy.host("a.example").fingerprint(), styles.host("a.example").fingerprint());
        copy.learn("a.example", "a.example/o.css", b"p{color:red}");
        copy.learn(ANY_HOST, "cdn.example/s.css", b"p{color:red}");
        copy.load_json(&styles.to_json());
        copy.with(|hosts| {
            let content = |name: &str| hosts.iter().flat_map(|h| &h.sheets).find(|s| s.name == name).unwrap().content;
            assert_eq!(content("a.example/o.css"), XxHash3_64::oneshot(b"p{color:red}"), "what is known here stays");
            assert_eq!(content("cdn.example/s.css"), XxHash3_64::oneshot(b""), "what somebody has fetched is taken");
        });
        copy.keep_shared(&BTreeSet::new());
        assert_eq!(white(&copy, "a.example", &["//cdn.example/s.css"]), UNKNOWN);
        let kept = copy.to_json();
        copy.load_json("not json");
        copy.load_json(&kept.replace(&format!("\"reader\":{READER}"), "\"reader\":0"));
        assert_eq!(copy.to_json(), kept);
    }
}
