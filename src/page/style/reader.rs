//! Reads a style sheet for two questions: where does white space not collapse, and where would a seal get a box?
//!
//! Rules in `@media`, `@supports`, `@layer` and the like count as if they applied; so does every rule that another one may
//! win over. What is found is therefore more than what holds, never less.

use std::collections::BTreeSet;

use cssparser::{
    AtRuleParser, CowRcStr, DeclarationParser, ParseError, Parser, ParserInput, ParserState, QualifiedRuleParser,
    RuleBodyItemParser, RuleBodyParser, StyleSheetParser, Token,
};

use super::declared::Declared;
use super::fit::Boxed;
use super::rules::SheetRules;
use super::selector::{self, Complex};

/// Longer sheets are not read.
pub(crate) const MAX_SHEET: usize = 1 << 20;
/// Blocks in blocks.
const MAX_DEPTH: usize = 32;
/// Compounds of selectors that are looked at in one sheet. Nested lists multiply.
const MAX_WORK: usize = 400_000;
/// Selectors that a nested rule may stand for.
const MAX_NESTED: usize = 256;
/// Regions of one kind in one sheet.
const MAX_REGIONS: usize = 256;
const MAX_CLASSES: usize = 2_048;
/// Sheets that one imports.
const MAX_IMPORTS: usize = 16;

/// `None`: it is too long, cut off, or in another charset. It counts as a sheet that nobody has read.
pub(crate) fn read(css: &[u8]) -> Option<SheetRules> {
    let text = text(css)?;
    let mut input = ParserInput::new(text);
    let mut input = Parser::new(&mut input);
    let mut sheet = Sheet::default();
    let mut top = Level { sheet: &mut sheet, place: Place::Rules, declared: Declared::default() };
    StyleSheetParser::new(&mut input, &mut top).for_each(drop);
    sheet.finish()
}

/// The sheets that a sheet imports, as it names them.
#[cfg(feature = "cli")]
pub(crate) fn imports(css: &[u8]) -> BTreeSet<String> {
    read(css).map(|rules| rules.imports).unwrap_or_default()
}

/// UTF-8, with or without a byte-order mark. Another `@charset` is believed of bytes that mean the same everywhere.
fn text(css: &[u8]) -> Option<&str> {
    if css.len() > MAX_SHEET {
        return None;
    }
    let text = std::str::from_utf8(css.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(css)).ok()?;
    let charset = text.strip_prefix("@charset \"").and_then(|rest| rest.split('"').next());
    let is_utf8 = charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    let readable = (is_utf8 || text.is_ascii()) && !text.contains('\0') && !is_cut_off(text.as_bytes());
    readable.then_some(text)
}

/// Is there a comment that does not end? Then nobody knows what should follow.
fn is_cut_off(css: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = css.get(at) {
        let rest = css.get(at..).unwrap_or_default();
        at += match byte {
            b'"' | b'\'' => string(rest, byte),
            b'/' if rest.starts_with(b"/*") => match memchr::memmem::find(rest.get(2..).unwrap_or_default(), b"*/") {
                Some(end) => end + 4,
                None => return true,
            },
            b'(' if css.get(at.saturating_sub(3)..at).is_some_and(|name| name.eq_ignore_ascii_case(b"url")) => {
                url(rest)
            }
            b'\\' => 2,
            _ => 1,
        };
    }
    false
}

/// The length of a string with its quotes; a line feed ends it, too.
fn string(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => break,
            _ if byte == quote => break,
            _ => {}
        }
        at += 1;
    }
    at + 1
}

/// The length of an address without quotes, with its brackets.
fn url(text: &[u8]) -> usize {
    let inside = text.get(1..).unwrap_or_default().trim_ascii_start();
    match inside.first() {
        Some(b'"' | b'\'') => 1,
        _ => memchr::memchr(b')', text).map_or(text.len(), |end| end + 1),
    }
}

/// What is known of the sheet so far.
#[derive(Default)]
struct Sheet<'i> {
    rules: SheetRules,
    /// Selectors of the rules that are open, the outermost first.
    open: Vec<&'i str>,
    depth: usize,
    work: usize,
    gave_up: bool,
}

/// What a block is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Rules, and nothing that they belong to.
    Rules,
    /// Declarations, and rules.
    Style,
    /// Steps of an animation.
    Frames,
}

/// One block.
struct Level<'s, 'i> {
    sheet: &'s mut Sheet<'i>,
    place: Place,
    declared: Declared,
}

/// What begins with `@`.
enum At<'i> {
    /// Rules that may apply.
    Group,
    /// The same, below an element that is not told.
    Scope,
    Frames,
    Import(CowRcStr<'i>),
    /// No rules about elements.
    Other,
}

