//! The tag. The order of its attributes is fixed; what has its default is left out.

use super::super::markup::{ascii_attribute, push_attribute};
use super::script::Script;
use super::{GuardMode, GuardSettings, Print, Toast};

/// Longest tag: with it a charset `meta` behind it stays within the first 1,024 bytes.
const MAX_TAG: usize = 900;

/// What differs from page to page. Empty: left out.
#[derive(Clone, Copy)]
pub(super) struct Parts<'p> {
    pub(super) mode: GuardMode,
    pub(super) script: &'p Script,
    pub(super) license: &'p str,
    /// Found to be base64; it is copied as it is.
    pub(super) nonce: &'p str,
    /// Path of the copy beacon.
    pub(super) beacon: &'p str,
}

/// A tag that is too long loses the licence, then the name of the site.
pub(super) fn tag(settings: &GuardSettings, parts: &Parts<'_>) -> String {
    let render = |site: &str, license: &str| render(settings, &Parts { license, ..*parts }, site);
    [(settings.site_name.as_str(), parts.license), (&settings.site_name, "")]
        .into_iter()
        .map(|(site, license)| render(site, license))
        .find(|tag| tag.len() <= MAX_TAG)
        .unwrap_or_else(|| render("", ""))
}

fn render(settings: &GuardSettings, parts: &Parts<'_>, site: &str) -> String {
    let Parts { mode, script, license, nonce, beacon } = *parts;
    let base = settings.asset_base.as_deref().unwrap_or_default().trim_end_matches('/');
    let mut tag = format!(
        "<script src=\"{}{}\" integrity=\"{}\" crossorigin=\"anonymous\" defer",
        ascii_attribute(base),
        ascii_attribute(&script.path),
        script.integrity
    );
    push_attribute(&mut tag, "nonce", nonce);
    tag.push_str(" data-deckle=\"guard\"");
    push_attribute(&mut tag, "data-mode", mode.code());
    if mode == GuardMode::Block {
        push_block(&mut tag, settings);
    } else {
        push_credit(&mut tag, settings, mode, site, license);
    }
    push_attribute(&mut tag, "data-except", &settings.except);
    push_attribute(&mut tag, "data-drag", if settings.drag { "" } else { "0" });
    if mode != GuardMode::Attribute {
        push_attribute(&mut tag, "data-toast", if settings.toast == Toast::Auto { "" } else { "0" });
        push_attribute(&mut tag, "data-ms", &number(settings.toast_ms, 6_000));
    }
    push_attribute(&mut tag, "data-beacon", beacon);
    tag.push_str("></script>");
    tag
}

fn push_credit(tag: &mut String, settings: &GuardSettings, mode: GuardMode, site: &str, license: &str) {
    let credit: String = settings.credit.iter().map(|c| c.letter()).collect();
    push_attribute(tag, "data-min", &number(settings.min_words, 30));
    if mode == GuardMode::Quote {
        push_attribute(tag, "data-max", &number(settings.quote_words, 60));
    }
    push_attribute(tag, "data-cap", &number(settings.max_chars, 200_000));
    push_attribute(tag, "data-site", site);
    push_attribute(tag, "data-license", license);
    push_attribute(tag, "data-credit", if credit == "tasul" { "" } else { &credit });
}

fn push_block(tag: &mut String, settings: &GuardSettings) {
    let block = &settings.block;
    push_attribute(tag, "data-print", if block.print == Print::Hide { "hide" } else { "" });
    push_attribute(tag, "data-menu", if block.menu { "" } else { "0" });
    push_attribute(tag, "data-img", if block.images { "1" } else { "" });
    push_attribute(tag, "data-keys", &block.keys.concat());
}

fn number(value: u32, default: u32) -> String {
    if value == default { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::Guard;
    use super::*;

    fn tag_of(settings: &GuardSettings, mode: GuardMode, nonce: Option<&str>) -> String {
        let guard = Guard::new(settings, "CC BY 4.0", "/.deckle");
        String::from_utf8(guard.tag(mode, Some("de"), nonce, true).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_tag_is_ascii_escaped_and_named_by_its_hash() {
        let settings = GuardSettings { site_name: "Die \"Zeitung\" & <Söhne>".into(), ..GuardSettings::default() };
        let tag = tag_of(&settings, GuardMode::Attribute, None);
        assert!(tag.is_ascii());
        assert!(tag.starts_with("<script src=\"/.deckle/guard."), "{tag}");
        assert!(
            tag.ends_with(
                "=\" crossorigin=\"anonymous\" defer data-deckle=\"guard\" data-mode=\"attribute\" \
                 data-site=\"Die &quot;Zeitung&quot; &amp; &lt;S&#246;hne&gt;\" data-license=\"CC BY 4.0\"></script>"
            ),
            "{tag}"
        );
    }

    #[test]
    fn each_mode_says_what_it_needs() {
        let mut settings = GuardSettings {
            quote_words: 80,
            drag: false,
            toast: Toast::Never,
            toast_ms: 2_500,
            asset_base: Some("https://cdn.example/assets/".into()),
            beacon: true,
            ..GuardSettings::default()
        };
        settings.block.print = Print::Hide;
        settings.block.menu = false;
        settings.block.images = true;
        settings.block.keys = vec!["a".into(), "s".into()];
        let quote = tag_of(&settings, GuardMode::Quote, Some("abc+/="));
        assert!(quote.starts_with("<script src=\"https://cdn.example/assets/.deckle/guard."), "{quote}");
        assert!(
            quote.contains(" defer nonce=\"abc+/=\" data-deckle=\"guard\" data-mode=\"quote\" data-max=\"80\""),
            "{quote}"
        );
        assert!(
            quote.ends_with(
                " data-drag=\"0\" data-toast=\"0\" data-ms=\"2500\" data-beacon=\"/.deckle/copied\"></script>"
            ),
            "{quote}"
        );
        let block = tag_of(&settings, GuardMode::Block, None);
        assert!(
            block.contains(
                " data-mode=\"block\" data-print=\"hide\" data-menu=\"0\" data-img=\"1\" data-keys=\"as\" data-drag=\"0\""
            ),
            "{block}"
        );
        assert!(!block.contains("data-license"), "{block}");
    }

    #[test]
    fn a_long_tag_drops_the_licence_then_the_site() {
        let settings =
            GuardSettings { site_name: "ü".repeat(80), license: "ß".repeat(90), ..GuardSettings::default() };
        let tag = tag_of(&settings, GuardMode::Attribute, None);
        assert!(tag.len() <= MAX_TAG && tag.contains("data-site") && !tag.contains("data-license"), "{tag}");
        let settings = GuardSettings { site_name: "ü".repeat(300), ..GuardSettings::default() };
        assert!(tag_of(&settings, GuardMode::Attribute, None).len() <= MAX_TAG);
    }
}
