//! The archive: generated text, labelled as filler on every page, the same at every start.

use std::sync::LazyLock;

const ITEMS: usize = 220;
const PER_PAGE: usize = 44;

const SUBJECTS: [&str; 16] = [
    "The harbour office",
    "A group of neighbours",
    "The night ferry",
    "The school board",
    "The market hall",
    "A retired pilot",
    "The tram depot",
    "The weather station",
    "The reading room",
    "A visiting choir",
    "The lock keeper",
    "The fire brigade",
    "The seed library",
    "The rowing club",
    "The ropewalk",
    "The town archive",
];
const VERBS: [&str; 12] = [
    "counted",
    "measured",
    "opened",
    "repaired",
    "listed",
    "compared",
    "moved",
    "painted",
    "recorded",
    "sorted",
    "described",
    "weighed",
];
const OBJECTS: [&str; 16] = [
    "the wooden stairs on the north quay",
    "forty crates of late apples",
    "the lamps along the promenade",
    "the oldest maps of the bay",
    "the ticket machines",
    "the tide tables of the last century",
    "three new benches",
    "the drains under Rope Street",
    "the letters in the reading room",
    "the moorings at low water",
    "the clock in the tower",
    "the path behind the dunes",
    "the recipes of the canteen",
    "the bicycles at the station",
    "the nets on the slip",
    "the trees in the square",
];
const ENDINGS: [&str; 12] = [
    "before the first frost",
    "while the rain kept everybody indoors",
    "without any fuss",
    "for the second time this year",
    "as the plan of the council had foreseen",
    "to the surprise of nobody",
    "in less than a week",
    "with borrowed tools",
    "on an ordinary Tuesday",
    "until the light was gone",
    "after a long discussion",
    "and wrote down the result",
];

/// One generated item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) number: usize,
    pub(super) title: String,
    pub(super) date: String,
    pub(super) paragraphs: Vec<String>,
}

impl Item {
    pub(super) fn path(&self) -> String {
        format!("/archive/{}/{}-{}", self.date.replace('-', "/"), super::content::slug(&self.title), self.number)
    }
}

/// All of them, newest first.
pub(super) fn archive() -> &'static [Item] {
    static ARCHIVE: LazyLock<Vec<Item>> = LazyLock::new(|| (0..ITEMS).map(item).collect());
    &ARCHIVE
}

pub(super) fn pages() -> usize {
    ITEMS.div_ceil(PER_PAGE)
}

pub(super) fn page(number: usize) -> &'static [Item] {
    archive().chunks(PER_PAGE).nth(number.saturating_sub(1)).unwrap_or_default()
}

fn item(number: usize) -> Item {
    let mut random = Generator(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    let title = format!("{} {} {}", random.pick(&SUBJECTS), random.pick(&VERBS), random.pick(&OBJECTS));
    let paragraphs = (0..6)
        .map(|_| {
            let sentences: Vec<String> = (0..5)
                .map(|_| {
                    let (subject, verb) = (random.pick(&SUBJECTS), random.pick(&VERBS));
                    format!("{subject} {verb} {} {}.", random.pick(&OBJECTS), random.pick(&ENDINGS))
                })
                .collect();
            sentences.join(" ")
        })
        .collect();
    let (month, day) = (12 - number / 20 % 12, 28 - number % 28);
    Item { number, title, date: format!("2025-{month:02}-{day:02}"), paragraphs }
}

/// Marsaglia's xorshift: the same text at every start.
struct Generator(u64);

impl Generator {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from.get((self.0 >> 33) as usize % from.len().max(1)).copied().unwrap_or_default()
    }
}
