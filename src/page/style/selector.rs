//! Selectors of style sheets: which elements they may mean, and how a scan can find those.
//!
//! lol_html knows types, classes, identifiers, attributes, `:not()` and ancestors. It builds no tree: an element whose end
//! tag is not written holds what follows, so that children and positions cannot be told. Where a selector is put into its
//! words, it gets wider, never narrower: a child becomes a descendant; positions and states are left out.

use cssparser::{ParseError, Parser, ParserInput, Token};
use lol_html::Selector;

/// Elements that hold no marked text, by their kind.
const NEVER_MARKED: [&str; 39] = [
    "pre", "code", "kbd", "samp", "var", "textarea", "script", "style", "template", "noscript", "title", "svg", "math",
    "button", "select", "option", "optgroup", "label", "input", "nav", "footer", "form", "iframe", "object", "img",
    "br", "hr", "canvas", "video", "audio", "picture", "source", "track", "embed", "progress", "meter", "head", "meta",
    "link",
];

/// Pseudo-classes that hold selectors of which one is meant.
pub(super) const ALTERNATIVES: [&str; 6] = ["is", "where", "matches", "any", "-webkit-any", "-moz-any"];

/// Longer ones are not searched for.
const MAX_LENGTH: usize = 256;

/// How one compound selector hangs on the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Combinator {
    #[default]
    Descendant,
    Child,
    /// `+` or `~`.
    Sibling,
}

/// `a > b.c`: compounds, each with how it hangs on the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complex(pub(super) Vec<(Combinator, Compound)>);

/// `b.c:hover`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Compound {
    /// In lower case; `None`: any.
    pub(super) element: Option<String>,
    pub(super) simple: Vec<Simple>,
    pub(super) pseudo_element: Option<String>,
    /// `&`: the selectors of the rule around.
    pub(super) nesting: bool,
    /// A namespace, or something else that is not looked into.
    pub(super) opaque: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) kind: Kind,
    /// As it is written.
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Without escapes.
    Class(String),
    Id,
    /// Its name in lower case.
    Attribute(String),
    /// Its name in lower case, and what stands in brackets.
    Pseudo(String, Option<String>),
}

/// Reads a list; `None`: it is none, and no browser takes the rule.
pub(super) fn parse(list: &str) -> Option<Vec<Complex>> {
    let mut input = ParserInput::new(list);
    let mut input = Parser::new(&mut input);
    let (mut all, mut draft) = (Vec::new(), Draft::default());
    loop {
        let start = input.position();
        let Ok(token) = input.next_including_whitespace().cloned() else { break };
        match token {
            Token::WhiteSpace(_) => draft.close(),
            Token::Comma => all.push(std::mem::take(&mut draft).finish()?),
            Token::Delim('>') => draft.combine(Combinator::Child)?,
            Token::Delim('+' | '~') => draft.combine(Combinator::Sibling)?,
            Token::Delim('*') => draft.compound().element = None,
            Token::Delim('&') => draft.compound().nesting = true,
            Token::Delim('|') => draft.compound().opaque = true,
            Token::Ident(name) => draft.compound().element = Some(name.to_ascii_lowercase()),
            Token::Delim('.') => {
                let Ok(Token::Ident(name)) = input.next_including_whitespace().cloned() else { return None };
                draft.simple(Kind::Class((*name).to_owned()), input.slice_from(start));
            }
            Token::IDHash(_) => draft.simple(Kind::Id, input.slice_from(start)),
            Token::SquareBracketBlock => {
                let name = input.parse_nested_block(attribute).ok()?;
                draft.simple(Kind::Attribute(name), input.slice_from(start));
            }
            Token::Colon => {
                let (element, name, arguments) = pseudo(&mut input)?;
                if element {
                    draft.compound().pseudo_element = Some(name);
                } else {
                    draft.simple(Kind::Pseudo(name, arguments), input.slice_from(start));
                }
            }
            _ => return None,
        }
    }
    all.push(draft.finish()?);
    Some(all)
}

/// The name of an attribute; what is said of its value is left to others.
#[expect(clippy::unnecessary_wraps, reason = "as the parser calls it")]
fn attribute<'i>(input: &mut Parser<'i, '_>) -> Result<String, ParseError<'i, ()>> {
    // One with a namespace has no name here.
    let name = input.expect_ident_cloned().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    while input.next().is_ok() {}
    Ok(name)
}

