//! The notice: who holds the rights, visible at the end of the page and readable for programs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lol_html::{EndTagHandler, RewriteStrSettings, element};
use serde::{Deserialize, Serialize};

use super::guard::candidates;
use super::markup::{ascii_attribute, ascii_comment, ascii_markup};
use crate::rights;

/// Longest `page.notice.html`.
const MAX_HTML: usize = 2_000;
const DEFAULT_TEXT: &str = "© {year} {holder}. {license}";

/// Where the notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// Visible, before the end of the body.
    Footer,
    /// In a comment in the head.
    Comment,
    /// In a `meta` in the head.
    Meta,
}

/// A year, or `auto`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Year {
    /// A number.
    Number(u16),
    /// `auto`, or a range such as `2019-2026`.
    Text(String),
}

/// Section `[page.notice]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticeSettings {
    /// Placeholders `{year} {holder} {license}`; unset: `© {year} {holder}. {license}` if there is a holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// `auto`, a year or a range.
    pub year: Year,
    /// Language of the text (BCP 47); unset: `page.guard.lang`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Texts in other languages (BCP 47), for pages in them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
    /// Markup inside the visible element: `{text}`, and perhaps `{year} {holder} {license}`; unset: `<small>{text}</small>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Where it stands.
    #[serde(rename = "where")]
    pub places: Vec<Where>,
    /// Class of the visible element.
    pub class: String,
}

impl Default for NoticeSettings {
    fn default() -> Self {
        Self {
            text: None,
            year: Year::Text("auto".to_owned()),
            lang: None,
            texts: BTreeMap::new(),
            html: None,
            places: vec![Where::Footer],
            class: "deckle-notice".to_owned(),
        }
    }
}

/// The notice of a site.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    settings: NoticeSettings,
    rights: rights::Settings,
    /// Language and text of pages in other languages; absent: there is no notice there.
    usual: Option<(String, String)>,
    /// The same for pages in these.
    texts: Vec<(String, String)>,
}

/// The notice as one page carries it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageNotice<'n> {
    notice: &'n Notice,
    chosen: Option<&'n (String, String)>,
    year: i16,
}

impl Notice {
    pub(crate) fn new(
        settings: &NoticeSettings,
        lang: &str,
        rights: &rights::Settings,
    ) -> Result<Self, (&'static str, String)> {
        let usual = match &settings.text {
            Some(text) => Some(text.clone()),
            None => (!rights.holder.is_empty()).then(|| DEFAULT_TEXT.to_owned()),
        };
        let usual = usual.map(|text| (settings.lang.as_deref().unwrap_or(lang).to_owned(), text));
        let texts: Vec<(String, String)> = settings.texts.clone().into_iter().collect();
        let known = ["{year}", "{holder}", "{license}"];
        for (key, (lang, text)) in
            usual.iter().map(|t| ("page.notice.text", t)).chain(texts.iter().map(|t| ("page.notice.texts", t)))
        {
            check_placeholders(key, text, &known, &rights.holder)?;
            if lang.is_empty() || !lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                let key = if key == "page.notice.text" { "page.notice.lang" } else { key };
                return Err((key, format!("`{lang}` is no language (BCP 47)")));
            }
        }
        if let Some(html) = &settings.html {
            check_html(html)?;
            check_placeholders(
                "page.notice.html",
                html,
                &["{text}", "{year}", "{holder}", "{license}"],
                &rights.holder,
            )?;
        }
        let class_ok = !settings.class.is_empty()
            && settings.class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !class_ok {
            return Err(("page.notice.class", format!("`{}` is no class name", settings.class)));
        }
        Ok(Self { settings: settings.clone(), rights: rights.clone(), usual, texts })
    }

    /// In the language of a page, if there is a text in it.
    pub(crate) fn in_language(&self, lang: Option<&str>, year: i16) -> PageNotice<'_> {
        let find = |name: &String| self.texts.iter().find(|(lang, _)| lang.eq_ignore_ascii_case(name));
        let chosen = lang.and_then(|tag| candidates(tag).iter().find_map(find)).or(self.usual.as_ref());
        PageNotice { notice: self, chosen, year }
    }

    fn year(&self, now: i16) -> String {
        match &self.settings.year {
            Year::Number(year) => year.to_string(),
            Year::Text(text) if text == "auto" => now.to_string(),
            Year::Text(text) => text.clone(),
        }
    }

    /// The name of the licence, with a link where there is a page.
    fn license(&self) -> String {
        let name = ascii_attribute(&self.rights.license.name);
        match &self.rights.license.page {
            Some(page) if !name.is_empty() => {
                format!("<a rel=\"license\" href=\"{}\">{name}</a>", ascii_attribute(page))
            }
            _ => name,
        }
    }

    fn at(&self, place: Where) -> bool {
        self.settings.places.contains(&place)
    }
}

