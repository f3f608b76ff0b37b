//! What an element means to the search for slots, told by its name and its attributes.
//!
//! One handler looks at every start tag and asks here. That is cheaper than lol_html's selectors: a selector that begins
//! with an attribute is tried on every element, and the skip list has a dozen of them.

/// What follows from an element's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its text is an article.
    Root,
    /// It holds a paragraph.
    Block,
    /// In it nothing is marked: not prose, not shown, or in white space that counts.
    Skip,
    /// `html` or `body`: the visible notice stands before its end.
    Page,
    /// A framework that compares the server's text with its own.
    Hydration,
    Other,
}

/// What follows from an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Root,
    /// In it nothing is marked.
    Skip,
    /// In it no block is sealed: it is not shown, or holds what readers wrote.
    NoSeal,
    Hydration,
    /// The site has placed its own visible notice.
    Notice,
    /// It is in another language, perhaps.
    Language,
    /// The author has written alternatives.
    Variant,
}

/// Longer names mean nothing here.
pub(super) const LONGEST_NAME: usize = 16;

/// The name in a start tag, in lower case (HTML Standard §13.2.5.8); empty if it is longer than any that means something.
pub(super) fn name<'b>(tag: &[u8], buffer: &'b mut [u8; LONGEST_NAME]) -> &'b str {
    let name = tag.get(1..).unwrap_or_default();
    let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'>');
    let length = name.iter().position(ends).unwrap_or(name.len());
    let (Some(name), Some(place)) = (name.get(..length), buffer.get_mut(..length)) else { return "" };
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    std::str::from_utf8(place).unwrap_or_default()
}

/// The kind of an element; the name in lower case.
pub(super) fn kind(name: &str) -> Kind {
    match name {
        "article" | "main" => Kind::Root,
        "p" | "li" | "blockquote" | "dd" => Kind::Block,
        "pre" | "code" | "kbd" | "samp" | "var" | "textarea" | "script" | "style" | "template" | "noscript"
        | "title" | "svg" | "math" | "button" | "select" | "option" | "label" | "input" | "nav" | "footer" | "form"
        | "iframe" | "object" | "xmp" | "listing" | "plaintext" | "noembed" | "noframes" => Kind::Skip,
        "html" | "body" => Kind::Page,
        "astro-island" => Kind::Hydration,
        _ => Kind::Other,
    }
}

/// What an attribute says; name and value as they stand in the source.
pub(super) fn effect(name: &[u8], value: &[u8]) -> Option<Effect> {
    // The lengths keep most attributes of a page from being looked at any closer.
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let says = |known: &str| value.trim_ascii().eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 if is("id") && (value == b"__nuxt" || value == b"__NEXT_DATA__") => Some(Effect::Hydration),
        2 if is("id") && (value == b"comments" || value.starts_with(b"comment-")) => Some(Effect::NoSeal),
        2 if is("id") && (value == b"___gatsby" || value == b"gatsby-focus-wrapper") => Some(Effect::Hydration),
        4 if is("role") && says("main") => Some(Effect::Root),
        4 if is("lang") => Some(Effect::Language),
        5 if is("class") => effect_of_classes(value),
        5 if is("style") && keeps_white_space(value) => Some(Effect::Skip),
        6 if is("hidden") => Some(Effect::Skip),
        8 if is("itemprop") && tokens(value).any(|t| t == b"articleBody") => Some(Effect::Root),
        9 if is("translate") && says("no") => Some(Effect::Skip),
        10 if is("ng-version") => Some(Effect::Hydration),
        11 if is("data-deckle") && says("off") => Some(Effect::Skip),
        11 if is("data-deckle") && says("notice") => Some(Effect::Notice),
        11 if is("aria-hidden") && says("true") => Some(Effect::Skip),
        12 if is("data-variant") => Some(Effect::Variant),
        14 if is("data-reactroot") => Some(Effect::Hydration),
        15 if is("contenteditable") => Some(Effect::Skip),
        22 if is("data-sveltekit-hydrate") => Some(Effect::Hydration),
        _ => None,
    }
}

fn effect_of_classes(classes: &[u8]) -> Option<Effect> {
    // One look finds out that most values hold none of the names.
    let begins = |part: &[u8]| matches!(part, b"not" | b"com" | b"hid" | b"sr-" | b"scr");
    if !classes.windows(3).any(begins) {
        return None;
    }
    if tokens(classes).any(|token| token == b"notranslate") {
        return Some(Effect::Skip);
    }
    hides(classes).then_some(Effect::NoSeal)
}

/// Classes of text that is not shown, or is not the article's.
fn hides(classes: &[u8]) -> bool {
    tokens(classes).any(|token| token == b"comments" || names_hiding(token))
}

/// `hidden-xs`, `js-hide`, `visually-hidden`; not `overflow-hidden`, which often stands around a whole article.
fn names_hiding(class: &[u8]) -> bool {
    const PARTS: [&[u8]; 3] = [b"sr-only", b"screen-reader", b"visually-hidden"];
    class.starts_with(b"hide")
        || class.starts_with(b"hidden")
        || PARTS.iter().any(|part| contains(class, part))
        || class.split(|b| matches!(b, b'-' | b'_')).any(|part| part == b"hide")
}

