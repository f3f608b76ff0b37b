//! Where a streaming parser and a browser may disagree about what is text and what is markup.
//!
//! lol_html can refuse such pages, but then loses bytes. deckle lets it go on and watches the same few tags itself: from
//! the doubtful place on there are no edits, and the page leaves byte for byte.

/// Is lol_html in the vocabulary of SVG or MathML still, where a browser has left it? It is where such an element closes itself, or is
/// closed by the end tag of another one (HTML Standard §13.2.6.5), and leaves it at the next tag that cannot stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Foreign(bool);

impl Foreign {
    /// A start tag. True: from here on nothing is certain, for a browser reads no tags in it.
    pub(crate) fn start(&mut self, name: &str, closes_itself: bool) -> bool {
        self.0 &= !breaks_out(name);
        let is_doubtful = self.0 && (is_raw(name) || matches!(name, "script" | "textarea"));
        self.0 |= closes_itself && matches!(name, "svg" | "math");
        is_doubtful
    }

    /// The end of such an element, by its own end tag or not.
    pub(crate) fn end(&mut self, own: bool) {
        self.0 = !own;
    }
}

/// Start tags that end all that is foreign (HTML Standard §13.2.6.5).
fn breaks_out(name: &str) -> bool {
    matches!(
        name,
        "b" | "big"
            | "blockquote"
            | "body"
            | "br"
            | "center"
            | "code"
            | "dd"
            | "div"
            | "dl"
            | "dt"
            | "em"
            | "embed"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "head"
            | "hr"
            | "i"
            | "img"
            | "li"
            | "listing"
            | "menu"
            | "meta"
            | "nobr"
            | "ol"
            | "p"
            | "pre"
            | "ruby"
            | "s"
            | "small"
            | "span"
            | "strong"
            | "strike"
            | "sub"
            | "sup"
            | "table"
            | "tt"
            | "u"
            | "ul"
            | "var"
    )
}

/// Elements in which no tags are read.
fn is_raw(name: &str) -> bool {
    matches!(name, "title" | "plaintext" | "style" | "iframe" | "xmp" | "noembed" | "noframes" | "noscript")
}

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
        let raw = is_raw(name);
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
    fn foreign_elements_that_only_a_browser_has_left_make_scripts_doubtful() {
        let verdict = |tags: &[&str]| {
            let mut state = Foreign::default();
            tags.iter().any(|tag| match tag.strip_prefix('/') {
                Some(name) => {
                    state.end(name == "svg");
                    false
                }
                None => state.start(tag.trim_end_matches('/'), tag.ends_with('/')),
            })
        };
        for doubtful in [["svg/", "a", "script"], ["svg", "/div", "textarea"], ["math/", "use", "style"]] {
            assert!(verdict(&doubtful), "{doubtful:?}");
        }
        for certain in
            [["svg", "/svg", "script"], ["svg/", "p", "script"], ["svg", "style", "title"], ["br/", "a", "script"]]
        {
            assert!(!verdict(&certain), "{certain:?}");
        }
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
