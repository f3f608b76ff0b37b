//! The statement of rights in the head of a page: links, Dublin Core, JSON-LD. ASCII only.
//!
//! The JSON-LD node stands beside what the site has; a second `NewsArticle` would be a second article. What a `<meta>`
//! before it says already is not said twice; what comes later in the head is not known yet.

use serde_json::{Map, Value, json};

use super::markup::ascii_attribute;
use crate::rights::Policy;

/// What is known of one page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'d> {
    /// Names of the `meta` elements before, in lower case.
    pub(super) metas: &'d [String],
    /// The address of the page, if it is certain.
    pub(super) canonical: Option<&'d str>,
    /// The text of the notice.
    pub(super) notice: Option<&'d str>,
    pub(super) year: i16,
    /// The fields reserve text and data mining, with this policy.
    pub(super) reserved: Option<&'d str>,
}

/// The markup; empty if there is nothing to say.
pub(super) fn markup(policy: &Policy, page: &Declared<'_>) -> String {
    let settings = policy.settings();
    let mut out = String::new();
    let attribute = |text: &str| ascii_attribute(text);
    if let Some(url) = &settings.license.page {
        out.push_str(&format!("<link rel=\"license\" href=\"{}\">", attribute(url)));
    }
    if let Some(url) = &settings.license.url {
        out.push_str(&format!("<link rel=\"license\" type=\"application/rsl+xml\" href=\"{}\">", attribute(url)));
    }
    let meta = |name: &str, content: &str| {
        let said = content.is_empty() || page.metas.iter().any(|seen| seen.eq_ignore_ascii_case(name));
        if said { String::new() } else { format!("<meta name=\"{name}\" content=\"{}\">", attribute(content)) }
    };
    // As in the fields, and never a 0: a `meta` counts for more than a field (TDMRep).
    if let Some(url) = page.reserved.filter(|_| settings.tdm_meta) {
        out.push_str(&meta("tdm-reservation", "1"));
        out.push_str(&meta("tdm-policy", url));
    }
    let notice = settings.notice.as_deref().or(page.notice).unwrap_or_default();
    let license = settings.license.page.as_deref().or(settings.license.url.as_deref()).unwrap_or_default();
    let dublin: String =
        [("dcterms.rights", notice), ("dcterms.rightsHolder", &settings.holder), ("dcterms.license", license)]
            .iter()
            .map(|(name, content)| meta(name, content))
            .collect();
    if !dublin.is_empty() {
        out.push_str("<link rel=\"schema.DCTERMS\" href=\"http://purl.org/dc/terms/\">");
        out.push_str(&dublin);
    }
    if !settings.holder.is_empty() {
        out.push_str(&json_ld(policy, page, notice));
    }
    out
}

fn json_ld(policy: &Policy, page: &Declared<'_>, notice: &str) -> String {
    let settings = policy.settings();
    let mut node = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            node.insert(key.to_owned(), value);
        }
    };
    let text = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(Value::from);
    put("@context", Some("https://schema.org".into()));
    put("@type", Some("WebPage".into()));
    put("@id", page.canonical.map(|url| format!("{url}#deckle-rights").into()));
    put("url", text(page.canonical));
    put("copyrightHolder", Some(json!({ "@type": "Organization", "name": settings.holder })));
    put("copyrightYear", Some(page.year.into()));
    put("copyrightNotice", text(Some(notice)));
    put("creditText", text(settings.credit.as_deref()));
    put("license", text(settings.license.page.as_deref().or(settings.license.url.as_deref())));
    put("usageInfo", text(settings.tdm_policy.as_deref().or(settings.license.url.as_deref())));
    put("acquireLicensePage", text(settings.license.page.as_deref()));
    format!("<script type=\"application/ld+json\">{}</script>", ascii_json(&Value::from(node).to_string()))
}

/// JSON in ASCII that cannot end a script (HTML Standard, "restrictions for contents of script elements").
fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !matches!(c, '<' | '>' | '&') {
            out.push(c);
        } else {
            let mut units = [0u16; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "holder = 'Söhne & <Co> \u{1F600}'\nlicense = { page = 'https://a.example/l', url = 'https://a.example/l.xml' }\n\
        tdm_meta = true\ntdm_policy = 'https://a.example/tdm'\nuses = { ai_train = 'deny' }";

    fn of(text: &str, metas: &[&str]) -> String {
        let policy = Policy::new(&toml::from_str(text).unwrap()).unwrap();
        let metas: Vec<String> = metas.iter().map(|m| (*m).to_owned()).collect();
        let page = Declared {
            metas: &metas,
            canonical: Some("https://a.example/a"),
            notice: Some("© 2026"),
            year: 2026,
            reserved: Some("https://a.example/tdm"),
        };
        markup(&policy, &page)
    }

    #[test]
    fn everything_is_ascii_and_in_its_place() {
        let got = of(TEXT, &[]);
        assert!(got.is_ascii(), "{got}");
        assert!(got.starts_with("<link rel=\"license\" href=\"https://a.example/l\"><link rel=\"license\" type=\"application/rsl+xml\" href=\"https://a.example/l.xml\"><meta name=\"tdm-reservation\" content=\"1\"><meta name=\"tdm-policy\""), "{got}");
        assert!(got.contains("<meta name=\"dcterms.rights\" content=\"&#169; 2026\"><meta name=\"dcterms.rightsHolder\" content=\"S&#246;hne &amp; &lt;Co&gt; &#128512;\">"), "{got}");
        let json = got.split_once("ld+json\">").unwrap().1.strip_suffix("</script>").unwrap();
        let node: Value = serde_json::from_str(json).unwrap();
        assert_eq!(node["copyrightHolder"]["name"], "Söhne & <Co> \u{1F600}");
        assert_eq!((&node["@id"], &node["@type"]), (&json!("https://a.example/a#deckle-rights"), &json!("WebPage")));
        assert!(!json.contains('<'));
    }

    #[test]
    fn what_is_said_is_not_said_again() {
        let got = of(TEXT, &["tdm-reservation", "dcterms.rightsholder"]);
        assert!(
            !got.contains("tdm-reservation") && !got.contains("rightsHolder") && got.contains("tdm-policy"),
            "{got}"
        );
        assert_eq!(of("uses = { ai_train = 'deny' }", &[]).replace("<link rel=\"schema.DCTERMS\" href=\"http://purl.org/dc/terms/\"><meta name=\"dcterms.rights\" content=\"&#169; 2026\">", ""), "");
    }
}
