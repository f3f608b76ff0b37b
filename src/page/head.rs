//! Where the head insertion goes: the scan of a page's beginning.
//!
//! The place is *before the first element of `head` that is not `meta`*: the charset stays within the first 1,024
//! bytes, a policy in a `<meta>` is seen before the tag is written, and a `<base>` comes behind it. A page without
//! doctype, `html`, `head` or `body` is a fragment; nothing is inserted there. Content decides, never request headers.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use lol_html::Selector;
use lol_html::html_content::{Doctype, EndTag};
use lol_html::send::{DocumentContentHandlers, Element, ElementContentHandlers, Settings};

use super::csp::{self, Policies};
use super::scan::Border;

/// Names of `<meta>` elements that are remembered.
const MAX_METAS: usize = 64;

/// What the beginning of a page shows.
#[derive(Debug, Clone)]
pub(crate) struct HeadFindings {
    /// Where the scan of the body starts, and what is inserted there.
    pub(crate) place: Option<Place>,
    /// `lang` of the `html` element.
    pub(crate) lang: Option<String>,
    /// The page is AMP: no author script, no marks.
    pub(crate) amp: bool,
    /// The policies of the response, those in a `<meta>` included; `None`: no guard goes out.
    pub(crate) policies: Option<Policies>,
    /// One in a `<meta>` lets no style sheet of the page's own origin in.
    pub(crate) sheets_refused: bool,
    /// The `html` element says that the page has no guard.
    pub(crate) exempt: bool,
    /// Values of `content` that change, with the policies that take their place.
    pub(crate) amended: Vec<(Range<u64>, String)>,
    /// Names of the `<meta>` elements so far, in lower case.
    pub(crate) metas: Vec<String>,
    /// One of them declares the charset: it stands before what is inserted.
    pub(crate) charset_seen: bool,
    /// The start tag of `html`, for the scan that begins behind it.
    pub(crate) prefix: Vec<u8>,
    is_document: bool,
}

/// The end of the head scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Insert at this offset.
    Insert(u64),
    /// A fragment: nothing is inserted, text may be marked from here on.
    Fragment(u64),
    /// Nothing may be inserted or marked: frames, another deckle's work, a signed page.
    Leave(LeaveReason),
}

/// Why a page is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveReason {
    Frameset,
    Already,
    Signed,
}

impl LeaveReason {
    /// The stable spelling.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Frameset => "frameset",
            Self::Already => "already",
            Self::Signed => "signed",
        }
    }
}

impl HeadFindings {
    pub(crate) fn new(policies: Option<Policies>) -> Self {
        Self {
            place: None,
            lang: None,
            amp: false,
            policies,
            sheets_refused: false,
            exempt: false,
            amended: Vec::new(),
            metas: Vec::new(),
            charset_seen: false,
            prefix: Vec::new(),
            is_document: false,
        }
    }

    fn start_tag(&mut self, element: &Element<'_, '_>) {
        let at = element.source_location().bytes().start as u64;
        let name = element.tag_name();
        if !self.is_document && !matches!(name.as_str(), "html" | "head" | "body") {
            self.place = Some(Place::Fragment(at));
            return;
        }
        self.is_document = true;
        match name.as_str() {
            "html" => {
                self.prefix = html_tag(element);
                self.lang = element.get_attribute("lang").map(|l| l.trim().to_owned()).filter(|l| l.len() <= 35);
                let amp = ["amp", "⚡", "⚡4email", "amp4email", "⚡4ads", "amp4ads"];
                self.amp = element.attributes().iter().any(|a| amp.contains(&a.name().as_str()));
            }
            "head" => {}
            "meta" => self.meta(element),
            "frameset" => self.place = Some(Place::Leave(LeaveReason::Frameset)),
            "script" if element.get_attribute("data-deckle").as_deref() == Some("guard") => {
                self.place = Some(Place::Leave(LeaveReason::Already));
            }
            "link" if has_token(element.get_attribute("rel"), "c2pa-manifest") => {
                self.place = Some(Place::Leave(LeaveReason::Signed));
            }
            _ => self.place = Some(Place::Insert(at)),
        }
    }

    fn meta(&mut self, element: &Element<'_, '_>) {
        let text = |name| element.get_attribute(name).unwrap_or_default();
        if text("http-equiv").eq_ignore_ascii_case("content-security-policy") {
            self.meta_policy(element);
        }
        self.charset_seen |=
            element.has_attribute("charset") || text("http-equiv").eq_ignore_ascii_case("content-type");
        let name = text("name").to_ascii_lowercase();
        if !name.is_empty() && self.metas.len() < MAX_METAS {
            self.metas.push(name);
        }
    }

