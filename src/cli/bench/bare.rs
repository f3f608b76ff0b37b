//! The bare tools that deckle is held against.

use std::hint::black_box;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use lol_html::{HtmlRewriter, Settings, element, text};

/// The page through lol_html with two handlers that change nothing; what comes out goes to `take`.
pub(super) fn plain_pass(pieces: &[Bytes], take: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let settings = Settings::new()
        .with_strict(false)
        .append_element_content_handler(element!("a[href]", |element| {
            black_box(element.get_attribute("href"));
            Ok(())
        }))
        .append_element_content_handler(text!("p", |text| {
            black_box(text.as_str().len());
            Ok(())
        }));
    let mut rewriter = HtmlRewriter::new(settings, take);
    for piece in pieces {
        rewriter.write(piece)?;
    }
    Ok(rewriter.end()?)
}

/// All of it as one gzip member (RFC 1952).
pub(super) fn gzip(bytes: &[u8], level: u32) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::new(level));
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
