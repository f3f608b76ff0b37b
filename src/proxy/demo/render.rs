//! Pages from templates.

use std::sync::LazyLock;

use minijinja::{Environment, Value, context};

use super::content::{self, Article, Block};
use super::filler::{self, Item};

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    let sources = [
        ("base.html", include_str!("../../../assets/demo/templates/base.html")),
        ("front.html", include_str!("../../../assets/demo/templates/front.html")),
        ("article.html", include_str!("../../../assets/demo/templates/article.html")),
        ("list.html", include_str!("../../../assets/demo/templates/list.html")),
        ("filler.html", include_str!("../../../assets/demo/templates/filler.html")),
    ];
    for (name, source) in sources {
        // Constants; the unit tests render every page.
        let _ = pages.add_template(name, source);
    }
    pages
});

fn render(name: &str, values: Value) -> String {
    PAGES.get_template(name).and_then(|t| t.render(values)).unwrap_or_default()
}

fn card(article: &Article) -> Value {
    context! {
        title => article.title.as_str(), path => article.path(), lang => article.lang.as_str(), dir => article.dir.as_str(), section => article.section.as_str(),
        author => article.author.as_str(), author_path => format!("/author/{}", content::slug(&article.author)), date => article.date.as_str(),
        summary => article.summary.as_str(), image => article.image.as_str(),
    }
}

fn cards<'a>(articles: impl IntoIterator<Item = &'a Article>) -> Vec<Value> {
    articles.into_iter().map(card).collect()
}

pub(super) fn front() -> String {
    let all = content::articles();
    render(
        "front.html",
        context! {
            lead => all.first().map(card), second => cards(all.iter().skip(1).take(2)), rest => cards(all.iter().skip(3)),
            older => items(filler::page(1).iter().take(6)),
        },
    )
}

pub(super) fn article(article: &Article) -> String {
    let blocks: Vec<Value> = article
        .blocks
        .iter()
        .map(|block| match block {
            Block::Paragraph(text) => context! { kind => "p", text },
            Block::Heading(text) => context! { kind => "h", text },
            Block::Quote(text) => context! { kind => "q", text },
        })
        .collect();
    let others: Vec<Value> = cards(content::articles().iter().filter(|a| a.slug != article.slug));
    render("article.html", context! { article => card(article), blocks, others })
}

pub(super) fn section(name: &str) -> String {
    let found = content::articles().iter().filter(|a| a.section == name);
    render("list.html", context! { heading => name, cards => cards(found) })
}

pub(super) fn author(name: &str) -> String {
    let found = content::articles().iter().filter(|a| a.author == name);
    render("list.html", context! { heading => name, portrait => content::slug(name), cards => cards(found) })
}

pub(super) fn search(words: &str) -> String {
    let lower = words.to_lowercase();
    let found = content::articles().iter().filter(|a| {
        !lower.is_empty() && (a.title.to_lowercase().contains(&lower) || a.summary.to_lowercase().contains(&lower))
    });
    render("list.html", context! { heading => "Search", words, search => true, cards => cards(found) })
}

pub(super) fn not_found() -> String {
    render("list.html", context! { heading => "Page not found", search => true, cards => cards([]) })
}

fn items<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Value> {
    items
        .into_iter()
        .map(|i| context! { title => i.title.as_str(), path => i.path(), date => i.date.as_str() })
        .collect()
}

pub(super) fn archive(page: usize) -> String {
    let pages: Vec<usize> = (1..=filler::pages()).collect();
    render(
        "list.html",
        context! {
            heading => format!("Archive, page {page}"), items => items(filler::page(page)), pages, page,
        },
    )
}

pub(super) fn filler(item: &Item) -> String {
    let all = filler::archive();
    let next = all.get((item.number + 1) % all.len().max(1));
    render(
        "filler.html",
        context! {
            title => item.title.as_str(), date => item.date.as_str(), paragraphs => &item.paragraphs, next => next.map(|n| items([n])),
            others => cards(content::articles().iter().take(6)),
        },
    )
}

pub(super) fn feed() -> String {
    let items: String = content::articles()
        .iter()
        .map(|a| {
            let (title, summary) = (escape(&a.title), escape(&a.summary));
            format!("<item><title>{title}</title><link>{}</link><description>{summary}</description></item>", a.path())
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><rss version=\"2.0\"><channel><title>The Harbour Ledger</title><link>/</link><description>News from Saltmere</description>{items}</channel></rss>\n"
    )
}

pub(super) fn api() -> String {
    let all: Vec<serde_json::Value> = content::articles()
        .iter()
        .map(|a| serde_json::json!({ "title": a.title, "path": a.path(), "lang": a.lang, "date": a.date, "summary": a.summary }))
        .collect();
    serde_json::json!({ "articles": all }).to_string()
}

pub(super) fn sitemap() -> String {
    let paths = content::articles().iter().map(Article::path).chain(filler::archive().iter().map(Item::path));
    let urls: String = paths.map(|p| format!("<url><loc>{p}</loc></url>")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
