//! Places in a page whose letters mean nothing to a scan.
//!
//! Such a place lies wholly in a quoted value of an attribute that is not looked at, in a comment, in the text of a script,
//! or in other text. Letters, digits, `-` and `_` that take the place of others there begin no tag, end none, and are no part
//! of a character reference. What of the text a scan has looked at is for the caller to know.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lol_html::Selector;
use lol_html::html_content::{Comment, TextChunk, TextType};
use lol_html::send::{DocumentContentHandlers, Element, ElementContentHandlers, Settings};

use super::edits::CHUNK;
use super::volatile::Volatile;
use crate::page::rewrite::Job;
use crate::page::scan::{Reading, Scanner};

/// Attributes whose values nobody looks at; those of the site itself begin with `data-`.
const UNREAD: [&str; 9] = ["value", "href", "src", "srcset", "action", "formaction", "alt", "title", "datetime"];
/// Elements whose attributes decide.
const READ: [&str; 6] = ["html", "head", "body", "meta", "link", "base"];

/// Do all these places lie where letters mean nothing?
pub(super) fn is_inert(page: &Bytes, volatile: &Volatile, job: &Job) -> bool {
    let mut pairs = volatile.ranges().zip(volatile.ranges().skip(1));
    if !volatile.ranges().all(|range| stands_apart(page, &range))
        || pairs.any(|(one, next)| may_call(page, &one, &next))
    {
        return false;
    }
    let places = volatile.ranges().map(|range| Place { range, admitted: false, barred: false }).collect();
    let survey = Survey {
        page: page.clone(),
        places,
        node: None,
        selectors: job.marks.has_selectors(),
        tokens: job.marks.tokens,
        replaces: !job.replacer.is_idle(),
    };
    let survey = Arc::new(Mutex::new(survey));
    let reading = Reading { encoding: job.charset.encoding, max_memory: job.max_memory, esi: job.esi };
    let mut scanner = Scanner::new(reading, Arc::default(), |settings| handlers(settings, &survey));
    let read = page.chunks(CHUNK).all(|piece| scanner.write(piece).is_ok()) && scanner.end().is_ok();
    read && lock(&survey).places.iter().all(|place| place.admitted && !place.barred)
}

/// Is a run of letters neither part of a tag's name nor of a character reference, whatever its letters are, and no end of a
/// comment or part of a call that scripts are searched for?
fn stands_apart(page: &[u8], range: &Range<usize>) -> bool {
    let before = page.get(..range.start).unwrap_or_default();
    let after = page.get(range.end..).unwrap_or_default();
    let opens = matches!(before, [.., b'<' | b'&' | b'!'] | [.., b'<' | b'&', b'/' | b'?' | b'#'] | []);
    let closes = matches!(after, [b'>' | b'!', ..] | []);
    let calls = before.ends_with(b"self.") || after.starts_with(b".__next_f");
    // A byte beyond ASCII may be the first half of a character.
    let ascii = [before.last(), after.first()].into_iter().flatten().all(u8::is_ascii);
    ascii && !opens && !closes && !calls
}

/// May two runs become such a call together? `self` and `__next_f` have a point between them.
fn may_call(page: &[u8], one: &Range<usize>, next: &Range<usize>) -> bool {
    page.get(one.end..next.start) == Some(b".".as_slice()) && one.len() >= 4 && next.len() >= 8
}

struct Place {
    range: Range<usize>,
    /// It lies where letters mean nothing.
    admitted: bool,
    /// It lies in text that is read.
    barred: bool,
}

struct Survey {
    page: Bytes,
    places: Vec<Place>,
    /// The text node so far.
    node: Option<(TextType, Range<usize>)>,
    /// Any attribute may decide what is marked.
    selectors: bool,
    /// Addresses may hold the mark.
    tokens: bool,
    /// The text of scripts may decide whether they go.
    replaces: bool,
}

impl Survey {
    /// Letters in this part mean nothing.
    fn admit(&mut self, part: &Range<usize>) {
        let first = self.places.partition_point(|place| place.range.start < part.start);
        let places = self.places.iter_mut().skip(first);
        places.take_while(|place| place.range.end <= part.end).for_each(|place| place.admitted = true);
    }