impl<'i> Level<'_, 'i> {
    /// Reads a block in this one.
    fn block(&mut self, place: Place, input: &mut Parser<'i, '_>) {
        if self.sheet.depth >= MAX_DEPTH {
            self.sheet.gave_up = true;
        }
        if self.sheet.gave_up {
            return;
        }
        self.sheet.depth += 1;
        let mut level = Level { sheet: &mut *self.sheet, place, declared: Declared::default() };
        RuleBodyParser::new(input, &mut level).for_each(drop);
        let declared = level.declared;
        self.sheet.depth -= 1;
        if declared.matters() {
            self.sheet.judge(place, declared);
        }
    }

    /// The same for a rule with these selectors.
    fn rule(&mut self, selectors: &'i str, input: &mut Parser<'i, '_>) {
        self.sheet.open.push(selectors);
        self.block(if self.place == Place::Frames { Place::Frames } else { Place::Style }, input);
        self.sheet.open.pop();
    }
}

impl<'i> QualifiedRuleParser<'i> for Level<'_, 'i> {
    type Prelude = &'i str;
    type QualifiedRule = ();
    type Error = ();

    fn parse_prelude<'t>(&mut self, input: &mut Parser<'i, 't>) -> Result<&'i str, ParseError<'i, ()>> {
        let start = input.position();
        while input.next().is_ok() {}
        Ok(input.slice_from(start))
    }

    fn parse_block<'t>(
        &mut self,
        selectors: &'i str,
        _: &ParserState,
        input: &mut Parser<'i, 't>,
    ) -> Result<(), ParseError<'i, ()>> {
        self.rule(selectors, input);
        Ok(())
    }
}

impl<'i> AtRuleParser<'i> for Level<'_, 'i> {
    type Prelude = At<'i>;
    type AtRule = ();
    type Error = ();

    fn parse_prelude<'t>(
        &mut self,
        name: CowRcStr<'i>,
        input: &mut Parser<'i, 't>,
    ) -> Result<At<'i>, ParseError<'i, ()>> {
        let name = name.to_ascii_lowercase();
        let at = match name.as_str() {
            "import" => At::Import(input.expect_url_or_string()?),
            "scope" => At::Scope,
            "font-face"
            | "page"
            | "property"
            | "counter-style"
            | "font-feature-values"
            | "font-palette-values"
            | "namespace"
            | "charset"
            | "view-transition"
            | "position-try"
            | "color-profile" => At::Other,
            name if name.ends_with("keyframes") => At::Frames,
            _ => At::Group,
        };
        while input.next().is_ok() {}
        Ok(at)
    }

    fn rule_without_block(&mut self, at: At<'i>, _: &ParserState) -> Result<(), ()> {
        if let At::Import(address) = at {
            if self.sheet.rules.imports.len() < MAX_IMPORTS {
                self.sheet.rules.imports.insert((*address).to_owned());
            } else {
                self.sheet.gave_up = true;
            }
        }
        Ok(())
    }

    fn parse_block<'t>(
        &mut self,
        at: At<'i>,
        _: &ParserState,
        input: &mut Parser<'i, 't>,
    ) -> Result<(), ParseError<'i, ()>> {
        match at {
            At::Group => self.block(self.place, input),
            At::Scope => self.rule(":scope", input),
            At::Frames => self.block(Place::Frames, input),
            // Their blocks are left unread.
            At::Import(_) | At::Other => while input.next().is_ok() {},
        }
        Ok(())
    }
}

impl<'i> DeclarationParser<'i> for Level<'_, 'i> {
    type Declaration = ();
    type Error = ();

    fn parse_value<'t>(
        &mut self,
        name: CowRcStr<'i>,
        input: &mut Parser<'i, 't>,
        _: &ParserState,
    ) -> Result<(), ParseError<'i, ()>> {
        let custom = name.starts_with("--");
        let start = input.position();
        let mut is_rule = false;
        while let Ok(token) = input.next() {
            // `a:hover { … }`: it is not a declaration after all.
            if matches!(token, Token::CurlyBracketBlock) && !custom {
                is_rule = true;
                break;
            }
        }
        if is_rule {
            return Err(input.new_custom_error(()));
        }
        if !custom {
            self.declared.add(&name.to_ascii_lowercase(), input.slice_from(start));
        }
        Ok(())
    }
}

impl<'i> RuleBodyItemParser<'i, (), ()> for Level<'_, 'i> {
    fn parse_declarations(&self) -> bool {
        self.place == Place::Style || (self.place == Place::Frames && !self.sheet.open.is_empty())
    }

