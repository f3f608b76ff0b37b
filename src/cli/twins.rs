//! `deckle check`: where the words of an article stand without a mark, and whether two visitors get two marks.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Mutex;

use http::Uri;
use serde::Serialize;
use serde_json::Value;

use super::check::Finding;
use super::fetch::{Document, Fetcher};
use crate::config::Config;
use crate::page::encoding::decoded;
use crate::page::plain_text;
use crate::watermark::{Candidates, Tracer};

/// Words in common from which on a form is told of; fewer are a summary.
const MANY: u64 = 50;
/// So many words that follow each other are no accident.
const RUN: usize = 4;
/// Two visitors, to a site that tells them apart by what browsers say.
const LANGUAGES: [&str; 2] = ["en-GB, en;q=0.9", "en-US, en;q=0.8"];

/// The same words without a mark.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Twin {
    /// The type, or the relation that the page names.
    pub(super) kind: String,
    pub(super) address: String,
    /// Words that it has in common with the page.
    pub(super) words: u64,
}

impl Twin {
    pub(super) fn finding(&self) -> Finding {
        let message = format!(
            "{} words of the page stand in {} ({}) without a mark: copies of that name nobody",
            self.words, self.kind, self.address
        );
        Finding { place: "marks", code: "twin", line: 0, message }
    }
}

/// Text that may be that of the article.
pub(super) struct Form {
    kind: String,
    address: String,
    text: String,
}

impl Form {
    /// Another document: a page, a feed, a text.
    pub(super) fn of(kind: &str, document: &Document) -> Self {
        let source = decoded(&document.headers, &document.body);
        let source = String::from_utf8_lossy(&source).replace("<![CDATA[", "").replace("]]>", "");
        // Feeds have pages in escaped form.
        let text = plain_text(&plain_text(&source));
        Self { kind: kind.to_owned(), address: document.address.to_string(), text }
    }
}

/// Scripts of a page that hold data: what they say for search engines, and what scripts build the page from.
pub(super) fn inside(address: &Uri, page: &[u8]) -> Vec<Form> {
    let (linked, state) = (Mutex::new(vec![String::new()]), Mutex::new(vec![String::new()]));
    let add = |to: &Mutex<Vec<String>>, text: &str, last: bool| {
        if let Ok(mut texts) = to.lock() {
            if let Some(open) = texts.last_mut() {
                open.push_str(text);
            }
            if last {
                texts.push(String::new());
            }
        }
    };
    let settings = lol_html::Settings::new()
        .append_element_content_handler(lol_html::text!("script[type='application/ld+json']", |chunk| {
            add(&linked, chunk.as_str(), chunk.last_in_text_node());
            Ok(())
        }))
        .append_element_content_handler(lol_html::text!("script[type='application/json']", |chunk| {
            add(&state, chunk.as_str(), chunk.last_in_text_node());
            Ok(())
        }));
    let mut reader = lol_html::HtmlRewriter::new(settings, |_: &[u8]| {});
    // What cannot be read to its end has told what it could.
    let _ = reader.write(page).and_then(|()| reader.end());
    let form = |kind: &str, texts: Mutex<Vec<String>>, all: bool| {
        let mut text = String::new();
        for value in
            texts.into_inner().unwrap_or_default().iter().filter_map(|text| serde_json::from_str::<Value>(text).ok())
        {
            strings(&value, all, &mut text);
        }
        Form { kind: kind.to_owned(), address: address.to_string(), text: plain_text(&text) }
    };
    vec![form("JSON-LD", linked, false), form("data of scripts", state, true)]
}

/// The texts of JSON: all, or those that are called the body of an article.
fn strings(value: &Value, all: bool, out: &mut String) {
    match value {
        Value::String(text) if all => {
            out.push_str(text);
            out.push_str("\n\n");
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, all, out)),
        Value::Object(fields) => {
            for (name, field) in fields {
                strings(field, all || name == "articleBody" || name == "text", out);
            }
        }
        _ => {}
    }
}

/// The forms that have many words in common with a page.
pub(super) fn twins(page: &[u8], forms: &[Form]) -> Vec<Twin> {
    let hash = RandomState::new();
    let own = runs(&plain_text(&String::from_utf8_lossy(page)), &hash);
    let twin = |form: &Form| {
        let words = runs(&form.text, &hash).intersection(&own).count() as u64;
        let twin = || Twin { kind: form.kind.clone(), address: form.address.clone(), words };
        (words >= MANY).then(twin)
    };
    forms.iter().filter_map(twin).collect()
}

