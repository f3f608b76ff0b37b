//! The notice: who holds the rights, visible at the end of the page and readable for programs.

use serde::{Deserialize, Serialize};

use super::markup::{ascii_attribute, ascii_comment};
use crate::rights;

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
    lang: String,
    /// Absent: there is no notice.
    text: Option<String>,
}

impl Notice {
    pub(crate) fn new(
        settings: &NoticeSettings,
        lang: &str,
        rights: &rights::Settings,
    ) -> Result<Self, (&'static str, String)> {
        let text = match &settings.text {
            Some(text) => {
                check_placeholders(text, &rights.holder)?;
                Some(text.clone())
            }
            None => (!rights.holder.is_empty()).then(|| DEFAULT_TEXT.to_owned()),
        };
        let class_ok = !settings.class.is_empty()
            && settings.class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !class_ok {
            return Err(("page.notice.class", format!("`{}` is no class name", settings.class)));
        }
        let lang = settings.lang.as_deref().unwrap_or(lang).to_owned();
        Ok(Self { settings: settings.clone(), rights: rights.clone(), lang, text })
    }

    /// The notice in plain text, for programs.
    pub(crate) fn text(&self, year: i16) -> Option<String> {
        let text = self.rendered(year)?.replace("{license}", &self.rights.license.name);
        Some(text.trim().to_owned())
    }

    fn rendered(&self, year: i16) -> Option<String> {
        let year = match &self.settings.year {
            Year::Number(year) => year.to_string(),
            Year::Text(text) if text == "auto" => year.to_string(),
            Year::Text(text) => text.clone(),
        };
        let text = self.text.as_ref()?.replace("{year}", &year).replace("{holder}", &self.rights.holder);
        Some(text.trim().to_owned())
    }

    fn at(&self, place: Where) -> bool {
        self.settings.places.contains(&place)
    }

    /// The visible notice.
    pub(crate) fn footer(&self, year: i16) -> Option<String> {
        let text = self.rendered(year).filter(|_| self.at(Where::Footer))?;
        let name = ascii_attribute(&self.rights.license.name);
        let license = match &self.rights.license.page {
            Some(page) if !name.is_empty() => {
                format!("<a rel=\"license\" href=\"{}\">{name}</a>", ascii_attribute(page))
            }
            _ => name,
        };
        let text = ascii_attribute(&text).replace("{license}", &license);
        Some(format!(
            // A landmark of its own: the page's `contentinfo` belongs to the site.
            "<div class=\"{}\" data-deckle=\"notice\" data-nosnippet lang=\"{}\" role=\"region\" aria-label=\"{}\">\
             <small>{}</small></div>",
            self.settings.class,
            ascii_attribute(&self.lang),
            ascii_attribute(&self.text(year).unwrap_or_default()),
            text.trim()
        ))
    }

    /// What goes into the head; `has_copyright`: the page names its copyright itself.
    pub(crate) fn head(&self, year: i16, has_copyright: bool) -> String {
        let Some(text) = self.text(year) else { return String::new() };
        let mut out = String::new();
        if self.at(Where::Comment) {
            out.push_str(&format!("<!-- {} -->", ascii_comment(&text)));
        }
        if self.at(Where::Meta) && !has_copyright {
            out.push_str(&format!("<meta name=\"copyright\" content=\"{}\">", ascii_attribute(&text)));
        }
        out
    }
}

fn check_placeholders(text: &str, holder: &str) -> Result<(), (&'static str, String)> {
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let tail = rest.get(open..).unwrap_or_default();
        let Some(close) = tail.find('}') else { break };
        match tail.get(..=close).unwrap_or_default() {
            "{holder}" if holder.is_empty() => {
                return Err((
                    "page.notice.text",
                    "`{holder}` stands in the text, but `rights.holder` is empty".to_owned(),
                ));
            }
            "{year}" | "{holder}" | "{license}" => {}
            other => {
                return Err((
                    "page.notice.text",
                    format!("`{other}` is none of `{{year}}`, `{{holder}}`, `{{license}}`"),
                ));
            }
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
            notice.footer(2026).unwrap(),
            "<div class=\"deckle-notice\" data-deckle=\"notice\" data-nosnippet lang=\"en\" role=\"region\" \
             aria-label=\"&#169; 2026 Zeitung &amp; S&#246;hne. CC BY-NC 4.0\"><small>&#169; 2026 Zeitung &amp; S&#246;hne. <a rel=\"license\" href=\"https://example.org/l\">CC BY-NC 4.0</a></small></div>"
        );
        assert_eq!(
            notice.head(2026, false),
            "<!-- (c) 2026 Zeitung & S?hne. CC BY-NC 4.0 --><meta name=\"copyright\" content=\"&#169; 2026 Zeitung &amp; \
             S&#246;hne. CC BY-NC 4.0\">"
        );
        assert!(!notice.head(2026, true).contains("meta"));
    }

    #[test]
    fn without_a_holder_there_is_none() {
        let notice = Notice::new(&NoticeSettings::default(), "en", &rights("", "", None)).unwrap();
        assert_eq!((notice.footer(2026), notice.head(2026, false)), (None, String::new()));
    }

    #[test]
    fn bad_texts_are_refused() {
        let with = |text: &str| NoticeSettings { text: Some(text.into()), ..NoticeSettings::default() };
        assert!(Notice::new(&with("{owner}"), "en", &rights("x", "", None)).unwrap_err().1.contains("{owner}"));
        assert!(Notice::new(&with("{holder}"), "en", &rights("", "", None)).is_err());
        assert!(Notice::new(&with("All mine { really"), "en", &rights("", "", None)).is_ok());
    }
}
