//! What the declarations of one rule do to white space, and to the bare `span` that holds a seal.
//!
//! A seal is an inline element without width: what gives such an element a size, moves it, or makes its line higher is a
//! *box*. Zero values are none, or every reset (`* { margin: 0 }`) would be. A margin above or below an inline element
//! has no effect (CSS 2.2 §8.3), so that only its sides count.

use cssparser::{Parser, ParserInput, Token};

/// Values that hold for every property, and give an inline element no box.
const RESETS: [&str; 4] = ["initial", "unset", "revert", "revert-layer"];

/// One value of a declaration.
enum Part {
    Word(String),
    /// A number with or without a unit. A percentage counts as a size, too.
    Size {
        zero: bool,
        /// 100 % or 1em: that of the parent.
        whole: bool,
    },
    Slash,
    /// A function, a string, an address, a colour: what it comes to is not known.
    Other,
}

/// What a rule declares, as far as it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// White space does not collapse.
    pub(super) preserves: bool,
    /// An inline element gets a box.
    boxes: bool,
    /// Something is shown before or behind the element.
    pub(super) generates: bool,
    /// The children of a block are laid out one by one.
    pub(super) arranges: bool,
    border_style: bool,
    border_is_zero: bool,
}

impl Declared {
    pub(super) fn matters(self) -> bool {
        self.preserves || self.boxes() || self.generates || self.arranges
    }

    /// Does an inline element get a box?
    pub(super) fn boxes(self) -> bool {
        self.boxes || (self.border_style && !self.border_is_zero)
    }

    /// Takes a declaration; the name in lower case.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        match name {
            "white-space" | "white-space-collapse" => self.preserves |= !parts(value).iter().all(collapses),
            "text-wrap" | "text-wrap-mode" => self.preserves |= parts(value).iter().any(keeps),
            "display" => self.display(&parts(value)),
            "float" | "position" => self.boxes |= !only(value, &["none", "static"]),
            "content" => {
                let generates = !only(value, &["none", "normal"]);
                self.generates |= generates;
                self.boxes |= generates;
            }
            "margin" => self.boxes |= is_wide_at_the_sides(&parts(value)),
            "background-size" => self.boxes |= !only(value, &["auto"]),
            "background" => self.boxes |= parts(value).iter().any(|part| matches!(part, Part::Slash)),
            "font" | "line-height" => self.boxes |= !only(value, &["inherit"]),
            "font-size" => self.boxes |= parts(value).iter().any(|part| !is_inherited(part)),
            "vertical-align" => {
                self.boxes |= parts(value).iter().any(|part| is_wide(part) && !is_word(part, "baseline"));
            }
            _ if name.starts_with("margin-") => {
                let upright = ["top", "bottom", "block"].iter().any(|side| name.contains(side));
                self.boxes |= !upright && is_any_wide(value);
            }
            _ if name.starts_with("padding") || is_minimum(name) => self.boxes |= is_any_wide(value),
            _ if name.starts_with("border") => self.border(name, value),
            _ => {}
        }
    }

    fn display(&mut self, parts: &[Part]) {
        const PLAIN: [&str; 4] = ["inline", "contents", "none", "flow"];
        const ARRANGING: [&str; 12] = [
            "flex",
            "inline-flex",
            "grid",
            "inline-grid",
            "-webkit-box",
            "-webkit-inline-box",
            "-webkit-flex",
            "-webkit-inline-flex",
            "-moz-box",
            "-ms-flexbox",
            "-ms-inline-flexbox",
            "-ms-grid",
        ];
        self.boxes |= !parts.iter().all(|part| is_one_of(part, &PLAIN) || is_one_of(part, &RESETS));
        self.arranges |= parts.iter().any(|part| matches!(part, Part::Other) || is_one_of(part, &ARRANGING));
    }

    fn border(&mut self, name: &str, value: &str) {
        const NOT_DRAWN: [&str; 5] = ["radius", "color", "collapse", "spacing", "image"];
        if NOT_DRAWN.iter().any(|what| name.contains(what)) {
            return;
        }
        if name.ends_with("-width") {
            self.border_width(value);
        } else if name.ends_with("-style") {
            self.border_style |= parts(value).iter().any(draws);
        } else {
            // Without a style there is no border.
            let parts = parts(value);
            let none =
                |part: &Part| matches!(part, Part::Size { zero: true, .. }) || is_one_of(part, &["none", "hidden"]);
            self.boxes |= !parts.iter().any(none) && parts.iter().any(draws);
        }
    }

    fn border_width(&mut self, value: &str) {
        if is_any_wide(value) {
            self.boxes = true;
        } else {
            self.border_is_zero = true;
        }
    }
}