/// Does white space count in an element with this style? What is said of it in any but the plainest way counts as yes.
fn keeps_white_space(style: &[u8]) -> bool {
    const NAME: &[u8] = b"white-space";
    let names = |text: &[u8]| text.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME));
    names(style) && style.split(|b| *b == b';').any(|declaration| names(declaration) && !collapses(declaration))
}

/// `white-space: normal` and the like.
fn collapses(declaration: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', declaration) else { return false };
    let (name, value) = declaration.split_at(colon);
    let value = value.get(1..).unwrap_or_default().split(|b| *b == b'!').next().unwrap_or_default();
    let harmless: &[&str] = match name.trim_ascii().to_ascii_lowercase().as_slice() {
        b"white-space" => &["normal", "nowrap"],
        b"white-space-collapse" => &["collapse"],
        _ => &[],
    };
    harmless.iter().any(|known| value.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(u8::is_ascii_whitespace)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_names() {
        for (tag, expected) in [
            ("<P>", "p"),
            ("<Article\nclass=a>", "article"),
            ("<br/>", "br"),
            ("<astro-island x>", "astro-island"),
            ("<a-very-long-name-indeed>", ""),
            ("<p\u{c}x>", "p"),
            ("<\u{e9}>", "\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(name(tag.as_bytes(), &mut [0; LONGEST_NAME]), expected, "{tag}");
        }
        assert_eq!(name(b"<\xFF>", &mut [0; LONGEST_NAME]), "");
    }

    #[test]
    fn attributes_have_effects() {
        #[rustfmt::skip]
        let table: &[(&str, &str, Option<Effect>)] = &[
            ("hidden", "", Some(Effect::Skip)), ("HIDDEN", "until-found", Some(Effect::Skip)),
            ("contenteditable", "false", Some(Effect::Skip)),
            ("translate", "No", Some(Effect::Skip)), ("translate", "yes", None),
            ("aria-hidden", "true", Some(Effect::Skip)), ("aria-hidden", "false", None),
            ("class", "a notranslate b", Some(Effect::Skip)), ("class", "a-notranslate", None),
            ("class", "hidden notranslate", Some(Effect::Skip)),
            ("class", "x sr-only-focusable", Some(Effect::NoSeal)), ("class", "screen-reader-text", Some(Effect::NoSeal)),
            ("class", "js-hide", Some(Effect::NoSeal)), ("class", "comments", Some(Effect::NoSeal)),
            ("class", "hidden", Some(Effect::NoSeal)), ("class", "a hidden-xs b", Some(Effect::NoSeal)),
            ("class", "visually-hidden", Some(Effect::NoSeal)), ("class", "u-visually-hidden", Some(Effect::NoSeal)),
            ("class", "visually-hidden-focusable", Some(Effect::NoSeal)), ("class", "hide-on-mobile", Some(Effect::NoSeal)),
            ("class", "hideme", Some(Effect::NoSeal)), ("class", "mobile_hide", Some(Effect::NoSeal)),
            ("class", "overflow-hidden", None), ("class", "md:overflow-x-hidden", None), ("class", "js-hideous", None),
            ("class", "lead overflow-hidden sr-only", Some(Effect::NoSeal)),
            ("class", "no-comments", None), ("Class", "lead", None), ("title", "hide", None),
            ("style", "white-space: pre", Some(Effect::Skip)), ("style", "color: red", None),
            ("style", "color: red; WHITE-SPACE:Pre-Line !important", Some(Effect::Skip)),
            ("style", "white-space:nowrap", None), ("style", "margin:0;White-Space : NORMAL !important; color:red", None),
            ("style", "white-space: nowrap; white-space: break-spaces", Some(Effect::Skip)),
            ("style", "white-space: inherit", Some(Effect::Skip)), ("style", "white-space", Some(Effect::Skip)),
            ("style", "white-space-collapse: preserve", Some(Effect::Skip)), ("style", "white-space-collapse: collapse", None),
            ("style", "font-family:&quot;A&quot;;white-space:pre", Some(Effect::Skip)),
            ("style", "/* white-space: normal */ color: red", Some(Effect::Skip)),
            ("id", "comments", Some(Effect::NoSeal)), ("id", "comment-12", Some(Effect::NoSeal)),
            ("id", "my-comment", None), ("id", "commentary", None),
            ("data-deckle", "off", Some(Effect::Skip)), ("data-deckle", "notice", Some(Effect::Notice)),
            ("data-deckle", "", None), ("data-off", "off", None),
            ("role", "main", Some(Effect::Root)), ("role", "navigation", None),
            ("itemprop", "headline articleBody", Some(Effect::Root)), ("itemprop", "articlebody", None),
            ("id", "___gatsby", Some(Effect::Hydration)), ("id", "gatsby-focus-wrapper", Some(Effect::Hydration)),
            ("id", "__nuxt", Some(Effect::Hydration)), ("id", "__NEXT_DATA__", Some(Effect::Hydration)),
            ("Lang", "de", Some(Effect::Language)), ("data-variant", "a|b", Some(Effect::Variant)),
            ("ng-version", "17", Some(Effect::Hydration)), ("data-reactroot", "", Some(Effect::Hydration)),
            ("data-sveltekit-hydrate", "x", Some(Effect::Hydration)),
        ];
        for (name, value, expected) in table {
            assert_eq!(effect(name.as_bytes(), value.as_bytes()), *expected, "{name}={value}");
        }
    }
}
