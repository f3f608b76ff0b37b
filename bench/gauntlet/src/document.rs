//! What a client finds in a page: links, files, and the ways through a challenge.

use std::time::Duration;

use crate::challenge::{Challenge, Work};
use crate::headers::Kind;
use crate::site::ORIGIN;

/// A page, as far as clients look at it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) anchors: Vec<Anchor>,
    /// The link to the next article.
    pub(crate) next: Option<String>,
    pub(crate) files: Vec<(Kind, String)>,
    refresh: Option<(Duration, String)>,
    work: Option<Work>,
}

/// A link to a path of the site.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) path: String,
    pub(crate) hidden: bool,
}

impl Document {
    pub(crate) fn read(html: &str) -> Self {
        let mut document = Self::default();
        let mut rest = html;
        while let Some((_, tail)) = rest.split_once('<') {
            if let Some(comment) = tail.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let (tag, after) = split_tag(tail);
            let (name, attributes) = tag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((tag, ""));
            rest = match name {
                "script" => after.split_once("</script").map_or("", |(_, after)| after),
                "style" => after.split_once("</style").map_or("", |(_, after)| after),
                _ => after,
            };
            if matches!(name, "a" | "link" | "script" | "img" | "meta") {
                document.take(name, &Attributes::read(attributes));
            }
        }
        document
    }

    /// The ways through, if it is a challenge.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        let challenge = Challenge { wait: self.refresh.clone(), work: self.work.clone() };
        (challenge.wait.is_some() || challenge.work.is_some()).then_some(challenge)
    }

    fn take(&mut self, name: &str, attributes: &Attributes<'_>) {
        let path = |key| attributes.text(key).and_then(|url| on_site(&url));
        let rel = attributes.text("rel").unwrap_or_default();
        match name {
            "a" => {
                let Some(path) = path("href") else { return };
                if rel == "next" {
                    self.next = Some(path.clone());
                }
                self.anchors.push(Anchor { path, hidden: attributes.has("hidden") });
            }
            "link" if rel == "stylesheet" => self.files.extend(path("href").map(|path| (Kind::Style, path))),
            "link" if rel == "icon" => self.files.extend(path("href").map(|path| (Kind::Image, path))),
            "img" => self.files.extend(path("src").map(|path| (Kind::Image, path))),
            "script" => {
                self.files.extend(path("src").map(|path| (Kind::Script, path)));
                self.work = self.work.take().or_else(|| attributes.work());
            }
            "meta" if attributes.text("http-equiv").is_some_and(|v| v.eq_ignore_ascii_case("refresh")) => {
                self.refresh = attributes.text("content").and_then(|content| refresh(&content));
            }
            _ => {}
        }
    }
}

struct Attributes<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Attributes<'t> {
    fn read(text: &'t str) -> Self {
        let gap = |c: char| c.is_ascii_whitespace() || c == '/';
        let mut found = Vec::new();
        let mut rest = text.trim_start_matches(gap);
        while !rest.is_empty() {
            let end = rest.find(|c: char| gap(c) || c == '=').unwrap_or(rest.len());
            let (name, tail) = rest.split_at(end);
            let (value, after) = tail.strip_prefix('=').map_or(("", tail), value);
            found.push((name, value));
            rest = after.trim_start_matches(gap);
        }
        Self(found)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| *key == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| unescape(value))
    }

    fn work(&self) -> Option<Work> {
        let url = on_site(&self.text("data-url")?)?;
        Some(Work { token: self.text("data-token")?, bits: self.text("data-bits")?.parse().ok()?, url })
    }
}

/// A tag and what comes after it; `>` in quotes does not end it.
fn split_tag(tail: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, byte) in tail.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return (&tail[..at], &tail[at + 1..]),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    (tail, "")
}

fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote).unwrap_or((quoted, ""));
        }
    }
    text.split_at(text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len()))
}

/// The path of an address of this site.
pub(crate) fn on_site(url: &str) -> Option<String> {
    let path = url.strip_prefix(ORIGIN).unwrap_or(url).split('#').next()?;
    (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
}

/// `5; url=/path`.
fn refresh(content: &str) -> Option<(Duration, String)> {
    let (seconds, url) = content.split_once(';')?;
    let url = url.trim_start().strip_prefix("url=")?;
    Some((Duration::from_secs(seconds.trim().parse().ok()?), on_site(url)?))
}

fn unescape(text: &str) -> String {
    const ENTITIES: [(&str, &str); 7] = [
        ("&#x2f;", "/"),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    if !text.contains('&') {
        return text.to_owned();
    }
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_files_and_ways_are_found() {
        let page = Document::read(concat!(
            "<!doctype html><!-- <a href=/no> --><meta http-equiv=\"refresh\" content=\"5; url=&#x2f;c?t=1&amp;u=2\">",
            "<link rel=stylesheet href='/a.css'><link rel=\"canonical\" href=\"/x\"><script src=\"/a.js\"></script>",
            "<script data-token=\"abc\" data-bits=\"16\" data-url=\"/w?t=1\">if (a<b) '<a href=\"/no\">'</script>",
            "<a rel=\"next\" title=\"a > b\" href=\"https://news.example/2#top\">n</a><a hidden href=\"/trap\"></a>",
            "<a href=\"https://other.example/\">o</a><img src=\"/i.webp\"/>",
        ));
        let anchors: Vec<_> = page.anchors.iter().map(|a| (a.path.as_str(), a.hidden)).collect();
        assert_eq!(anchors, [("/2", false), ("/trap", true)]);
        assert_eq!(page.next.as_deref(), Some("/2"));
        let files: Vec<_> = page.files.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(files, ["/a.css", "/a.js", "/i.webp"]);
        let challenge = page.challenge().unwrap();
        assert_eq!(challenge.wait, Some((Duration::from_secs(5), "/c?t=1&u=2".to_owned())));
        assert_eq!(challenge.work.unwrap().bits, 16);
    }
}
