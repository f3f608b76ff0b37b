//! Is a body without a type a page? By the same patterns as browsers (WHATWG MIME Sniffing §7.1), so that what they show as
//! a page is one here.

/// White space and a pattern need no more.
const ENOUGH: usize = 512;

/// Behind each stands a blank or `>`.
const PATTERNS: [&[u8]; 17] = [
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<script",
    b"<iframe",
    b"<h1",
    b"<div",
    b"<font",
    b"<table",
    b"<a",
    b"<style",
    b"<title",
    b"<b",
    b"<body",
    b"<br",
    b"<p",
    b"<!--",
];

/// `None`: more bytes are needed.
pub(super) fn is_page(start: &[u8]) -> Option<bool> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    if BOM.starts_with(start) {
        return None;
    }
    let text = start.strip_prefix(BOM).unwrap_or(start);
    let blanks = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let text = text.get(blanks..).unwrap_or_default();
    let begins = |pattern: &[u8]| text.get(..pattern.len()).is_some_and(|t| t.eq_ignore_ascii_case(pattern));
    let ends = |pattern: &[u8]| text.get(pattern.len()).is_some_and(|b| matches!(b, b' ' | b'>'));
    if PATTERNS.iter().any(|pattern| begins(pattern) && ends(pattern)) {
        return Some(true);
    }
    let unfinished = |pattern: &&[u8]| {
        text.len() <= pattern.len() && pattern.get(..text.len()).is_some_and(|p| p.eq_ignore_ascii_case(text))
    };
    (start.len() >= ENOUGH || !PATTERNS.iter().any(unfinished)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_take_for_a_page_is_one() {
        for (text, expect) in [
            ("<!DOCTYPE html>", Some(true)),
            ("\u{FEFF} \n\t<html lang=en>", Some(true)),
            ("<P >", Some(true)),
            ("<!-- a", Some(true)),
            ("<!--a", Some(false)),
            ("<br>", Some(true)),
            ("<bro>", Some(false)),
            ("<!doctype svg>", Some(false)),
            ("<?xml version=1>", Some(false)),
            ("{\"a\":\"<p>\"}", Some(false)),
            ("\u{89}PNG", Some(false)),
            ("<tit", None),
            ("<!doc", None),
            ("<html", None),
            ("", None),
            ("  ", None),
        ] {
            assert_eq!(is_page(text.as_bytes()), expect, "{text:?}");
        }
        assert_eq!(is_page(&[b' '; 512]), Some(false));
        let page = b"\xEF\xBB\xBF \n<title>a</title>";
        let first = (0..page.len()).find_map(|n| is_page(&page[..n]).map(|found| (n, found)));
        assert_eq!(first, Some((12, true)), "as soon as it can be told, and never otherwise before");
    }
}
