//! Pages as a browser's parser sees them (WHATWG HTML §13.2, by html5ever).

use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// The tree as lines, without what deckle inserts, and with white space as a reader sees it.
pub(crate) fn tree(page: &[u8]) -> Vec<String> {
    let dom = html5ever::parse_document(RcDom::default(), html5ever::ParseOpts::default())
        .from_utf8()
        .read_from(&mut &*page)
        .unwrap();
    let mut lines = Vec::new();
    // `dom` lives on: a node that is dropped empties all below it.
    let mut stack = vec![(0usize, dom.document.clone())];
    while let Some((depth, node)) = stack.pop() {
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                let mut attrs: Vec<String> =
                    attrs.borrow().iter().map(|a| format!("{}={:?}", a.name.local, &*a.value)).collect();
                attrs.sort();
                lines.push(format!("{depth} <{} {}>", name.local, attrs.join(" ")));
            }
            NodeData::Comment { contents } => lines.push(format!("{depth} <!--{contents}-->")),
            NodeData::Doctype { name, public_id, system_id } => {
                lines.push(format!("{depth} <!{name} {public_id} {system_id}>"));
            }
            NodeData::ProcessingInstruction { contents, .. } => lines.push(format!("{depth} <?{contents}>")),
            NodeData::Text { contents } => text(&mut lines, depth, &contents.borrow()),
            NodeData::Document => {}
        }
        if let NodeData::Element { template_contents, .. } = &node.data
            && let Some(contents) = &*template_contents.borrow()
        {
            stack.push((depth + 1, contents.clone()));
        }
        stack.extend(node.children.borrow().iter().rev().filter(|c| !is_ours(c)).map(|c| (depth + 1, c.clone())));
    }
    // White space at the ends of a text is not seen, and goes where a block is sealed.
    for line in &mut lines {
        if let Some((depth, words)) = line.split_once(TEXT) {
            *line = format!("{depth}{TEXT}{}", words.trim());
        }
    }
    lines.retain(|line| !line.ends_with(TEXT));
    lines
}

/// Between the depth and the text of a text node; in no page.
const TEXT: &str = "\u{1}";

/// Two text nodes with nothing but an insertion between them are one.
fn text(lines: &mut Vec<String>, depth: usize, contents: &str) {
    let start = format!("{depth}{TEXT}");
    let mut line = lines.pop_if(|line| line.starts_with(&start)).unwrap_or(start);
    for c in contents.chars() {
        let c = if c.is_ascii_whitespace() { ' ' } else { c };
        if c != ' ' || !line.ends_with(' ') {
            line.push(c);
        }
    }
    lines.push(line);
}

fn is_ours(node: &Handle) -> bool {
    match &node.data {
        NodeData::Element { name, attrs, .. } => {
            let attrs = attrs.borrow();
            let has =
                |key: &str, value: &str| attrs.iter().any(|a| &*a.name.local == key && a.value.starts_with(value));
            let copyright = &*name.local == "meta" && has("content", "\u{A9} 2026 The Post");
            let ours = r#""copyrightHolder":{"@type":"Organization","name":"The Post"}"#;
            let json = has("type", "application/ld+json")
                && node
                    .children
                    .borrow()
                    .iter()
                    .any(|c| matches!(&c.data, NodeData::Text { contents } if contents.borrow().contains(ours)));
            let dublin = has("href", "http://purl.org/dc/terms/") || has("content", "The Post");
            copyright
                || json
                || dublin
                || has("data-deckle", "")
                || (&*name.local == "span" && attrs.len() == 1 && has("inert", ""))
        }
        NodeData::Comment { contents } => contents.starts_with(" (c) 2026 The Post"),
        _ => false,
    }
}