    fn meta_policy(&mut self, element: &Element<'_, '_>) {
        let Some(content) = element.attributes().iter().find(|a| a.name() == "content") else { return };
        let policy = csp::decode(&content.value());
        // One that cannot be read may forbid anything.
        self.sheets_refused |= !policy.as_deref().is_some_and(csp::allows_own_sheets);
        let idle = self.amp || self.exempt;
        let Some(policies) = self.policies.as_mut().filter(|_| !idle) else { return };
        let Some(place) = content.value_source_location().map(|place| place.bytes()) else { return };
        match policy {
            None => policies.refuse(),
            Some(policy) => {
                if let Some(amended) = policies.amend_meta(&policy) {
                    self.amended.push((place.start as u64..place.end as u64, amended));
                }
            }
        }
    }
}

/// `<html>` with the attributes that decide what is marked, or that selectors of the site may ask for.
fn html_tag(element: &Element<'_, '_>) -> Vec<u8> {
    const KEPT: [&str; 10] =
        ["translate", "class", "hidden", "contenteditable", "data-deckle", "aria-hidden", "style", "id", "lang", "dir"];
    let mut tag = String::from("<html");
    for attribute in element.attributes().iter().filter(|a| KEPT.contains(&a.name().as_str())) {
        // Values come undecoded; only the quote around them is ours.
        tag.push_str(&format!(" {}=\"{}\"", attribute.name(), attribute.value().replace('"', "&quot;")));
    }
    tag.push('>');
    tag.into_bytes()
}

fn has_token(list: Option<String>, token: &str) -> bool {
    list.is_some_and(|list| list.split_ascii_whitespace().any(|t| t.eq_ignore_ascii_case(token)))
}

/// Handlers that look at every start tag until the place is found.
pub(crate) fn handlers<'h>(
    settings: Settings<'h, 'static>,
    findings: &Arc<Mutex<HeadFindings>>,
    border: &Arc<Border>,
    exempt: &[Selector],
) -> Settings<'h, 'static> {
    let Some(any) = &*ANY else { return settings };
    let (seen, edge) = (Arc::clone(findings), Arc::clone(border));
    let elements = move |element: &mut Element<'_, '_>| {
        edge.event(element.source_location().bytes().start as u64);
        let Ok(mut findings) = seen.lock() else { return Ok(()) };
        if findings.place.is_some() {
            return Ok(());
        }
        findings.start_tag(element);
        if element.tag_name() == "head" {
            on_head_end(element, Arc::clone(&seen));
        }
        Ok(())
    };
    let (seen, edge) = (Arc::clone(findings), Arc::clone(border));
    let doctype = move |doctype: &mut Doctype<'_>| {
        edge.event(doctype.source_location().bytes().start as u64);
        if let Ok(mut findings) = seen.lock() {
            findings.is_document = true;
        }
        Ok(())
    };
    let mut settings = settings
        .append_element_content_handler((Cow::Borrowed(any), ElementContentHandlers::default().element(elements)))
        .append_document_content_handler(DocumentContentHandlers::default().doctype(doctype));
    for selector in exempt {
        let seen = Arc::clone(findings);
        let matched = move |element: &mut Element<'_, '_>| {
            if let Ok(mut findings) = seen.lock() {
                findings.exempt |= element.tag_name() == "html";
            }
            Ok(())
        };
        let handlers = ElementContentHandlers::default().element(matched);
        settings = settings.append_element_content_handler((Cow::Owned(selector.clone()), handlers));
    }
    settings
}

static ANY: LazyLock<Option<Selector>> = LazyLock::new(|| "*".parse().ok());

/// An explicit `</head>` is the last chance. The handler also fires for an implied end, with an ancestor's tag.
fn on_head_end(element: &mut Element<'_, '_>, findings: Arc<Mutex<HeadFindings>>) {
    let Some(handlers) = element.end_tag_handlers() else { return };
    handlers.push(Box::new(move |end: &mut EndTag<'_>| {
        if let Ok(mut findings) = findings.lock()
            && findings.place.is_none()
            && end.name() == "head"
        {
            findings.place = Some(Place::Insert(end.source_location().bytes().start as u64));
        }
        Ok(())
    }));
}
