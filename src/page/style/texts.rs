//! Texts of `<style>` elements that were read before: the pages of a site repeat them.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use twox_hash::XxHash3_64;

use super::reader;
use super::rules::SheetRules;

/// Bytes of text whose rules are remembered; rules are never longer than their text.
const REMEMBERED: u64 = 4 << 20;
/// Texts that there is room for at first.
const USUAL: usize = 32;

/// What a text says; `None`: it cannot be read.
type Read = Option<Arc<SheetRules>>;

/// Remembers what texts say, by a hash that nobody can foretell.
pub(crate) struct StyleTexts {
    seed: u64,
    read: Cache<(u64, usize), Read, Length>,
}

#[derive(Clone)]
struct Length;

impl Weighter<(u64, usize), Read> for Length {
    fn weight(&self, key: &(u64, usize), _: &Read) -> u64 {
        (key.1 + size_of::<SheetRules>()) as u64
    }
}

impl Default for StyleTexts {
    fn default() -> Self {
        Self { seed: fastrand::u64(..), read: Cache::with_weighter(USUAL, REMEMBERED, Length) }
    }
}

impl StyleTexts {
    pub(crate) fn read(&self, css: &str) -> Read {
        let key = (XxHash3_64::oneshot_with_seed(self.seed, css.as_bytes()), css.len());
        if let Some(known) = self.read.get(&key) {
            return known;
        }
        let rules = reader::read(css.as_bytes()).map(Arc::new);
        self.read.insert(key, rules.clone());
        rules
    }
}

impl fmt::Debug for StyleTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StyleTexts").field("texts", &self.read.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once() {
        let texts = StyleTexts::default();
        let first = texts.read(".poem{white-space:pre}").unwrap();
        assert_eq!(first.preserve.iter().collect::<Vec<_>>(), [".poem"]);
        assert!(Arc::ptr_eq(&first, &texts.read(".poem{white-space:pre}").unwrap()));
        assert_ne!(first, texts.read(".song{white-space:pre}").unwrap());
        assert!(texts.read("/* without an end").is_none() && texts.read("/* without an end").is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let texts = StyleTexts::default();
        (0..3_000).for_each(|i| _ = texts.read(&format!(".c{i}{{color:red}}{}", " ".repeat(8_000))));
        assert!(texts.read.weight() <= REMEMBERED, "{}", texts.read.weight());
        assert!(texts.read.len() > 100);
    }
}
