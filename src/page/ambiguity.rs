//! Where a streaming parser and a browser may disagree about what is text and what is markup.
//!
//! lol_html can refuse such pages, but then loses bytes. deckle lets it go on and watches the same few tags itself: from
//! the doubtful place on there are no edits, and the page leaves byte for byte.

/// Where the page is, as far as these tags go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ambiguity {
    /// Nothing special.
    #[default]
    Plain,
    /// In a `select`.
    InSelect,
    /// In a `template` in a `select`, with the depth of templates.
    InTemplateInSelect(u32),
    /// Behind a `frameset`.
    AfterFrameset,
}

impl Ambiguity {
    /// A start tag. True: from here on nothing is certain.
    pub(crate) fn start(&mut self, name: &str) -> bool {
        let raw =
            matches!(name, "title" | "plaintext" | "style" | "iframe" | "xmp" | "noembed" | "noframes" | "noscript");
        match self {
            Self::Plain => {
                match name {
                    "select" => *self = Self::InSelect,
                    "frameset" => *self = Self::AfterFrameset,
                    _ => {}
                }
                false
            }
            Self::InSelect => {
                match name {
                    "select" | "textarea" | "input" | "keygen" => *self = Self::Plain,
                    "template" => *self = Self::InTemplateInSelect(1),
                    _ => return raw,
                }
                false
            }
            Self::InTemplateInSelect(depth) => {
                if name == "template" {
                    *depth += 1;
                }
                raw || matches!(name, "script" | "textarea")
            }
            Self::AfterFrameset => (raw && name != "noframes") || matches!(name, "script" | "textarea"),
        }
    }

    /// An end tag of `select` or `template`.
    pub(crate) fn end(&mut self, name: &str) {
        match (&mut *self, name) {
            (Self::InSelect, "select") => *self = Self::Plain,
            (Self::InTemplateInSelect(depth), "template") => {
                *depth -= 1;
                if *depth == 0 {
                    *self = Self::InSelect;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(tags: &[&str]) -> bool {
        let mut state = Ambiguity::default();
        tags.iter().any(|tag| match tag.strip_prefix('/') {
            Some(name) => {
                state.end(name);
                false
            }
            None => state.start(tag),
        })
    }

    #[test]
    fn agrees_with_strict_mode() {
        assert!(verdict(&["select", "xmp"]));
        assert!(!verdict(&["select", "input", "title"]));
        assert!(verdict(&["select", "template", "script"]));
        assert!(verdict(&["frameset", "script"]));
        assert!(!verdict(&["frameset", "noframes"]));
        assert!(!verdict(&["title", "script", "style", "textarea"]));
        assert!(!verdict(&["select", "textarea", "xmp"]));
        assert!(!verdict(&["select", "/select", "xmp"]));
        assert!(!verdict(&["select", "script"]));
        assert!(verdict(&["select", "template", "template", "/template", "textarea"]));
        assert!(verdict(&["select", "template", "/template", "xmp"]));
    }
}
