//! The page of a decoy: filler made of a word chain, and links to more of it.
//!
//! 1. The words come from `corpus.txt`, which was written for this and says nothing; never from the site's articles.
//! 2. The path alone decides what stands in a page, under the key of the site: nothing is stored, and who asks twice
//!    gets the same.
//! 3. Every page says that it is generated filler, where a person reads it first.
//! 4. Whatever is in a page is letters, commas and full stops, so that nothing needs to be escaped.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use bytes::Bytes;
use fastrand::Rng;

use crate::secret::{Secrets, hmac_sha256};

const CORPUS: &str = include_str!("corpus.txt");
/// What the keyed hash is for, so that an entry tells nothing about the page behind it.
const PAGE: &[u8] = b"deckle/decoy/v1\0";
const ENTRY: &[u8] = b"deckle/decoy-entry/v1\0";
/// Bytes of a page.
const LIMIT: usize = 4_096;
const PARAGRAPHS: RangeInclusive<usize> = 6..=10;
/// Words after which a paragraph ends with its sentence. With [`SENTENCE`] it has 40 to 89.
const ENOUGH: RangeInclusive<usize> = 40..=60;
/// Words after which a sentence ends, even where the chain runs in a circle.
const SENTENCE: usize = 30;
/// Words of a title and of the text of a link.
const PHRASE: RangeInclusive<usize> = 3..=6;
const LINKS: usize = 5;
const DISCLOSURE: &str = "<p>This page is generated filler and says nothing about anything.</p>\n";

static CHAIN: LazyLock<Chain> = LazyLock::new(|| Chain::new(CORPUS));

/// Makes the pages, and names them.
pub(super) struct Filler {
    key: [u8; 32],
}

impl Filler {
    pub(super) fn new(secrets: &Secrets) -> Self {
        Self { key: secrets.active().derive("deckle-decoy-1", "seed") }
    }

    /// The page of a path; `mount` is where its links lead.
    pub(super) fn page(&self, path: &str, mount: &str) -> Bytes {
        let mut random = Rng::with_seed(self.number(PAGE, path));
        let mut page = head(&CHAIN.phrase(&mut random));
        let foot = foot(mount, &mut random);
        for _ in 0..random.usize(PARAGRAPHS) {
            let paragraph = CHAIN.paragraph(&mut random);
            // What is too long ends between two paragraphs: markup stays whole, and the links stay in.
            if page.len() + paragraph.len() + foot.len() > LIMIT {
                break;
            }
            page.push_str(&paragraph);
        }
        page.push_str(&foot);
        Bytes::from(page)
    }

    /// Where a request for a page of the site is sent.
    pub(super) fn entry(&self, path: &str, mount: &str) -> String {
        decoy_path(mount, (self.number(ENTRY, path) >> 32) as u32)
    }

    /// The start of HMAC-SHA-256 over a path.
    fn number(&self, purpose: &[u8], path: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = hmac_sha256(&self.key, &[purpose, path.as_bytes()]);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filler")
    }
}

/// Is this the path of a decoy? Any eight digits are one: what nobody has linked to makes a page, too.
pub(super) fn is_decoy_path(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount)
        .and_then(|own| own.strip_prefix("/m/")?.strip_suffix('/'))
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn decoy_path(mount: &str, number: u32) -> String {
    format!("{mount}/m/{number:08x}/")
}

/// A page down to the sentence that says what it is.
fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex, nofollow\">\n\
         <title>{title}</title>\n\
         </head>\n\
         <body>\n\
         {DISCLOSURE}"
    )
}

/// The links to further pages, and the end.
fn foot(mount: &str, random: &mut Rng) -> String {
    let mut foot = "<ul>\n".to_owned();
    for _ in 0..LINKS {
        let path = decoy_path(mount, random.u32(..));
        let text = CHAIN.phrase(random);
        foot.push_str(&format!("<li><a rel=\"nofollow\" href=\"{path}\">{text}</a></li>\n"));
    }
    foot.push_str("</ul>\n</body>\n</html>\n");
    foot
}

/// Words without what stands after the last one.
fn joined(words: &[&str]) -> String {
    let mut text = words.join(" ");
    text.truncate(text.trim_end_matches([',', '.']).len());
    text
}

type Pair = (&'static str, &'static str);