    fn parse_qualified(&self) -> bool {
        true
    }
}

impl Sheet<'_> {
    /// What declarations mean for the elements of the rules that are open.
    fn judge(&mut self, place: Place, declared: Declared) {
        if place == Place::Frames {
            // Who is animated is not told here. A box that comes and goes is on elements that another rule names.
            self.rules.white_off |= declared.preserves;
            return;
        }
        let Some(all) = self.selectors() else { return };
        for complex in &all {
            if declared.preserves {
                self.preserve(complex);
            }
            self.unseal(complex, declared);
        }
    }

    /// The selectors of the innermost rule. `None`: no browser takes it, or it takes too long.
    fn selectors(&mut self) -> Option<Vec<Complex>> {
        let mut all: Option<Vec<Complex>> = None;
        for list in self.open.clone() {
            let list = selector::parse(list)?;
            let next = match all {
                None if list.iter().any(Complex::is_relative) => return None,
                None => list,
                Some(parents) if parents.len() * list.len() > MAX_NESTED => {
                    self.gave_up = true;
                    return None;
                }
                Some(parents) => {
                    parents.iter().flat_map(|parent| list.iter().map(|child| child.within(parent))).collect()
                }
            };
            self.work += next.iter().map(Complex::weight).sum::<usize>();
            if self.work > MAX_WORK {
                self.gave_up = true;
                return None;
            }
            all = Some(next);
        }
        all
    }

    fn preserve(&mut self, complex: &Complex) {
        match complex.pseudo_element() {
            // What is shown before or behind an element is not its text.
            Some("slotted") => self.rules.white_off = true,
            Some(_) => {}
            None => match complex.region() {
                Some(region) => {
                    self.rules.preserve.insert(region);
                }
                None => self.rules.white_off |= complex.may_hold_marks(),
            },
        }
    }

    fn unseal(&mut self, complex: &Complex, declared: Declared) {
        let boxes = match complex.pseudo_element() {
            None => declared.boxes(),
            Some("before" | "after") => declared.generates,
            Some(_) => false,
        };
        if boxes {
            self.boxed(complex.boxed_seal());
        }
        if declared.arranges && complex.pseudo_element().is_none() {
            self.boxed(complex.arranged_block());
        }
    }

    fn boxed(&mut self, boxed: Boxed) {
        match boxed {
            Boxed::Nothing => {}
            Boxed::Everywhere => self.rules.seal_off = true,
            Boxed::In(regions) => {
                self.rules.unsealed.insert(regions);
            }
            Boxed::Class(class) => {
                self.rules.boxed.insert(class);
            }
        }
    }

    fn finish(self) -> Option<SheetRules> {
        let mut rules = self.rules;
        if self.gave_up {
            return None;
        }
        if rules.preserve.len() > MAX_REGIONS {
            (rules.white_off, rules.preserve) = (true, BTreeSet::new());
        }
        if rules.unsealed.len() > MAX_REGIONS || rules.boxed.len() > MAX_CLASSES {
            (rules.seal_off, rules.unsealed, rules.boxed) = (true, BTreeSet::new(), BTreeSet::new());
        }
        Some(rules)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a sheet says, in a few words.
    fn said(css: &str) -> String {
        let Some(rules) = read(css.as_bytes()) else { return "unread".to_owned() };
        let list = |name: &str, all: &BTreeSet<String>| {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            if all.is_empty() { String::new() } else { format!("{name}({}) ", all.join(" | ")) }
        };
        let flag = |name: &str, on: bool| if on { format!("{name} ") } else { String::new() };
        let text = [
            list("preserve", &rules.preserve),
            list("unsealed", &rules.unsealed),
            list("boxed", &rules.boxed),
            flag("white_off", rules.white_off),
            flag("seal_off", rules.seal_off),
            list("imports", &rules.imports),
        ];
        text.concat().trim_end().to_owned()
    }

    #[test]
    fn rules_that_matter() {
        for (css, expect) in [
            // White space.
            ("p{white-space:pre-line}", "preserve(p)"),
            (".post :is(p,li){white-space:break-spaces}", "white_off"),
            ("pre,code{white-space:pre}", "preserve(code | pre)"),
            (".nav a{white-space:nowrap}", ""),
            ("@media print{p{white-space:pre-wrap}}", "preserve(p)"),
            (":root{--w:pre} p{white-space:var(--w)}", "preserve(p)"),
            ("p{--x:{white-space:pre}}", ""),
            ("p{white-space:pre", "preserve(p)"),
            ("pre:where(.x){white-space:pre}", ""),
            ("p::before{white-space:pre}", ""),
            ("::slotted(p){white-space:pre}", "white_off"),
            ("h2~p{white-space:pre}", "preserve(p)"),
            ("@keyframes x{from{white-space:pre}to{white-space:normal}}", "white_off"),
            ("@-webkit-keyframes x{0%{padding:1px}}", ""),
            // Boxes.
            ("article span{display:block}", "unsealed(article)"),
            ("span{display:inline}", ""),
            (".x > span{margin:0 2px}", "boxed(x)"),
            ("* + *{margin-top:1em}", ""),
            ("*{position:relative}", "seal_off"),
            ("span::before{content:'x'}", "seal_off"),
            ("*::before{padding:1px}", ""),
            ("::selection{padding:1px}", ""),
            (".by{display:flex}", "boxed(by)"),
            ("body,main{display:grid}", ""),
            ("p:last-child{margin:1em 2em}", ""),
            // At-rules and nesting.
            ("@layer a{@supports (x:y){.c{white-space:pre}}}", "preserve(.c)"),
            ("@layer a,b;p{white-space:pre}", "preserve(p)"),
            (".a{color:red;p{white-space:pre}&.b{white-space:pre}}", "preserve(.a p | .a.b)"),
            (".a{@media print{white-space:pre}}", "preserve(.a)"),
            (".a{b:hover{display:flex}p:hover{white-space:pre}}", "preserve(.a p)"),
            ("@scope (.card){p{white-space:pre}}", "preserve(p)"),
            ("@font-face{font-family:x;src:url(y)}p{white-space:pre}", "preserve(p)"),
            ("@page{margin:1cm;@top-left{content:'x'}}", ""),
            ("@import url(a.css);@import 'b.css' print;", "imports(a.css | b.css)"),
            ("@import;p{white-space:pre}", "preserve(p)"),
            // How it is written.
            ("\u{feff}p{white-space:pre}", "preserve(p)"),
            ("@charset \"UTF-8\";p{white-space:pre}", "preserve(p)"),
            ("@charset \"iso-8859-1\";p{white-space:pre}", "preserve(p)"),
            ("@charset \"iso-8859-1\";.é{white-space:pre}", "unread"),
            ("p{white-space:pre}/* cut", "unread"),
            ("p{background:url(//x/*.png)} /* */ a::after{content:'/*'}", ""),
            ("p{content:\"\\\"/*\"}", ""),
            ("p{background:URL( 'a/*b' )}", ""),
            ("\0", "unread"),
            ("}p{white-space:pre}q{white-space:pre}", "preserve(q)"),
            ("<!-- p{white-space:pre} -->", "preserve(p)"),
            ("P{WHITE-SPACE:PRE!IMPORTANT}", "preserve(p)"),
            ("p{*white-space:pre;_zoom:1}", ""),
            (".5x{white-space:pre}", ""),
        ] {
            assert_eq!(said(css), expect, "{css}");
        }
    }

    #[test]
    fn what_sites_begin_with_shuts_nothing_out() {
        // As normalize.css does it.
        let normalize = "html{line-height:1.15;-webkit-text-size-adjust:100%}body{margin:0}main{display:block}
            h1{font-size:2em;margin:.67em 0}hr{box-sizing:content-box;height:0;overflow:visible}
            pre{font-family:monospace,monospace;font-size:1em}a{background-color:transparent}
            abbr[title]{border-bottom:none;text-decoration:underline dotted}b,strong{font-weight:bolder}
            code,kbd,samp{font-family:monospace,monospace;font-size:1em}small{font-size:80%}
            sub,sup{font-size:75%;line-height:0;position:relative;vertical-align:baseline}sub{bottom:-.25em}
            img{border-style:none}button,input{font:inherit;margin:0}
            legend{box-sizing:border-box;display:table;padding:0;white-space:normal}details{display:block}
            summary{display:list-item}template,[hidden]{display:none}";
        // As the reboot of Bootstrap does it.
        let reboot = ":root{--bs-body-line-height:1.5}*,*::before,*::after{box-sizing:border-box}
            @media (prefers-reduced-motion:no-preference){:root{scroll-behavior:smooth}}
            body{margin:0;font-family:var(--bs-body-font-family);font-size:var(--bs-body-font-size)}
            h1,h2,h3{margin-top:0;margin-bottom:.5rem;line-height:1.2}p{margin-top:0;margin-bottom:1rem}
            ol,ul{padding-left:2rem}dd{margin-bottom:.5rem;margin-left:0}blockquote{margin:0 0 1rem}
            pre{display:block;overflow:auto;font-size:.875em}pre code{font-size:inherit;word-break:normal}
            img,svg{vertical-align:middle}label{display:inline-block}button:focus:not(:focus-visible){outline:0}
            a>code{color:inherit}[role=button]{cursor:pointer}::-webkit-inner-spin-button{height:auto}
            ::file-selector-button{font:inherit}[hidden]{display:none!important}";
        // As Tailwind's preflight does it, in two generations.
        let preflight =
            "*,::before,::after{box-sizing:border-box;border-width:0;border-style:solid;border-color:#e5e7eb}
            ::before,::after{--tw-content:''}html,:host{line-height:1.5;tab-size:4}body{margin:0;line-height:inherit}
            abbr:where([title]){text-decoration:underline dotted}pre{font-size:1em}sub,sup{position:relative}
            blockquote,dl,dd,h1,p,pre{margin:0}ol,ul,menu{list-style:none;margin:0;padding:0}
            img,svg{display:block;vertical-align:middle}:-moz-focusring{outline:auto}
            [type='search']{-webkit-appearance:textfield}::-webkit-file-upload-button{font:inherit}";
        let layered = "@layer base{*,::after,::before,::backdrop,::file-selector-button{box-sizing:border-box;margin:0;
            padding:0;border:0 solid}html,:host{line-height:1.5;font-family:var(--font,ui-sans-serif)}
            :-moz-ui-invalid{box-shadow:none}::placeholder{opacity:1}[hidden]:where(:not([hidden='until-found']))
            {display:none!important}}";
        let meyer = "html,body,div,span,p,a,em,li{margin:0;padding:0;border:0;font-size:100%;font:inherit;
            vertical-align:baseline}blockquote:before,q:after{content:'';content:none}";
        for reset in [normalize, reboot, preflight, layered, meyer, "*{margin:0;padding:0}"] {
            assert_eq!(said(reset), "", "{reset}");
        }
        assert_eq!(
            said(".whitespace-pre-wrap{white-space:pre-wrap}.flex{display:flex}"),
            "preserve(.whitespace-pre-wrap) boxed(flex)"
        );
        let stack = ".space-x-4>:not([hidden])~:not([hidden]){margin-left:calc(1rem*var(--r))}";
        assert_eq!(said(stack), "boxed(space-x-4)");
    }

    #[test]
    fn a_sheet_has_bounds() {
        let long = format!("p{{white-space:pre}}{}", " ".repeat(MAX_SHEET));
        assert_eq!(read(long.as_bytes()), None);
        assert_eq!(read(&[0xFF, 0xFE, b'p', 0]), None);
        assert_eq!(read(&"a{".repeat(MAX_DEPTH + 1).into_bytes()), None);
        assert!(read(&"a{".repeat(MAX_DEPTH - 1).into_bytes()).is_some());
        assert!(read(&"((([[[{{{".repeat(50_000).into_bytes()).is_none_or(|rules| rules == SheetRules::default()));
        // Lists in lists.
        let wide = vec!["a"; 40].join(",");
        let nested = format!("{wide}{{{wide}{{{wide}{{white-space:pre}}}}}}");
        assert_eq!(read(nested.as_bytes()), None);
        let many: String = (0..=MAX_REGIONS).map(|i| format!("#x{i}{{white-space:pre}}")).collect();
        let rules = read(many.as_bytes()).unwrap();
        assert!(rules.white_off && rules.preserve.is_empty());
        let many: String = (0..=MAX_CLASSES).map(|i| format!(".x{i}{{display:flex}}")).collect();
        let rules = read(many.as_bytes()).unwrap();
        assert!(rules.seal_off && rules.boxed.is_empty());
        let imports: String = (0..=MAX_IMPORTS).map(|i| format!("@import 'a{i}';")).collect();
        assert_eq!(read(imports.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_sheet_is_too_odd(pieces in proptest::collection::vec(proptest::sample::select(vec![
            "p", " span", "*", "{", "}", "(", ")", "[", "]",
            ":", ";", ",", ".", "x", ":is(", ":not(", "&", "@media",
            "@import", "@keyframes", "white-space", "pre", "display", "flex",
            "/*", "*/", "\"", "'", "\\", "url(", "--x", "\n", "é",
            "!important", ">", "+", "1px", "<!--", "\0",
        ]), 0..60)) {
            let css = pieces.concat();
            let rules = read(css.as_bytes()).unwrap_or_default();
            // What is handed to the scan is in its words.
            for region in rules.preserve.iter().chain(&rules.unsealed) {
                prop_assert!(region.parse::<lol_html::Selector>().is_ok(), "{region}");
            }
        }

        #[test]
        fn bytes_are_no_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
