//! The notice: who holds the rights, visible at the end of the page and readable for programs.

use std::collections::BTreeMap;

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
    /// Language and text, the usual one first; empty: there is no notice.
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
        let texts: Vec<(String, String)> = usual.into_iter().chain(settings.texts.clone()).collect();
        for (lang, text) in &texts {
            check_placeholders("page.notice.text", text, &["{year}", "{holder}", "{license}"], &rights.holder)?;
            if lang.is_empty() || !lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(("page.notice.texts", format!("`{lang}` is no language")));
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
        Ok(Self { settings: settings.clone(), rights: rights.clone(), texts })
    }

    /// In the language of a page, if there is a text in it.
    pub(crate) fn in_language(&self, lang: Option<&str>, year: i16) -> PageNotice<'_> {
        let find = |name: &String| self.texts.iter().find(|(lang, _)| lang.eq_ignore_ascii_case(name));
        let chosen = lang.and_then(|tag| candidates(tag).iter().find_map(find)).or(self.texts.first());
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

/// It stands before the end of the body, whatever that holds: nothing that runs, and nothing that swallows what follows.
fn check_html(html: &str) -> Result<(), (&'static str, String)> {
    const REFUSED: [&str; 9] =
        ["<script", "<style", "<!--", "<textarea", "<iframe", "<plaintext", "<template", "</body", "</html"];
    let lower = html.to_ascii_lowercase();
    if let Some(tag) = REFUSED.iter().find(|tag| lower.contains(**tag)) {
        return Err(("page.notice.html", format!("`{tag}` may not stand there")));
    }
    if html.len() > MAX_HTML || !html.contains("{text}") {
        return Err(("page.notice.html", format!("it must hold `{{text}}`, in {MAX_HTML} bytes at most")));
    }
    Ok(())
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
    }

    #[test]
    fn bad_texts_are_refused() {
        let with = |text: &str| NoticeSettings { text: Some(text.into()), ..NoticeSettings::default() };
        assert!(Notice::new(&with("{owner}"), "en", &rights("x", "", None)).unwrap_err().1.contains("{owner}"));
        assert!(Notice::new(&with("{holder}"), "en", &rights("", "", None)).is_err());
        assert!(Notice::new(&with("All mine { really"), "en", &rights("", "", None)).is_ok());
    }
}