    fn bar(&mut self, part: &Range<usize>) {
        let first = self.places.partition_point(|place| place.range.end <= part.start);
        let places = self.places.iter_mut().skip(first);
        places.take_while(|place| place.range.start < part.end).for_each(|place| place.barred = true);
    }

    fn element(&mut self, element: &Element<'_, '_>) {
        self.node = None;
        let tag = element.source_location().bytes();
        if !self.places.iter().any(|place| place.range.start < tag.end && tag.start < place.range.end) {
            return;
        }
        let name = element.tag_name();
        // Nothing that a selector could mean lies in an element without content. In SVG and MathML others are without it.
        if READ.contains(&name.as_str()) || (self.selectors && element.can_have_content()) {
            return;
        }
        let holds_marks = self.tokens && matches!(name.as_str(), "a" | "img");
        for attribute in element.attributes() {
            let Some(value) = attribute.value_source_location().map(|place| place.bytes()) else { continue };
            let key = attribute.name();
            let of_mark = holds_marks && matches!(key.as_str(), "href" | "src");
            if self.is_quoted(&value) && is_unread(&key) && !of_mark {
                self.admit(&value);
            }
        }
    }

    fn is_quoted(&self, value: &Range<usize>) -> bool {
        let before = value.start.checked_sub(1).and_then(|at| self.page.get(at));
        matches!(before, Some(b'"' | b'\'')) && before == self.page.get(value.end)
    }

    fn comment(&mut self, place: &Range<usize>) {
        self.node = None;
        let text = self.page.get(place.clone()).unwrap_or_default();
        // Others end at the first `>`, whatever stands before it.
        if text.len() >= 7 && text.starts_with(b"<!--") && text.ends_with(b"-->") {
            self.admit(&(place.start + 4..place.end - 3));
        }
    }

    fn text(&mut self, chunk: &TextChunk<'_>) {
        let place = chunk.source_location().bytes();
        let (kind, node) = self.node.get_or_insert_with(|| (chunk.text_type(), place.clone()));
        node.end = node.end.max(place.end);
        if !chunk.last_in_text_node() {
            return;
        }
        let (kind, node) = (*kind, node.clone());
        self.node = None;
        let means_nothing = match kind {
            TextType::Data | TextType::RCData | TextType::RawText => true,
            TextType::ScriptData => !self.replaces,
            TextType::PlainText | TextType::CDataSection => false,
        };
        if means_nothing {
            self.admit(&node);
        }
    }
}

fn is_unread(attribute: &str) -> bool {
    let own = attribute.starts_with("data-") && !attribute.starts_with("data-deckle") && attribute != "data-variant";
    own || UNREAD.contains(&attribute)
}

type Handle = Arc<Mutex<Survey>>;

fn lock(survey: &Handle) -> MutexGuard<'_, Survey> {
    survey.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handlers(settings: Settings<'static, 'static>, survey: &Handle) -> Settings<'static, 'static> {
    let (in_text, in_comment, in_tag, in_style) =
        (Arc::clone(survey), Arc::clone(survey), Arc::clone(survey), Arc::clone(survey));
    let on_text = move |chunk: &mut TextChunk<'_>| {
        lock(&in_text).text(chunk);
        Ok(())
    };
    let on_comment = move |comment: &mut Comment<'_>| {
        lock(&in_comment).comment(&comment.source_location().bytes());
        Ok(())
    };
    let on_tag = move |element: &mut Element<'_, '_>| {
        lock(&in_tag).element(element);
        Ok(())
    };
    let on_style = move |chunk: &mut TextChunk<'_>| {
        lock(&in_style).bar(&chunk.source_location().bytes());
        Ok(())
    };
    let document = DocumentContentHandlers::default().text(on_text).comments(on_comment);
    let mut settings = settings.append_document_content_handler(document);
    let of_elements = [
        ("*", ElementContentHandlers::default().element(on_tag)),
        // What a style sheet says is read.
        ("style", ElementContentHandlers::default().text(on_style)),
    ];
    for (selector, handlers) in of_elements {
        match selector.parse::<Selector>() {
            Ok(selector) => settings = settings.append_element_content_handler((Cow::Owned(selector), handlers)),
            // Both are constants; without them nothing is certain.
            Err(_) => lock(survey).bar(&(0..usize::MAX)),
        }
    }
    settings
}