#[expect(clippy::unnecessary_wraps, reason = "as the parser calls it")]
fn all_of<'i>(input: &mut Parser<'i, '_>) -> Result<String, ParseError<'i, ()>> {
    let start = input.position();
    while input.next().is_ok() {}
    Ok(input.slice_from(start).to_owned())
}

/// Behind a colon: is it a pseudo-element, its name, and what stands in brackets.
fn pseudo(input: &mut Parser<'_, '_>) -> Option<(bool, String, Option<String>)> {
    const OLD: [&str; 4] = ["before", "after", "first-line", "first-letter"];
    let mut token = input.next_including_whitespace().ok()?.clone();
    let twice = matches!(token, Token::Colon);
    if twice {
        token = input.next_including_whitespace().ok()?.clone();
    }
    match token {
        Token::Ident(name) => {
            let name = name.to_ascii_lowercase();
            Some((twice || OLD.contains(&name.as_str()), name, None))
        }
        Token::Function(name) => {
            let arguments = input.parse_nested_block(all_of).ok()?;
            Some((twice, name.to_ascii_lowercase(), Some(arguments)))
        }
        _ => None,
    }
}

/// A selector that is being read.
#[derive(Default)]
struct Draft {
    complex: Complex,
    current: Option<(Combinator, Compound)>,
    pending: Combinator,
}

impl Draft {
    fn compound(&mut self) -> &mut Compound {
        let pending = &mut self.pending;
        &mut self.current.get_or_insert_with(|| (std::mem::take(pending), Compound::default())).1
    }

    fn simple(&mut self, kind: Kind, text: &str) {
        self.compound().simple.push(Simple { kind, text: text.to_owned() });
    }

    fn close(&mut self) {
        self.complex.0.extend(self.current.take());
    }

    fn combine(&mut self, combinator: Combinator) -> Option<()> {
        self.close();
        if self.pending != Combinator::Descendant {
            return None;
        }
        self.pending = combinator;
        Some(())
    }

    fn finish(mut self) -> Option<Complex> {
        self.close();
        (self.pending == Combinator::Descendant && !self.complex.0.is_empty()).then_some(self.complex)
    }
}

impl Complex {
    /// Does it begin with `>`, `+` or `~`? Then it is nothing without a rule around it.
    pub(super) fn is_relative(&self) -> bool {
        self.0.first().is_some_and(|(combinator, _)| *combinator != Combinator::Descendant)
    }

    /// Compounds: what it costs to look at it.
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }

    /// What it stands for in a rule with the selector `parent`, or something wider.
    pub(super) fn within(&self, parent: &Self) -> Self {
        let Some((last, before)) = parent.0.split_last() else { return self.clone() };
        if !self.0.iter().any(|(_, compound)| compound.nesting) {
            return Self(parent.0.iter().chain(&self.0).cloned().collect());
        }
        let mut all = Vec::new();
        for (index, (combinator, compound)) in self.0.iter().enumerate() {
            if compound.nesting && index == 0 {
                all.extend_from_slice(before);
                all.push((last.0, compound.over(&last.1)));
            } else if compound.nesting {
                // The ancestors of the parent may stand anywhere above: they are left out.
                all.push((*combinator, compound.over(&last.1)));
            } else {
                all.push((*combinator, compound.clone()));
            }
        }
        Self(all)
    }

    /// Means a part of an element, such as `::before`.
    pub(super) fn pseudo_element(&self) -> Option<&str> {
        self.last()?.pseudo_element.as_deref()
    }

    pub(super) fn last(&self) -> Option<&Compound> {
        self.0.last().map(|(_, compound)| compound)
    }

    /// May it mean an element in whose text marks stand, or one around it?
    pub(super) fn may_hold_marks(&self) -> bool {
        self.last().and_then(|last| last.element.as_deref()).is_none_or(|name| !NEVER_MARKED.contains(&name))
    }

    /// For a scan: the elements that it means, or some more. `None`: they cannot be told.
    pub(super) fn region(&self) -> Option<String> {
        region(&self.0)
    }

    /// The class of the elements that it means, if all have one.
    pub(super) fn class(&self) -> Option<&str> {
        self.last()?.class()
    }
}

