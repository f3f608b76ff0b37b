//! `deckle check --learn`: reads the style sheets of a page, for a proxy to know.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use bytes::Bytes;
use http::{StatusCode, Uri, header};

use super::fetch::Fetcher;
use super::output::{self, Exit};
use crate::config::Config;
use crate::page::encoding::decoded;
use crate::page::{ANY_HOST, join};
use crate::proxy::{name_of, update_styles};

/// Sheets of one page, with those that they import.
const MAX_SHEETS: usize = 64;

/// A style sheet that came, or why it did not.
struct Sheet {
    address: Uri,
    text: Result<Bytes, String>,
}

pub(super) fn run(page: &str, config: &Config) -> anyhow::Result<Exit> {
    let address: Uri = page.parse().with_context(|| format!("`{page}` is no address"))?;
    let host = address.authority().with_context(|| format!("`{page}` names no host"))?.to_string();
    let listed = config.watermark.stylesheets.iter().filter_map(|address| name_of(address)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sheets = runtime.block_on(fetch(&address, &listed))?;
    let (mut text, mut known) = (String::new(), 0);
    let file = update_styles(Path::new(&config.audit.dir), |styles| {
        for sheet in &sheets {
            let own = sheet.address.authority().is_some_and(|authority| authority.as_str() == host);
            let read = sheet.text.clone().and_then(|css| {
                let name = name_of(&sheet.address.to_string()).ok_or("it has no host")?;
                let of = if own { host.as_str() } else { ANY_HOST };
                styles.learn(of, &name, &css).map(drop).ok_or_else(|| "cut off, too long, or not UTF-8".to_owned())
            });
            known += usize::from(read.is_ok());
            let said = read.map_or_else(|error| format!("not read: {error}"), |()| "read".to_owned());
            let _ = writeln!(text, "{}: {said}", sheet.address);
        }
    });
    let file = file.with_context(|| format!("`{}` cannot be written", config.audit.dir))?;
    let _ = writeln!(text, "{known} of {} style sheets are known; they are kept in {}.", sheets.len(), file.display());
    output::print(&text)?;
    Ok(if known == sheets.len() { Exit::Done } else { Exit::NothingFound })
}

/// Fetches the page and its sheets, and what those import.
async fn fetch(page: &Uri, listed: &BTreeSet<String>) -> anyhow::Result<Vec<Sheet>> {
    let fetcher = Fetcher::new()?;
    let document = fetcher.get(page).await?;
    let mut open = named(&document.address, &decoded(&document.headers, &document.body));
    let mut sheets: Vec<Sheet> = Vec::new();
    while let Some(address) = open.pop() {
        if sheets.len() >= MAX_SHEETS || sheets.iter().any(|sheet| sheet.address == address) {
            continue;
        }
        let own = address.authority() == document.address.authority();
        let listed = name_of(&address.to_string()).is_some_and(|name| listed.contains(&name));
        let text = if own || listed {
            sheet(&fetcher, &address).await
        } else {
            Err("on another host, and not in `watermark.stylesheets`".to_owned())
        };
        let imports = text.iter().flat_map(|css| crate::page::sheet_imports(css));
        open.extend(imports.filter_map(|to| join(&address, &to)));
        sheets.push(Sheet { address, text });
    }
    Ok(sheets)
}

async fn sheet(fetcher: &Fetcher, address: &Uri) -> Result<Bytes, String> {
    let came = fetcher.get(address).await.map_err(|error| format!("{error:#}"))?;
    let media = came.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if came.address != *address {
        // Pages name the first address, whose answer may be another one tomorrow.
        return Err(format!("it is at {} now", came.address));
    }
    if came.status != StatusCode::OK || !media.to_ascii_lowercase().starts_with("text/css") {
        return Err(format!("{}, `{media}`", came.status));
    }
    Ok(decoded(&came.headers, &came.body))
}

/// The style sheets that a page names, the last one first.
fn named(address: &Uri, page: &[u8]) -> Vec<Uri> {
    let found = Mutex::new((address.clone(), false, Vec::new()));
    let link = lol_html::element!("link[href], base[href]", |element| {
        let attribute = |name| element.get_attribute(name).unwrap_or_default();
        let Ok(mut found) = found.lock() else { return Ok(()) };
        let (base, based, sheets) = &mut *found;
        let Some(to) = join(base, &attribute("href").replace("&amp;", "&")) else { return Ok(()) };
        let rel = attribute("rel").to_ascii_lowercase();
        let is = |token| rel.split_ascii_whitespace().any(|t| t == token);
        if element.tag_name() == "base" {
            if !std::mem::replace(based, true) {
                *base = to;
            }
        } else if is("stylesheet") || (is("preload") && attribute("as").eq_ignore_ascii_case("style")) {
            sheets.push(to);
        }
        Ok(())
    });
    let settings = lol_html::Settings::new().append_element_content_handler(link);
    let mut reader = lol_html::HtmlRewriter::new(settings, |_: &[u8]| {});
    // What cannot be read to its end has told what it could.
    let _ = reader.write(page).and_then(|()| reader.end());
    let (_, _, mut sheets) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sheets.reverse();
    sheets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_sheets() {
        let page = b"<head><link rel=stylesheet href=a.css><base href='/static/'><base href='/no/'>\
            <link rel='preload' as=style href='b.css?x&amp;y'><link rel=icon href=c.png>\
            <link rel=StyleSheet href='//cdn.example/d.css'>";
        let base: Uri = "https://news.example/a/b".parse().unwrap();
        let names: Vec<String> = named(&base, page).iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["https://cdn.example/d.css", "https://news.example/static/b.css?x&y", "https://news.example/a/a.css"]
        );
    }
}
