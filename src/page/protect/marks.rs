//! How the copies of a site are marked: what `[watermark]` says, with the keys, built once.

use std::sync::Arc;

use lol_html::Selector;

use super::layer::Marking;
use crate::page::marks::{MarkRules, Variants};
use crate::page::tee::Room;
use crate::page::{Findings, PageError, Styles};
use crate::secret::HmacKey;
use crate::slot::FormKinds;
use crate::visitor::PathGlobs;
use crate::watermark::{Channels, Consistency, Hydrated, Level, Mark, Marker, Settings, Whitespace};

/// Selectors of `roots`, `preserve` and `skip` together: a scan tries each of them on every element.
const MAX_SELECTORS: usize = 24;

/// What is needed to mark copies.
pub(super) struct Marks {
    pub(super) level: Level,
    pub(super) channels: Channels,
    pub(super) marker: Marker,
    pub(super) findings: Arc<Findings>,
    pub(super) styles: Arc<Styles>,
    /// Of copies of sheets that pass.
    pub(super) room: Room,
    /// White space is used only where all style sheets of a page are known.
    pub(super) prove_white: bool,
    paths: MarkedPaths,
    /// Tells entity tags of copies apart.
    etag_key: HmacKey,
}

impl Marks {
    /// `None` at level `off`.
    pub(super) fn new(marking: &Marking) -> Result<Option<Self>, PageError> {
        let Marking { secrets, settings, findings, styles } = marking;
        let paths = MarkedPaths::new(&settings.paths)?;
        let level = level(settings);
        Ok((level != Level::Off).then(|| Self {
            level,
            channels: channels(settings),
            marker: Marker::new(secrets, settings),
            findings: Arc::clone(findings),
            styles: Arc::clone(styles),
            room: Room::default(),
            prove_white: settings.channels.whitespace == Whitespace::Auto,
            paths,
            etag_key: HmacKey::new(&secrets.active().derive("deckle-etag-1", "mark")),
        }))
    }

    /// Why no copy of a page of this path is marked, whoever asks for it.
    pub(super) fn spare(&self, path: &str) -> Option<&'static str> {
        if self.channels == Channels::default() {
            return Some("channels_off");
        }
        (!self.paths.has(path)).then_some("path")
    }

    /// What tells this mark's copy of a page from others, by the entity tag of the site's own.
    pub(super) fn tag_of(&self, mark: Mark, opaque: &[u8]) -> [u8; 4] {
        let [_, _, id @ ..] = mark.id.to_be_bytes();
        let [a, b, c, d, ..] = self.etag_key.tag(&[&[mark.kid], &id, &[0], opaque]);
        [a, b, c, d]
    }
}

fn level(settings: &Settings) -> Level {
    settings.level.unwrap_or(Level::InvisibleSafe)
}

fn channels(settings: &Settings) -> Channels {
    let level = level(settings);
    Channels {
        seal: settings.channels.seal,
        // `auto` is judged page by page.
        white: settings.channels.whitespace != Whitespace::Off,
        forms: level >= Level::Typographic,
        variants: level >= Level::Variants,
        tokens: settings.markup,
    }
}

/// What of a site's pages may carry marks.
///
/// # Errors
/// [`PageError::Entry`] for a selector that does not hold.
pub(super) fn rules(settings: &Settings, mount: &Arc<str>) -> Result<MarkRules, PageError> {
    let mut left = MAX_SELECTORS;
    let mut selectors = |key, list: &[String]| selectors(key, list, &mut left);
    let level = level(settings);
    let kinds = settings.typographic.kinds.as_ref();
    let kinds = kinds.map_or(FormKinds::ALL, |kinds| FormKinds::of(&kinds.iter().collect::<String>()));
    Ok(MarkRules {
        roots: selectors("watermark.roots", &settings.roots)?,
        preserve: selectors("watermark.preserve", &settings.preserve)?,
        skip: selectors("watermark.skip", &settings.skip)?,
        forms: if level >= Level::Typographic { kinds } else { FormKinds::NONE },
        block_consistency: settings.typographic.consistency == Consistency::Block,
        variants: if level >= Level::Variants { Variants::Choose } else { Variants::First },
        tokens: settings.markup && level != Level::Off,
        mount: Arc::clone(mount),
        hydrated_ok: settings.hydrated == Hydrated::Mark,
        note: level != Level::Off,
        ..MarkRules::default()
    })
}