/// Words that follow each other, whatever stands between them.
fn runs(text: &str, hash: &RandomState) -> HashSet<u64> {
    let is_seal = |c: char| ('\u{FE00}'..='\u{FE0F}').contains(&c);
    let text: String = text.chars().filter(|c| !is_seal(*c)).flat_map(char::to_lowercase).collect();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(RUN).map(|run| hash.hash_one(run)).collect()
}

/// What the copies of two visitors are sealed with; empty: without the site's secret that cannot be told.
pub(super) async fn marks(config: &Config, fetcher: &Fetcher, address: &Uri) -> Vec<Option<String>> {
    let Ok(secrets) = super::trace::secrets(&[PathBuf::from(&config.audit.dir)], Some(config)) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for languages in LANGUAGES {
        let Ok(copy) = fetcher.get_in(address, Some(languages)).await else { return Vec::new() };
        texts.push(plain_text(&String::from_utf8_lossy(&decoded(&copy.headers, &copy.body))));
    }
    let tracer = Tracer::new(&secrets);
    let sealed: Candidates = texts.iter().flat_map(|text| tracer.seals(text)).map(|seal| seal.mark).collect();
    let traced = |text: &String| tracer.trace(text, &sealed).hits.first().map(|hit| hit.mark.to_string());
    texts.iter().map(traced).collect()
}

/// What is wrong with them.
pub(super) fn judge(marks: &[Option<String>]) -> Option<Finding> {
    let finding = |code, message: &str| Finding { place: "marks", code, line: 0, message: message.to_owned() };
    match marks {
        [] => None,
        [Some(one), Some(other)] if one == other => Some(finding(
            "same_mark",
            "two visitors got the same mark: something before deckle may keep one copy for all",
        )),
        _ if marks.iter().all(Option::is_some) => None,
        _ => Some(finding("not_marked", "a copy carries no mark of this secret: see the skip in its line of the log")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article() -> String {
        (0..200).map(|n| format!("word{n} ")).collect()
    }

    #[test]
    fn articles_in_data_and_feeds_are_twins() {
        let text = article();
        let ld = serde_json::json!({ "@graph": [{ "@type": "Article", "headline": "x", "articleBody": text }] });
        let state = serde_json::json!({ "props": { "html": format!("<p>{text}</p>") } });
        let page = format!(
            "<script type=\"application/ld+json\">{ld}</script><p>{text}\u{FE06}\u{FE07}</p>\
             <script id=\"__NEXT_DATA__\" type=\"application/json\">{state}</script><script>var x = 1;</script>"
        );
        let address: Uri = "https://news.example/a".parse().unwrap();
        let mut forms = inside(&address, page.as_bytes());
        let feed = |body: String| Document {
            address: address.clone(),
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        forms.push(Form::of("rss", &feed(format!("<rss><content>&lt;p&gt;{text}&lt;/p&gt;</content></rss>"))));
        forms.push(Form::of("cdata", &feed(format!("<rss><content><![CDATA[<p>{text}</p>]]></content></rss>"))));
        forms.push(Form::of("summary", &feed(format!("<rss>{}</rss>", &text[..200]))));
        let found: Vec<(String, u64)> =
            twins(page.as_bytes(), &forms).into_iter().map(|twin| (twin.kind, twin.words)).collect();
        let expect = ["JSON-LD", "data of scripts", "rss", "cdata"].map(|kind| (kind.to_owned(), 197));
        assert_eq!(found, expect);
        assert!(twins(b"<p>other words</p>", &forms).is_empty());
    }

    #[test]
    fn two_visitors_need_two_marks() {
        let marks = |one: Option<&str>, other: Option<&str>| [one, other].map(|mark| mark.map(str::to_owned));
        let code = |marks: &[Option<String>]| judge(marks).map(|finding| finding.code);
        assert_eq!(code(&marks(Some("k1-a"), Some("k1-b"))), None);
        assert_eq!(code(&marks(Some("k1-a"), Some("k1-a"))), Some("same_mark"));
        assert_eq!(code(&marks(Some("k1-a"), None)), Some("not_marked"));
        assert_eq!(code(&[]), None);
    }
}