impl PageNotice<'_> {
    /// In plain text, for programs.
    pub(crate) fn text(&self) -> Option<String> {
        let text = self.rendered()?.replace("{license}", &self.notice.rights.license.name);
        Some(text.trim().to_owned())
    }

    fn rendered(&self) -> Option<String> {
        let (_, text) = self.chosen?;
        let text = text.replace("{year}", &self.notice.year(self.year)).replace("{holder}", &self.notice.rights.holder);
        Some(text.trim().to_owned())
    }

    /// The visible notice.
    pub(crate) fn footer(&self) -> Option<String> {
        let (lang, _) = self.chosen.filter(|_| self.notice.at(Where::Footer))?;
        let license = self.notice.license();
        let text = ascii_attribute(&self.rendered()?).replace("{license}", &license);
        let inner = match &self.notice.settings.html {
            None => format!("<small>{}</small>", text.trim()),
            Some(html) => ascii_markup(html)
                .replace("{year}", &ascii_attribute(&self.notice.year(self.year)))
                .replace("{holder}", &ascii_attribute(&self.notice.rights.holder))
                .replace("{license}", &license)
                .replace("{text}", text.trim()),
        };
        Some(format!(
            // A landmark of its own: the page's `contentinfo` belongs to the site.
            "<div class=\"{}\" data-deckle=\"notice\" data-nosnippet lang=\"{}\" role=\"region\" aria-label=\"{}\">\
             {inner}</div>",
            self.notice.settings.class,
            ascii_attribute(lang),
            ascii_attribute(&self.text().unwrap_or_default()),
        ))
    }

    /// What goes into the head; `has_copyright`: the page names its copyright itself.
    pub(crate) fn head(&self, has_copyright: bool) -> String {
        let Some(text) = self.text() else { return String::new() };
        let mut out = String::new();
        if self.notice.at(Where::Comment) {
            out.push_str(&format!("<!-- {} -->", ascii_comment(&text)));
        }
        if self.notice.at(Where::Meta) && !has_copyright {
            out.push_str(&format!("<meta name=\"copyright\" content=\"{}\">", ascii_attribute(&text)));
        }
        out
    }
}

/// Elements that the site's own markup may hold: nothing that runs, hides or swallows what follows.
const ELEMENTS: [&str; 18] = [
    "a", "abbr", "b", "br", "cite", "div", "em", "hr", "i", "img", "li", "ol", "p", "small", "span", "strong", "time",
    "ul",
];

/// It stands before the end of the body, whatever that holds: all that begins in it ends in it.
fn check_html(html: &str) -> Result<(), (&'static str, String)> {
    let refuse = |message: String| Err(("page.notice.html", message));
    if html.len() > MAX_HTML || !html.contains("{text}") {
        return refuse(format!("it must hold `{{text}}`, in {MAX_HTML} bytes at most"));
    }
    let (mut tags, mut wrong, open) = (0, None, Rc::new(Cell::new(0)));
    let closed = Rc::clone(&open);
    let read = lol_html::rewrite_str(
        html,
        RewriteStrSettings::new().append_element_content_handler(element!("*", |element| {
            let name = element.tag_name();
            let bad = |a: &lol_html::html_content::Attribute<'_>| a.name().starts_with("on") || a.value().contains('{');
            if !ELEMENTS.contains(&name.as_str()) {
                wrong = Some(format!("`<{name}>` may not stand there"));
            } else if let Some(attribute) = element.attributes().iter().find(|a| bad(a)) {
                wrong = Some(format!("attribute `{}` may not hold that", attribute.name()));
            }
            tags += 1;
            if let Some(handlers) = element.end_tag_handlers() {
                open.set(open.get() + 1);
                let closed = Rc::clone(&closed);
                let handler: EndTagHandler<'_> = Box::new(move |end| {
                    closed.set(closed.get() - i32::from(end.name() == name));
                    Ok(())
                });
                handlers.push(handler);
                // Its end tag is one more `<`.
                tags += 1;
            }
            Ok(())
        })),
    );
    match wrong {
        Some(message) => refuse(message),
        None if read.is_err() || closed.get() != 0 || html.matches('<').count() != tags => {
            refuse("each element must be closed in it, and a `<` of its own written as `&lt;`".to_owned())
        }
        None => Ok(()),
    }
}