/// Which words stand after which two. What follows is chosen by its place in the corpus, never by the order of the
/// map, which is another one in every process.
struct Chain {
    /// The first two words of every sentence.
    starts: Vec<Pair>,
    /// A word stands here as often as it does in the corpus.
    next: HashMap<Pair, Vec<&'static str>>,
}

impl Chain {
    fn new(corpus: &'static str) -> Self {
        let words: Vec<&str> = corpus.split_ascii_whitespace().collect();
        let mut chain = Self { starts: Vec::new(), next: HashMap::new() };
        for sentence in words.split_inclusive(|word| word.ends_with('.')) {
            if let [first, second, ..] = *sentence {
                chain.starts.push((first, second));
            }
            for run in sentence.windows(3) {
                if let [first, second, third] = *run {
                    chain.next.entry((first, second)).or_default().push(third);
                }
            }
        }
        chain
    }

    fn sentence(&self, random: &mut Rng) -> Vec<&'static str> {
        let mut last = random.choice(&self.starts).copied().unwrap_or_default();
        let mut words = vec![last.0, last.1];
        while words.len() < SENTENCE {
            // After the last word of a sentence stands nothing.
            let Some(&word) = self.next.get(&last).and_then(|words| random.choice(words)) else { break };
            words.push(word);
            last = (last.1, word);
        }
        words
    }

    fn paragraph(&self, random: &mut Rng) -> String {
        let (mut sentences, mut words, enough) = (Vec::new(), 0, random.usize(ENOUGH));
        while words < enough {
            let sentence = self.sentence(random);
            words += sentence.len();
            sentences.push(joined(&sentence));
        }
        format!("<p>{}.</p>\n", sentences.join(". "))
    }

    /// The start of a sentence.
    fn phrase(&self, random: &mut Rng) -> String {
        let mut words = self.sentence(random);
        words.truncate(random.usize(PHRASE));
        joined(&words)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::secret::Secret;

    const MOUNT: &str = "/.deckle";

    fn filler(last: u8) -> Filler {
        let bytes: Vec<u8> = (0..31).chain([last]).collect();
        Filler::new(&Secret::new(1, &bytes).unwrap().into())
    }

    fn page(path: &str) -> String {
        String::from_utf8(filler(31).page(path, MOUNT).to_vec()).unwrap()
    }

    fn pages() -> impl Iterator<Item = String> {
        (0..200u32).map(|number| page(&decoy_path(MOUNT, number.wrapping_mul(0x9e37_79b9))))
    }

    /// What stands between `from` and the next `to`, each time.
    fn between<'p>(page: &'p str, from: &'p str, to: &'p str) -> impl Iterator<Item = &'p str> {
        page.split(from).skip(1).map(move |rest| rest.split_once(to).unwrap().0)
    }

    fn bare(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace().map(|word| word.trim_end_matches([',', '.']))
    }

    /// Whole tags, each closed in its turn.
    fn is_well_formed(page: &str) -> bool {
        let mut open = Vec::new();
        for tag in between(page, "<", ">") {
            let name = tag.split(' ').next().unwrap();
            match name.strip_prefix('/') {
                Some(name) if open.pop() != Some(name) => return false,
                None if !matches!(name, "!doctype" | "meta") => open.push(name),
                _ => {}
            }
        }
        open.is_empty() && page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n")
    }

    #[test]
    fn keys_and_digits_match_the_independent_reference() {
        // Computed with Python's hmac module.
        let filler = filler(31);
        assert_eq!(filler.key[..8], 0xb6e8_b0f7_f28f_b047_u64.to_be_bytes());
        assert_eq!(filler.number(PAGE, "/.deckle/m/0123abcd/"), 0x92e9_bc38_4484_c977);
        assert_eq!(filler.entry("/news/a", MOUNT), "/.deckle/m/20e488b5/");
        assert_eq!(format!("{filler:?}"), "Filler");
    }

    #[test]
    fn path_and_key_decide_what_stands_in_a_page() {
        let (path, other) = ("/.deckle/m/0123abcd/", "/.deckle/m/0123abce/");
        assert_eq!(filler(31).page(path, MOUNT), filler(31).page(path, MOUNT));
        assert_ne!(filler(31).page(path, MOUNT), filler(31).page(other, MOUNT));
        assert_ne!(filler(31).page(path, MOUNT), filler(32).page(path, MOUNT));
        assert_eq!(pages().collect::<HashSet<_>>().len(), 200);
    }

    #[test]
    fn a_page_says_what_it_is_and_stays_small() {
        for page in pages() {
            assert!(page.len() <= 4_096 && page.is_ascii() && !page.contains(['&', '\'']), "{page}");
            assert!(is_well_formed(&page), "{page}");
            assert!(page.contains(&format!("<body>\n{DISCLOSURE}")), "{page}");
            assert!(page.contains("<html lang=\"en\">"));
            assert!(page.contains("<meta name=\"robots\" content=\"noindex, nofollow\">"));
            let title = between(&page, "<title>", "</title>").next().unwrap();
            assert!(PHRASE.contains(&bare(title).count()) && !title.ends_with(['.', ',']), "{title}");
            let paragraphs: Vec<usize> = between(&page, "<p>", "</p>").skip(1).map(|p| bare(p).count()).collect();
            assert!(PARAGRAPHS.contains(&paragraphs.len()), "{page}");
            assert!(paragraphs.iter().all(|words| (40..=90).contains(words)), "{paragraphs:?}");
        }
    }

    #[test]
    fn a_page_links_to_five_others() {
        for page in pages() {
            let paths: HashSet<&str> = between(&page, "<a rel=\"nofollow\" href=\"", "\">").collect();
            assert!(paths.len() == 5 && page.matches("<a ").count() == 5, "{page}");
            assert!(paths.iter().all(|path| is_decoy_path(path, MOUNT)), "{paths:?}");
        }
    }

    #[test]
    fn a_page_is_cut_between_paragraphs() {
        for length in [40, 120, 300, 500] {
            let mount = format!("/{}", "m".repeat(length));
            let page = String::from_utf8(filler(31).page("/", &mount).to_vec()).unwrap();
            assert!(page.len() <= 4_096 && is_well_formed(&page), "{page}");
            assert!(page.contains(DISCLOSURE) && page.matches("<a ").count() == 5, "{page}");
        }
    }

    #[test]
    fn all_words_are_of_the_corpus() {
        let plain = |b: u8| b.is_ascii_alphabetic() || matches!(b, b' ' | b'\n' | b',' | b'.');
        assert!(CORPUS.bytes().all(plain) && CORPUS.trim_end().ends_with('.'));
        let known: HashSet<&str> = bare(CORPUS).collect();
        for page in pages() {
            let text: String =
                page.replace(DISCLOSURE, "").split('<').filter_map(|rest| rest.split('>').nth(1)).collect();
            let unknown: Vec<&str> = bare(&text).filter(|word| !known.contains(word)).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }

    #[test]
    fn entries_are_decoy_paths_and_differ() {
        let entries: HashSet<String> = (0..200).map(|n| filler(31).entry(&format!("/news/{n}"), MOUNT)).collect();
        assert_eq!(entries.len(), 200);
        assert!(entries.iter().all(|path| is_decoy_path(path, MOUNT)));
        assert_ne!(filler(31).entry("/news/1", MOUNT), filler(32).entry("/news/1", MOUNT));
        assert_eq!(filler(31).entry("/", "/x/y").strip_prefix("/x/y"), filler(31).entry("/", "").strip_prefix(""));
    }

    #[test]
    fn nothing_else_is_a_decoy_path() {
        assert!(is_decoy_path("/.deckle/m/0123abcd/", MOUNT) && is_decoy_path("/a/b/m/ffffffff/", "/a/b"));
        for path in [
            "",
            "/",
            "/.deckle",
            "/.deckle/m/",
            "/.deckle/m//",
            "/.deckle/m/0123abcd",
            "/.deckle/m/0123abcd//",
            "/.deckle/m/0123abcd/x",
            "/.deckle/m/0123abcd/?a",
            "/.deckle/m/0123abc/",
            "/.deckle/m/0123abcde/",
            "/.deckle/m/0123ABCD/",
            "/.deckle/m/0123abcg/",
            "/.deckle/m/+123abcd/",
            "/.deckle/m/0123%61b/",
            "/.deckle/m/0123ab\u{e9}/",
            "/.deckle/t/0123abcd/",
            "/.deckle//m/0123abcd/",
            "/.deckle2/m/0123abcd/",
            "/m/0123abcd/",
            "/x/.deckle/m/0123abcd/",
        ] {
            assert!(!is_decoy_path(path, MOUNT), "{path}");
        }
    }
}
