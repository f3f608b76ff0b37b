//! May a selector mean the element of a seal, or a block whose children are laid out one by one?

use super::selector::{ALTERNATIVES, Combinator, Complex, Compound, Kind, Simple, parse, region};

/// Blocks that may carry a seal.
const BLOCKS: [&str; 4] = ["p", "li", "blockquote", "dd"];

/// Selectors in selectors that are looked into; deeper ones may mean anything.
const MAX_DEPTH: u8 = 6;

/// Does a selector mean an element?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Never,
    Maybe,
    Surely,
}

/// What a box on a selector means for seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Boxed {
    /// Nothing: it never means one.
    Nothing,
    /// No seal anywhere.
    Everywhere,
    /// No seal in these elements.
    In(String),
    /// No seal in blocks of this class.
    Class(String),
}

impl Complex {
    /// May it mean the element of a seal?
    pub(super) fn may_be_a_seal(&self) -> bool {
        self.last().is_some_and(|last| last.fits_seal(0) != Fit::Never)
    }

    /// A box on the element of a seal, or on one of its parts.
    pub(super) fn boxed_seal(&self) -> Boxed {
        if !self.may_be_a_seal() {
            return Boxed::Nothing;
        }
        // Who stands before a seal in its block does not matter: behind them is the parent.
        let mut index = self.0.len().saturating_sub(1);
        while index > 0 && self.0.get(index).is_some_and(|(combinator, _)| *combinator == Combinator::Sibling) {
            index -= 1;
        }
        let Some(around) = self.0.get(..index).filter(|around| !around.is_empty()) else { return Boxed::Everywhere };
        if self.0.get(index).is_some_and(|(combinator, _)| *combinator == Combinator::Child) {
            // The parent of a seal is its block.
            return boxed_block(around);
        }
        region(around).map_or(Boxed::Everywhere, Boxed::In)
    }

    /// A block whose children are laid out one by one.
    pub(super) fn arranged_block(&self) -> Boxed {
        boxed_block(&self.0)
    }
}

/// No seal in the blocks that these compounds mean.
fn boxed_block(compounds: &[(Combinator, Compound)]) -> Boxed {
    let Some(((combinator, last), before)) = compounds.split_last() else { return Boxed::Everywhere };
    if last.pseudo_element.is_some() {
        return Boxed::Nothing;
    }
    if last.element.as_deref().is_some_and(|name| !BLOCKS.contains(&name)) {
        return Boxed::Nothing;
    }
    if let Some(class) = last.class() {
        return Boxed::Class(class.to_owned());
    }
    if last.element.is_some() {
        return region(compounds).map_or(Boxed::Everywhere, Boxed::In);
    }
    if last.simple.is_empty() {
        // Each child of something: every list is full of these, and `*` alone is everything.
        return Boxed::Everywhere;
    }
    let typed = BLOCKS.iter().map(|name| {
        let mut compound = last.clone();
        compound.element = Some((*name).to_owned());
        let mut compounds = before.to_vec();
        compounds.push((*combinator, compound));
        region(&compounds)
    });
    typed.collect::<Option<Vec<String>>>().map_or(Boxed::Everywhere, |all| Boxed::In(all.join(", ")))
}

impl Compound {
    /// Does it mean `<span inert="">` at the end of a block?
    fn fits_seal(&self, depth: u8) -> Fit {
        if self.element.as_deref().is_some_and(|name| name != "span") {
            return Fit::Never;
        }
        let uncertain = if self.opaque || self.nesting { Fit::Maybe } else { Fit::Surely };
        self.simple.iter().map(|simple| simple.fits_seal(depth)).min().map_or(uncertain, |fit| fit.min(uncertain))
    }
}

impl Simple {
    fn fits_seal(&self, depth: u8) -> Fit {
        match &self.kind {
            Kind::Attribute(name) if ["inert", "aria-hidden", ""].contains(&name.as_str()) => Fit::Maybe,
            Kind::Class(_) | Kind::Id | Kind::Attribute(_) => Fit::Never,
            Kind::Pseudo(name, arguments) => pseudo_fits_seal(name, arguments.as_deref().unwrap_or_default(), depth),
        }
    }
}