fn check_placeholders(
    key: &'static str,
    text: &str,
    known: &[&str],
    holder: &str,
) -> Result<(), (&'static str, String)> {
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let tail = rest.get(open..).unwrap_or_default();
        let Some(close) = tail.find('}') else { break };
        let name = tail.get(..=close).unwrap_or_default();
        if name == "{holder}" && holder.is_empty() {
            return Err((key, "`{holder}` stands in the text, but `rights.holder` is empty".to_owned()));
        }
        if !known.contains(&name) {
            return Err((key, format!("`{name}` is none of `{}`", known.join("`, `"))));
        }
        rest = tail.get(close + 1..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(holder: &str, name: &str, page: Option<&str>) -> rights::Settings {
        rights::Settings {
            holder: holder.into(),
            license: rights::LicenseSettings { name: name.into(), page: page.map(str::to_owned), url: None },
            ..rights::Settings::default()
        }
    }

    #[test]
    fn the_notice_is_ascii_and_linked() {
        let settings =
            NoticeSettings { places: vec![Where::Footer, Where::Comment, Where::Meta], ..NoticeSettings::default() };
        let notice =
            Notice::new(&settings, "en", &rights("Zeitung & Söhne", "CC BY-NC 4.0", Some("https://example.org/l")))
                .unwrap();
        assert_eq!(
            notice.in_language(None, 2026).footer().unwrap(),
            "<div class=\"deckle-notice\" data-deckle=\"notice\" data-nosnippet lang=\"en\" role=\"region\" \
             aria-label=\"&#169; 2026 Zeitung &amp; S&#246;hne. CC BY-NC 4.0\"><small>&#169; 2026 Zeitung &amp; S&#246;hne. <a rel=\"license\" href=\"https://example.org/l\">CC BY-NC 4.0</a></small></div>"
        );
        assert_eq!(
            notice.in_language(None, 2026).head(false),
            "<!-- (c) 2026 Zeitung & S?hne. CC BY-NC 4.0 --><meta name=\"copyright\" content=\"&#169; 2026 Zeitung &amp; \
             S&#246;hne. CC BY-NC 4.0\">"
        );
        assert!(!notice.in_language(None, 2026).head(true).contains("meta"));
    }

    #[test]
    fn without_a_holder_there_is_none() {
        let notice = Notice::new(&NoticeSettings::default(), "en", &rights("", "", None)).unwrap();
        assert_eq!(
            (notice.in_language(None, 2026).footer(), notice.in_language(None, 2026).head(false)),
            (None, String::new())
        );
    }

    #[test]
    fn a_page_gets_the_text_of_its_language() {
        let settings: NoticeSettings = toml::from_str(
            "text = '(c) {year} {holder}. Quote with the source.'\nhtml = '<p><strong>{holder}</strong> {text} {year} \u{2014} {license}</p>'\n\
             [texts]\nde = '(c) {year} {holder}. Zitate mit Quelle f\u{fc}r alle.'\nzh-Hant = '\u{7248}'",
        )
        .unwrap();
        let notice = Notice::new(&settings, "en", &rights("A<B", "CC", Some("https://example.org/l"))).unwrap();
        for (lang, attribute, text) in [
            (None, "en", "(c) 2026 A&lt;B. Quote with the source."),
            (Some("fr"), "en", "(c) 2026 A&lt;B. Quote with the source."),
            (Some("de-AT"), "de", "(c) 2026 A&lt;B. Zitate mit Quelle f&#252;r alle."),
            (Some("zh-TW"), "zh-Hant", "&#29256;"),
        ] {
            let footer = notice.in_language(lang, 2026).footer().unwrap();
            assert!(footer.contains(&format!(" lang=\"{attribute}\" role")), "{footer}");
            let inner = format!(
                "><p><strong>A&lt;B</strong> {text} 2026 &#8212; <a rel=\"license\" href=\"https://example.org/l\">CC</a></p></div>"
            );
            assert!(footer.ends_with(&inner), "{footer}");
        }
        assert_eq!(
            notice.in_language(Some("de"), 2026).text().unwrap(),
            "(c) 2026 A<B. Zitate mit Quelle f\u{fc}r alle."
        );
    }

    #[test]
    fn where_only_some_languages_have_a_text_the_others_have_no_notice() {
        let settings =
            NoticeSettings { texts: [("ar".to_owned(), "x".to_owned())].into(), ..NoticeSettings::default() };
        let notice = Notice::new(&settings, "en", &rights("", "", None)).unwrap();
        let footer = |lang: &str| notice.in_language(Some(lang), 2026).footer();
        assert_eq!((footer("ar-EG").is_some(), footer("de").is_some()), (true, false));
    }

    #[test]
    fn bad_markup_is_refused() {
        for html in
            ["<p>none</p>", "{text}<script>", "{text}<!--", "{text}</BODY>", "{text}{owner}", &"{text}".repeat(400)]
        {
            let settings = NoticeSettings { html: Some(html.into()), ..NoticeSettings::default() };
            assert_eq!(
                Notice::new(&settings, "en", &rights("x", "", None)).unwrap_err().0,
                "page.notice.html",
                "{html}"
            );
        }
        let texts = [("d e".to_owned(), "x".to_owned())].into();
        let settings = NoticeSettings { texts, ..NoticeSettings::default() };
        assert_eq!(Notice::new(&settings, "en", &rights("x", "", None)).unwrap_err().0, "page.notice.texts");
        assert_eq!(
            Notice::new(&NoticeSettings::default(), "de_AT", &rights("x", "", None)).unwrap_err().0,
            "page.notice.lang"
        );
    }

    #[test]
    fn bad_texts_are_refused() {
        let with = |text: &str| NoticeSettings { text: Some(text.into()), ..NoticeSettings::default() };
        assert!(Notice::new(&with("{owner}"), "en", &rights("x", "", None)).unwrap_err().1.contains("{owner}"));
        assert!(Notice::new(&with("{holder}"), "en", &rights("", "", None)).is_err());
        assert!(Notice::new(&with("All mine { really"), "en", &rights("", "", None)).is_ok());
    }
}
