//! The text of a page as a tool that keeps white space takes it: what `trace` reads in an HTML copy.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::TextType;
use lol_html::{Settings, doc_text, element, end_tag};

use super::decode::unescape;

/// Elements that begin a new paragraph.
const BREAKS: &str = "p, li, blockquote, dd, dt, div, section, article, main, header, footer, aside, nav, h1, h2, h3, h4, h5, \
    h6, table, tr, td, ul, ol, figure, figcaption, pre, br, hr, body, title";

/// Text of an HTML copy, blocks apart by blank lines, line feeds inside kept, `<br>` a line separator (U+2028). What cannot
/// be parsed ends the text.
pub fn plain_text(html: &str) -> String {
    let text = Rc::new(RefCell::new(String::new()));
    let (breaks, chunks) = (Rc::clone(&text), Rc::clone(&text));
    let settings = Settings::new()
        .with_strict(false)
        .with_memory_settings(lol_html::MemorySettings::new().with_max_allowed_memory_usage(64 << 20))
        .append_element_content_handler(element!(BREAKS, move |element| {
            let tag = element.tag_name();
            // Marked copies have no bit at a `<br>`: its line feed must not pass for one.
            breaks.borrow_mut().push_str(if tag == "br" { " \u{2028} " } else { "\n\n" });
            let breaks = Rc::clone(&breaks);
            if let Some(handlers) = element.end_tag_handlers() {
                handlers.push(end_tag!(move |_| {
                    breaks.borrow_mut().push_str("\n\n");
                    Ok(())
                }));
            }
            Ok(())
        }))
        .append_document_content_handler(doc_text!(move |chunk| {
            if matches!(chunk.text_type(), TextType::Data | TextType::PlainText | TextType::RCData) {
                chunks.borrow_mut().push_str(chunk.as_str());
            }
            Ok(())
        }));
    let mut rewriter = lol_html::HtmlRewriter::new(settings, |_: &[u8]| {});
    // Whatever cannot be read is not part of the text; what came before it is.
    let _ = rewriter.write(html.as_bytes()).and_then(|()| rewriter.end());
    let text = text.borrow();
    unescape(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_apart_and_scripts_are_gone() {
        let text = plain_text(
            "<title>T</title><script>var x = '<p>';</script><p>one\ntwo <b>th</b>ree &amp; &#xFE06;</p><p>four<br>five</p>",
        );
        let paragraphs: Vec<&str> = text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).collect();
        assert_eq!(paragraphs, ["T", "one\ntwo three & \u{FE06}", "four \u{2028} five"]);
    }
}
