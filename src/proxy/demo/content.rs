//! The articles, as they stand in `assets/demo/articles`.

use std::sync::LazyLock;

/// Sections in the order of the menu.
pub(super) const SECTIONS: [&str; 6] = ["City", "Business", "Culture", "Science", "Sport", "Opinion"];

/// One article.
#[derive(Debug, Clone, Default)]
pub(super) struct Article {
    pub(super) title: String,
    pub(super) slug: String,
    pub(super) lang: String,
    pub(super) dir: String,
    pub(super) section: String,
    pub(super) author: String,
    pub(super) date: String,
    pub(super) summary: String,
    pub(super) image: String,
    pub(super) blocks: Vec<Block>,
}

/// One block of an article.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Paragraph(String),
    Heading(String),
    Quote(String),
}

impl Article {
    pub(super) fn path(&self) -> String {
        format!("/{}/{}/{}", self.section.to_ascii_lowercase(), self.date.replace('-', "/"), self.slug)
    }

    #[cfg(test)]
    pub(super) fn words(&self) -> usize {
        let text: Vec<&str> = self
            .blocks
            .iter()
            .map(|b| match b {
                Block::Paragraph(t) | Block::Heading(t) | Block::Quote(t) => t.as_str(),
            })
            .collect();
        let text = text.join(" ");
        // Japanese has no spaces: two and a half characters are about a word.
        if self.lang == "ja" { text.chars().count() * 2 / 5 } else { text.split_whitespace().count() }
    }
}

const SOURCES: [&str; 13] = [
    include_str!("../../../assets/demo/articles/01-the-ferry-that-would-not-retire.txt"),
    include_str!("../../../assets/demo/articles/02-fish-market-counts-crates-again.txt"),
    include_str!("../../../assets/demo/articles/03-an-observatory-learns-the-dark.txt"),
    include_str!("../../../assets/demo/articles/04-the-choir-in-the-dry-dock.txt"),
    include_str!("../../../assets/demo/articles/05-six-oars-and-a-stubborn-tide.txt"),
    include_str!("../../../assets/demo/articles/06-keep-the-library-open-on-sundays.txt"),
    include_str!("../../../assets/demo/articles/07-what-the-storm-taught-us.txt"),
    include_str!("../../../assets/demo/articles/08-die-letzten-aepfel-von-orchard-rise.txt"),
    include_str!("../../../assets/demo/articles/09-die-linie-zwei-faehrt-wieder.txt"),
    include_str!("../../../assets/demo/articles/10-le-phare-et-ses-gardiens.txt"),
    include_str!("../../../assets/demo/articles/11-soixante-quatre-cases-au-marche.txt"),
    include_str!("../../../assets/demo/articles/12-the-bridge-that-speaks.txt"),
    include_str!("../../../assets/demo/articles/13-the-last-wooden-boatyard.txt"),
];

/// All articles, newest first.
pub(super) fn articles() -> &'static [Article] {
    static ARTICLES: LazyLock<Vec<Article>> = LazyLock::new(|| {
        let mut all: Vec<Article> = SOURCES.iter().map(|s| parse(s)).collect();
        all.sort_by(|a, b| b.date.cmp(&a.date));
        all
    });
    &ARTICLES
}

pub(super) fn authors() -> Vec<&'static str> {
    let mut names: Vec<&str> = articles().iter().map(|a| a.author.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn parse(source: &str) -> Article {
    let (head, text) = source.split_once("\n\n").unwrap_or((source, ""));
    let mut article = Article::default();
    for (key, value) in head.lines().filter_map(|l| l.split_once(": ")) {
        let field = match key {
            "title" => &mut article.title,
            "slug" => &mut article.slug,
            "lang" => &mut article.lang,
            "dir" => &mut article.dir,
            "section" => &mut article.section,
            "author" => &mut article.author,
            "date" => &mut article.date,
            "summary" => &mut article.summary,
            "image" => &mut article.image,
            _ => continue,
        };
        value.trim().clone_into(field);
    }
    article.blocks = text
        .split("\n\n")
        .map(str::trim)
        .filter(|b| !b.is_empty())
        .map(|block| match (block.strip_prefix("## "), block.strip_prefix("> ")) {
            (Some(heading), _) => Block::Heading(heading.to_owned()),
            (_, Some(quote)) => Block::Quote(quote.to_owned()),
            _ => Block::Paragraph(block.to_owned()),
        })
        .collect();
    article
}

/// Lower-case ASCII words and hyphens.
pub(super) fn slug(text: &str) -> String {
    let words: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    words.split('-').filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-")
}