/// The compounds in the words of the scanner, or only the last one.
pub(super) fn region(compounds: &[(Combinator, Compound)]) -> Option<String> {
    let known = |compounds: &[(Combinator, Compound)]| {
        if compounds.iter().any(|(combinator, _)| *combinator == Combinator::Sibling) {
            return None;
        }
        let mut texts: Vec<String> = compounds.iter().map(|(_, compound)| compound.text()).collect::<Option<_>>()?;
        let last = texts.pop()?;
        // Something is always around.
        texts.retain(|text| text != "*");
        texts.push(last);
        let text = texts.join(" ");
        (text.len() <= MAX_LENGTH && text.parse::<Selector>().is_ok()).then_some(text)
    };
    known(compounds).or_else(|| {
        let (_, last) = compounds.last()?;
        known(&[(Combinator::Descendant, last.clone())])
    })
}

impl Compound {
    /// This compound as one selector with another one.
    fn over(&self, other: &Self) -> Self {
        Self {
            element: self.element.clone().or_else(|| other.element.clone()),
            simple: other.simple.iter().chain(&self.simple).cloned().collect(),
            pseudo_element: self.pseudo_element.clone().or_else(|| other.pseudo_element.clone()),
            nesting: other.nesting,
            opaque: self.opaque || other.opaque,
        }
    }

    pub(super) fn class(&self) -> Option<&str> {
        self.simple.iter().find_map(|simple| match &simple.kind {
            Kind::Class(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// In the words of the scanner, without what an element is only at times or at a place.
    fn text(&self) -> Option<String> {
        if self.opaque || self.nesting || self.pseudo_element.is_some() {
            return None;
        }
        let simple = self.simple.iter().filter(|simple| !simple.is_left_out()).map(|simple| simple.text.as_str());
        let simple: String = simple.collect();
        let element = self.element.as_deref().unwrap_or(if simple.is_empty() { "*" } else { "" });
        Some(format!("{element}{simple}"))
    }
}

impl Simple {
    /// Without it a selector means some more.
    fn is_left_out(&self) -> bool {
        match &self.kind {
            Kind::Pseudo(name, Some(arguments)) if name == "not" => {
                arguments.contains(':') || self.text.parse::<Selector>().is_err()
            }
            // These are the heart of a selector.
            Kind::Pseudo(name, Some(_)) => !ALTERNATIVES.contains(&name.as_str()),
            Kind::Pseudo(_, None) => true,
            Kind::Class(_) | Kind::Id | Kind::Attribute(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Complex {
        let mut all = parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in ["", ",", "a,", "a >", "a > > b", ".5x", "a {", "#1", "a..b", "a: b", "50%", "a)", "!x", "::"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("a, b > c,.x:is(p, li) ~ *").unwrap().len(), 3);
        assert!(one("> p").is_relative() && one("+ p").is_relative() && !one("a > p").is_relative());
    }

    #[test]
    fn regions_are_wider_never_narrower() {
        for (selector, region) in [
            ("p", Some("p")),
            ("P", Some("p")),
            ("*", Some("*")),
            (".a > p", Some(".a p")),
            (".a>p:first-child", Some(".a p")),
            (".a :nth-child(2n + 1)", Some(".a *")),
            ("p:not(.lead)", Some("p:not(.lead)")),
            ("p:not(:first-child)", Some("p")),
            ("p:not(:nth-child(2))", Some("p")),
            ("[lang|=en] li#x", Some("[lang|=en] li#x")),
            (".md\\:pre", Some(".md\\:pre")),
            ("h2 + p", Some("p")),
            (".a:hover p", Some(".a p")),
            (":is(p, li)", None),
            (".post :is(p, li)", None),
            ("p:last-child", Some("p")),
            ("svg|p", None),
            ("p::before", None),
        ] {
            assert_eq!(one(selector).region().as_deref(), region, "{selector}");
        }
    }

    #[test]
    fn nested_rules_stand_for_more() {
        for (parent, child, region) in [
            (".a", "p", Some(".a p")),
            (".a > .b", "> p", Some(".a .b p")),
            (".a", "&.b", Some(".a.b")),
            ("p", ".x &", Some(".x p")),
            (".a p", ".x &", Some(".x p")),
            (".a p", "& em", Some(".a p em")),
            ("p", "& + &", Some("p")),
        ] {
            assert_eq!(one(child).within(&one(parent)).region().as_deref(), region, "{parent} {{ {child} }}");
        }
    }
}