fn parts(value: &str) -> Vec<Part> {
    let mut input = ParserInput::new(value);
    let mut input = Parser::new(&mut input);
    let mut parts = Vec::new();
    while let Ok(token) = input.next() {
        let size = |value: f32, whole: bool| Part::Size { zero: value == 0.0, whole };
        let is_one = |value: f32| (value - 1.0).abs() < f32::EPSILON;
        parts.push(match token {
            // `!important`
            Token::Delim('!') => break,
            Token::Comma => continue,
            Token::Ident(word) => Part::Word(word.to_ascii_lowercase()),
            Token::Number { value, .. } => size(*value, false),
            Token::Percentage { unit_value, .. } => size(*unit_value, is_one(*unit_value)),
            Token::Dimension { value, unit, .. } => size(*value, is_one(*value) && unit.eq_ignore_ascii_case("em")),
            Token::Delim('/') => Part::Slash,
            _ => Part::Other,
        });
    }
    parts
}

fn is_word(part: &Part, word: &str) -> bool {
    matches!(part, Part::Word(is) if is == word)
}

fn is_one_of(part: &Part, words: &[&str]) -> bool {
    words.iter().any(|word| is_word(part, word))
}

/// Are all values among these, or a reset?
fn only(value: &str, words: &[&str]) -> bool {
    parts(value).iter().all(|part| is_one_of(part, words) || is_one_of(part, &RESETS))
}

fn collapses(part: &Part) -> bool {
    is_one_of(part, &["normal", "nowrap", "collapse", "wrap", "inherit"]) || is_one_of(part, &RESETS)
}

fn keeps(part: &Part) -> bool {
    const KEEPING: [&str; 7] =
        ["pre", "pre-wrap", "pre-line", "break-spaces", "preserve", "preserve-breaks", "preserve-spaces"];
    matches!(part, Part::Other) || is_one_of(part, &KEEPING)
}

fn is_wide(part: &Part) -> bool {
    match part {
        Part::Size { zero, .. } => !zero,
        Part::Word(_) => !is_one_of(part, &["auto", "none", "normal"]) && !is_one_of(part, &RESETS),
        Part::Slash | Part::Other => true,
    }
}

fn is_any_wide(value: &str) -> bool {
    parts(value).iter().any(is_wide)
}

fn is_inherited(part: &Part) -> bool {
    match part {
        Part::Size { whole, .. } => *whole,
        _ => is_one_of(part, &["inherit", "unset"]),
    }
}

/// Of one to four values for the sides of a box, left and right.
fn is_wide_at_the_sides(parts: &[Part]) -> bool {
    match parts {
        [all] => is_wide(all),
        [_, both] | [_, both, _] => is_wide(both),
        [_, right, _, left] => is_wide(right) || is_wide(left),
        [] => false,
        _ => true,
    }
}

fn draws(part: &Part) -> bool {
    const STYLES: [&str; 9] = ["solid", "dashed", "dotted", "double", "groove", "ridge", "inset", "outset", "inherit"];
    matches!(part, Part::Other) || is_one_of(part, &STYLES)
}