fn selectors(key: &'static str, list: &[String], left: &mut usize) -> Result<Arc<[Selector]>, PageError> {
    let parse = |(at, text): (usize, &String)| {
        let entry = |message| PageError::Entry { key, at, message };
        *left =
            left.checked_sub(1).ok_or_else(|| entry(format!("there is room for {MAX_SELECTORS} selectors in all")))?;
        text.parse::<Selector>()
            .map_err(|error| entry(format!("`{text}` is no selector that can be used here: {error}")))
    };
    list.iter().enumerate().map(parse).collect()
}

/// The rules as they hold for one page; `unmarked`: no mark may stand in it.
pub(super) fn of_page(rules: &MarkRules, host: impl Into<Arc<str>>, unmarked: bool) -> MarkRules {
    let mut rules = MarkRules { host: host.into(), ..rules.clone() };
    if unmarked {
        rules.forms = FormKinds::NONE;
        rules.tokens = false;
        rules.note = false;
        if rules.variants == Variants::Choose {
            rules.variants = Variants::First;
        }
    }
    rules
}

/// `watermark.paths`.
struct MarkedPaths {
    /// `None`: all.
    only: Option<PathGlobs>,
    never: PathGlobs,
}

impl MarkedPaths {
    fn new(list: &[String]) -> Result<Self, PageError> {
        const KEY: &str = "watermark.paths";
        let holds = |glob: &str| glob.strip_prefix('!').unwrap_or(glob).starts_with(['/', '*']);
        if let Some((at, glob)) = list.iter().enumerate().find(|(_, glob)| !holds(glob)) {
            let message = format!("`{glob}` is no glob of paths, which begins with `/` or `*`");
            return Err(PageError::Entry { key: KEY, at, message });
        }
        let globs = |list: &[&str]| PathGlobs::new(list).map_err(|message| PageError::Value { key: KEY, message });
        let never: Vec<&str> = list.iter().filter_map(|glob| glob.strip_prefix('!')).collect();
        let only: Vec<&str> = list.iter().map(String::as_str).filter(|glob| !glob.starts_with('!')).collect();
        let only = (!only.is_empty()).then(|| globs(&only)).transpose()?;
        Ok(Self { only, never: globs(&never)? })
    }