fn pseudo_fits_seal(name: &str, arguments: &str, depth: u8) -> Fit {
    let inner = || {
        let list = (depth < MAX_DEPTH).then(|| parse(arguments)).flatten()?;
        let fits = list.iter().map(|complex| match complex.last() {
            Some(last) if complex.0.len() == 1 => last.fits_seal(depth + 1),
            Some(last) => last.fits_seal(depth + 1).min(Fit::Maybe),
            None => Fit::Maybe,
        });
        fits.max()
    };
    match name {
        _ if ALTERNATIVES.contains(&name) => inner().unwrap_or(Fit::Maybe),
        "not" => match inner() {
            Some(Fit::Surely) => Fit::Never,
            Some(Fit::Never) => Fit::Surely,
            Some(Fit::Maybe) | None => Fit::Maybe,
        },
        "last-child" | "last-of-type" | "defined" => Fit::Surely,
        // It holds text and no element, is no link, no control and no target, and takes no focus.
        "root" | "host" | "host-context" | "empty" | "has" | "link" | "visited" | "any-link" | "local-link"
        | "target" | "target-within" | "focus" | "focus-visible" | "focus-within" | "checked" | "disabled"
        | "enabled" | "default" | "indeterminate" | "placeholder-shown" | "valid" | "invalid" | "user-valid"
        | "user-invalid" | "required" | "optional" | "in-range" | "out-of-range" | "read-write" | "autofill"
        | "modal" | "fullscreen" | "popover-open" | "open" => Fit::Never,
        _ => Fit::Maybe,
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
    fn a_seal_is_a_span_without_class_at_the_end_of_a_block() {
        let everywhere = || Boxed::Everywhere;
        let within = |text: &str| Boxed::In(text.to_owned());
        let class = |text: &str| Boxed::Class(text.to_owned());
        for (selector, boxed) in [
            ("span", everywhere()),
            ("*", everywhere()),
            ("[inert]", everywhere()),
            ("span:not(.x)", everywhere()),
            (":last-child", everywhere()),
            ("* + *", everywhere()),
            (":where(span, b)", everywhere()),
            ("article span", within("article")),
            ("article > div span", within("article div")),
            (".card .title span", within(".card .title")),
            ("article a + span", within("article")),
            ("article:hover span", within("article")),
            ("#x:hover span:hover", within("#x")),
            ("p > span", within("p")),
            (".lead > span", class("lead")),
            (".flow > * + *", class("flow")),
            (".flow > :last-child", class("flow")),
            ("#x > span", within("p#x, li#x, blockquote#x, dd#x")),
            ("* > span", everywhere()),
            ("body > *", Boxed::Nothing),
            ("div > span", Boxed::Nothing),
            ("a", Boxed::Nothing),
            (".x", Boxed::Nothing),
            ("span.x", Boxed::Nothing),
            ("span#x", Boxed::Nothing),
            ("span[class]", Boxed::Nothing),
            ("span:empty", Boxed::Nothing),
            ("span:has(img)", Boxed::Nothing),
            ("span:not(:last-child)", Boxed::Nothing),
            (":not(span)", Boxed::Nothing),
            (":not(*)", Boxed::Nothing),
            (":is(p, .x)", Boxed::Nothing),
            (":not(:is(span, a))", Boxed::Nothing),
            (":focus-visible", Boxed::Nothing),
            (":root", Boxed::Nothing),
            (":where(.prose blockquote p:last-of-type)", Boxed::Nothing),
        ] {
            assert_eq!(one(selector).boxed_seal(), boxed, "{selector}");
        }
    }

    #[test]
    fn only_blocks_are_arranged() {
        for (selector, boxed) in [
            (".byline", Boxed::Class("byline".into())),
            ("div .x", Boxed::Class("x".into())),
            ("p.x", Boxed::Class("x".into())),
            (".w-1\\/2", Boxed::Class("w-1/2".into())),
            ("div.x", Boxed::Nothing),
            (".menu ul", Boxed::Nothing),
            ("body", Boxed::Nothing),
            (".x::before", Boxed::Nothing),
            (".menu li", Boxed::In(".menu li".into())),
            ("[role=note]", Boxed::In("p[role=note], li[role=note], blockquote[role=note], dd[role=note]".into())),
            ("*", Boxed::Everywhere),
        ] {
            assert_eq!(one(selector).arranged_block(), boxed, "{selector}");
        }
    }

    #[test]
    fn selectors_in_selectors_have_an_end() {
        let deep = format!("{}span{}", ":is(".repeat(5_000), ")".repeat(5_000));
        assert!(one(&deep).may_be_a_seal());
        assert_eq!(one(&deep).region(), None);
    }
}