fn is_minimum(name: &str) -> bool {
    matches!(name, "min-width" | "min-height" | "min-inline-size" | "min-block-size")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(declarations: &str) -> Declared {
        let mut declared = Declared::default();
        for one in declarations.split(';').filter(|one| !one.trim().is_empty()) {
            let (name, value) = one.split_once(':').unwrap();
            declared.add(name.trim(), value);
        }
        declared
    }

    #[test]
    fn white_space_that_stays_is_known_by_what_it_is_not() {
        for stays in [
            "white-space: pre",
            "white-space:PRE-LINE!important",
            "white-space: break-spaces",
            "white-space: preserve nowrap",
            "white-space: var(--w)",
            "white-space: -moz-pre-wrap",
            "white-space-collapse: preserve-breaks",
            "white-space-collapse: discard",
            "text-wrap: var(--w)",
            "white-space: normal; white-space: pre",
        ] {
            assert!(of(stays).preserves, "{stays}");
        }
        for collapses in [
            "white-space: normal",
            "white-space: nowrap !important",
            "white-space: collapse wrap",
            "white-space: inherit",
            "white-space:",
            "white-space-collapse: collapse",
            "text-wrap: pretty",
            "text-wrap: balance",
            "word-spacing: 1em",
            "color: red",
        ] {
            assert!(!of(collapses).preserves, "{collapses}");
        }
    }

    #[test]
    fn a_box_has_a_size_and_zero_is_none() {
        for boxes in [
            "display: block",
            "display: inline-block",
            "display: inherit",
            "display: flex",
            "padding: 0 1px",
            "padding-top: 1em",
            "margin: 4px",
            "margin: 0 1rem",
            "margin: 0 0 0 1px",
            "margin-left: calc(1rem * 0)",
            "margin-inline-start: 1ch",
            "border: 1px solid",
            "border: solid",
            "border-left: 2px dashed red",
            "border: var(--line)",
            "border-style: solid",
            "border-width: thin",
            "border-bottom-width: 1px",
            "content: 'x'",
            "float: left",
            "position: relative",
            "min-width: 1px",
            "min-height: 1em",
            "background: url(x.png) 0 0 / cover",
            "background-size: 10px",
            "font-size: 1.2em",
            "font: .9rem serif",
            "line-height: 1.5",
            "vertical-align: super",
        ] {
            assert!(of(boxes).boxes(), "{boxes}");
        }
        for none in [
            "display: inline",
            "display: none",
            "display: contents !important",
            "padding: 0",
            "padding: 0px 0%",
            "margin: 0 auto",
            "margin: 0 0 1.5em",
            "margin: 1em 0 2em 0",
            "margin-top: 1em",
            "margin-bottom: var(--gap)",
            "margin-block: 1em",
            "border: 0",
            "border: none",
            "border: 0 solid #e5e7eb",
            "border: 0 solid rgb(1, 2, 3)",
            "border-width: 0; border-style: solid; border-color: red",
            "border-radius: 4px",
            "border-collapse: collapse",
            "border-spacing: 2px",
            "content: none",
            "float: none",
            "position: static",
            "min-width: 0",
            "min-width: auto",
            "background: red",
            "background-size: auto",
            "font: inherit",
            "font-size: 100%",
            "font-size: 1em",
            "line-height: inherit",
            "vertical-align: baseline",
            "vertical-align: 0",
            "color: red",
            "box-sizing: border-box",
            "font-family: serif",
        ] {
            assert!(!of(none).boxes(), "{none}");
        }
    }

    #[test]
    fn flex_and_grid_lay_out_what_is_in_a_block() {
        for arranges in ["display: flex", "display:inline-grid", "display: -webkit-box", "display: var(--d)"] {
            assert!(of(arranges).arranges, "{arranges}");
        }
        for flows in ["display: block", "display: list-item", "display: table-cell", "flex: 1", "grid-column: 2"] {
            assert!(!of(flows).arranges, "{flows}");
        }
        assert!(of("content: 'x'").generates && !of("content: normal").generates);
        assert!(!of("color: red; margin-top: 1em").matters());
    }
}