    fn has(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(path)) && !self.never.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Secret, Secrets};
    use crate::slot::PlaceKind;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn marks(change: impl FnOnce(&mut Settings)) -> Result<Option<Marks>, PageError> {
        let mut settings = Settings::default();
        change(&mut settings);
        let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
        Marks::new(&Marking { secrets, settings, findings: Arc::default(), styles: Arc::default() })
    }

    fn rules_of(change: impl FnOnce(&mut Settings)) -> Result<MarkRules, PageError> {
        let mut settings = Settings::default();
        change(&mut settings);
        rules(&settings, &"/.deckle".into())
    }

    #[test]
    fn a_selector_or_glob_that_does_not_hold_is_named_with_its_place() {
        let good = texts(&["article", ".story > p", "[itemprop=articleBody]"]);
        let table: [(&str, fn(&mut Settings, Vec<String>)); 3] = [
            ("watermark.roots[3]", |s, list| s.roots = list),
            ("watermark.preserve[3]", |s, list| s.preserve = list),
            ("watermark.skip[3]", |s, list| s.skip = list),
        ];
        for (key, change) in table {
            assert!(rules_of(|s| change(s, good.clone())).is_ok());
            for bad in ["p:has(a)", "a[", "", "p::before"] {
                let list = [good.clone(), texts(&[bad])].concat();
                let error = rules_of(|s| change(s, list)).unwrap_err().to_string();
                assert!(error.starts_with(&format!("`{key}`: `{bad}` is no selector")), "{error}");
            }
        }
        let error = marks(|s| s.paths = texts(&["/news/**", "!news"])).err().unwrap().to_string();
        assert!(error.starts_with("`watermark.paths[1]`: `!news` is no glob"), "{error}");
        // At level off, too: who switches it on is not surprised.
        assert!(marks(|s| (s.level, s.paths) = (Some(Level::Off), texts(&["news"]))).is_err());
        assert!(rules_of(|s| (s.level, s.roots) = (Some(Level::Off), texts(&["a["]))).is_err());
    }

    #[test]
    fn there_is_room_for_so_many_selectors() {
        let many = |count: usize| vec!["p.x".to_owned(); count];
        let of = |roots: usize, skip: usize| rules_of(|s| (s.roots, s.skip) = (many(roots), many(skip)));
        assert_eq!(of(10, 14).map(|rules| (rules.roots.len(), rules.skip.len())).unwrap(), (10, 14));
        let error = of(10, 15).unwrap_err().to_string();
        assert_eq!(error, "`watermark.skip[14]`: there is room for 24 selectors in all");
    }

    #[test]
    fn paths_are_taken_in_and_out() {
        let table: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &["/", "/news/a"], &[]),
            (&["/news/**"], &["/news", "/news/a", "/news/a/b"], &["/", "/newsroom", "/about"]),
            (&["!/about", "!/legal/*"], &["/", "/news/a", "/legal/a/b"], &["/about", "/legal/a"]),
            (&["/news/**", "!/news/live/**"], &["/news/a"], &["/news/live/a", "/about"]),
        ];
        for (list, marked, unmarked) in table {
            let marks = marks(|s| s.paths = texts(list)).unwrap().unwrap();
            assert!(marked.iter().all(|path| marks.spare(path).is_none()), "{list:?}");
            assert!(unmarked.iter().all(|path| marks.spare(path) == Some("path")), "{list:?}");
        }
    }

    #[test]
    fn the_level_decides_what_may_carry_a_mark() {
        let of = |level, change: fn(&mut Settings)| {
            let with = |s: &mut Settings| {
                s.level = level;
                change(s);
            };
            let rules = rules_of(with).unwrap();
            let forms = ['a', 'q', 'e', 'd'].into_iter().zip([
                PlaceKind::Apostrophe,
                PlaceKind::Quotes,
                PlaceKind::Ellipsis,
                PlaceKind::Dash,
            ]);
            let forms: String = forms.filter(|(_, kind)| rules.forms.has(*kind)).map(|(letter, _)| letter).collect();
            (forms, rules.variants, rules.tokens, rules.note, marks(with).unwrap().map(|marks| marks.channels))
        };
        let safe = Channels { seal: true, white: true, ..Channels::default() };
        let (first, choose) = (Variants::First, Variants::Choose);
        #[rustfmt::skip]
        let table: [(Option<Level>, fn(&mut Settings), &str, Variants, bool, bool, Option<Channels>); 8] = [
            (None, |_| {}, "", first, false, true, Some(safe)),
            (Some(Level::Off), |s| s.markup = true, "", first, false, false, None),
            (Some(Level::InvisibleSafe), |s| s.channels.whitespace = Whitespace::Always, "", first, false, true,
                Some(safe)),
            (Some(Level::InvisibleSafe), |s| s.channels.whitespace = Whitespace::Off, "", first, false, true,
                Some(Channels { white: false, ..safe })),
            (Some(Level::InvisibleSafe), |s| s.markup = true, "", first, true, true, Some(Channels { tokens: true, ..safe })),
            (Some(Level::Typographic), |_| {}, "aqed", first, false, true, Some(Channels { forms: true, ..safe })),
            (Some(Level::Typographic), |s| s.typographic.kinds = Some(vec!['d', 'a']), "ad", first, false, true,
                Some(Channels { forms: true, ..safe })),
            (Some(Level::Variants), |_| {}, "aqed", choose, false, true,
                Some(Channels { forms: true, variants: true, ..safe })),
        ];
        for (level, change, forms, variants, tokens, note, channels) in table {
            assert_eq!(of(level, change), (forms.to_owned(), variants, tokens, note, channels), "{level:?}");
        }
        let off = (false, Whitespace::Off);
        let none = marks(|s| (s.channels.seal, s.channels.whitespace) = off).unwrap().unwrap();
        assert_eq!(none.spare("/a"), Some("channels_off"));
    }

    #[test]
    fn a_page_without_a_mark_shows_the_first_alternative_and_nothing_else_is_chosen() {
        let all = rules_of(|s| (s.level, s.markup) = (Some(Level::Variants), true)).unwrap();
        let marked = of_page(&all, "news.example", false);
        assert_eq!(
            (marked.variants, marked.tokens, marked.note, &*marked.host),
            (Variants::Choose, true, true, "news.example")
        );
        let page = of_page(&all, "news.example", true);
        assert_eq!(
            (page.variants, page.tokens, page.note, page.forms),
            (Variants::First, false, false, FormKinds::NONE)
        );
        assert_eq!(of_page(&MarkRules::default(), "", true).variants, Variants::Ignore);
    }
}
