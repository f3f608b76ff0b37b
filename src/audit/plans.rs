//! What the log says once about a page, before the first response that carries its mark: which words it has, and which
//! alternatives its author wrote. Without that nobody could tell which page a copy is from.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use data_encoding::{BASE64, HEXLOWER};

use super::json::{ObjectWriter, push_string};
use crate::watermark::{PlanNote, SEPARATOR, VariantNote};

/// Bytes of the rows in one `variants` line; with all that stands before them it has less than 16,000.
const MAX_ROWS: usize = 15_000;
/// Hashes of a sketch.
const MAX_SKETCH: usize = 128;
/// New plans of one address that get lines in a segment: a page that is another one each time would double the log.
const MAX_OF_ADDRESS: u8 = 4;
/// Plans, and addresses, that are remembered; beyond, they are told anew.
const MAX_TOLD: usize = 65_536;

type PlanId = [u8; 8];

/// Which plans the open segment tells of.
#[derive(Default)]
pub(super) struct PlansTold {
    segment: u64,
    told: HashSet<PlanId>,
    /// Plans of an address, by its hash.
    of_address: HashMap<u64, u8>,
    hash: RandomState,
    /// What is told in lines that do not stand there yet.
    pending: Vec<(PlanId, u64)>,
}

impl PlansTold {
    /// Lines go into this segment from now on.
    pub(super) fn begin(&mut self, segment: u64) {
        if self.segment != segment || self.told.len() >= MAX_TOLD || self.of_address.len() >= MAX_TOLD {
            self.segment = segment;
            self.told.clear();
            self.of_address.clear();
        }
        self.pending.clear();
    }

    /// Is this plan to be told of? Then it counts as told, until [`forget`](Self::forget). `address` is asked for only where
    /// the plan is new.
    pub(super) fn is_due(&mut self, id: PlanId, address: impl FnOnce() -> String) -> bool {
        if self.told.contains(&id) {
            return false;
        }
        let address = self.hash.hash_one(address());
        let plans = self.of_address.entry(address).or_default();
        if *plans >= MAX_OF_ADDRESS {
            return false;
        }
        *plans += 1;
        self.told.insert(id);
        self.pending.push((id, address));
        true
    }

    /// The lines stand there.
    pub(super) fn keep(&mut self) {
        self.pending.clear();
    }

    /// They do not.
    pub(super) fn forget(&mut self) {
        for (id, address) in self.pending.drain(..) {
            self.told.remove(&id);
            if let Some(plans) = self.of_address.get_mut(&address) {
                *plans = plans.saturating_sub(1);
            }
        }
    }
}

/// Fills a `page` line.
pub(super) fn fill_page(object: &mut ObjectWriter<'_>, path: &str, note: &PlanNote) {
    let sketch: Vec<u8> = note.sketch.iter().take(MAX_SKETCH).flat_map(|hash| hash.to_be_bytes()).collect();
    object.text("url.path", path);
    object.text("deckle.mark.plan", &HEXLOWER.encode(&note.id));
    object.number("deckle.page.words", note.words.into());
    object.text("deckle.page.sketch", &BASE64.encode(&sketch));
}

/// Fills a `variants` line.
pub(super) fn fill_variants(object: &mut ObjectWriter<'_>, id: PlanId, rows: &[u8]) {
    object.text("deckle.mark.plan", &HEXLOWER.encode(&id));
    object.json("deckle.mark.variants", rows);
}

/// The lists of as many `variants` lines as are needed.
pub(super) fn variant_rows(variants: &[VariantNote]) -> Vec<Vec<u8>> {
    let mut lists: Vec<Vec<u8>> = Vec::new();
    for row in variants.iter().map(variant_row).filter(|row| row.len() <= MAX_ROWS) {
        match lists.last_mut().filter(|list| list.len() + row.len() < MAX_ROWS) {
            Some(list) => {
                list.push(b',');
                list.extend_from_slice(&row);
            }
            None => lists.push([&b"["[..], &row].concat()),
        }
    }
    for list in &mut lists {
        list.push(b']');
    }
    lists
}

/// Two words before, two behind, and the alternatives.
fn variant_row(note: &VariantNote) -> Vec<u8> {
    let words = note.context.split(|byte| *byte == SEPARATOR);
    let mut row = Vec::new();
    for (at, text) in words.chain(note.alternatives.iter().map(|text| &**text)).enumerate() {
        row.push(if at == 0 { b'[' } else { b',' });
        push_string(&mut row, &String::from_utf8_lossy(text));
    }
    row.push(b']');
    row
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn id(number: u64) -> PlanId {
        number.to_be_bytes()
    }

    #[test]
    fn a_plan_is_told_once_a_segment_and_only_if_its_lines_stand_there() {
        let mut plans = PlansTold::default();
        plans.begin(1);
        assert!(plans.is_due(id(1), || "/a".into()) && !plans.is_due(id(1), || "/a".into()));
        plans.forget();
        assert!(plans.is_due(id(1), || "/a".into()), "its lines were lost");
        plans.keep();
        plans.begin(1);
        assert!(!plans.is_due(id(1), || "/a".into()));
        plans.forget();
        assert!(!plans.is_due(id(1), || "/a".into()), "it stands there already");
        plans.begin(2);
        assert!(plans.is_due(id(1), || "/a".into()), "in each segment");
    }

    #[test]
    fn a_page_that_is_another_one_each_time_has_few_lines() {
        let mut plans = PlansTold::default();
        plans.begin(1);
        let due = (0..100).filter(|number| plans.is_due(id(*number), || "/clock".into())).count();
        assert_eq!(due, 4);
        plans.forget();
        assert!(plans.is_due(id(100), || "/clock".into()), "what was lost does not count");
        assert!(plans.is_due(id(200), || "/other".into()));
        plans.begin(2);
        assert!(plans.is_due(id(101), || "/clock".into()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut plans = PlansTold::default();
        for number in 0..200_000 {
            plans.begin(1);
            assert!(plans.is_due(id(number), || format!("/{number}")));
            plans.keep();
        }
        assert!(plans.told.len() <= MAX_TOLD && plans.of_address.len() <= MAX_TOLD);
    }

    #[test]
    fn lines_say_what_is_known() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        let sketch: Box<[u32]> = (1..=200).collect();
        let note = PlanNote { id: id(0x0123_4567_89ab_cdef), words: 612, sketch, variants: Box::default() };
        fill_page(&mut object, "/a", &note);
        object.end();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["url.path"], "/a");
        assert_eq!(line["deckle.mark.plan"], "0123456789abcdef");
        assert_eq!(line["deckle.page.words"], 612);
        let sketch = BASE64.decode(line["deckle.page.sketch"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!((sketch.len(), &sketch[..8]), (512, &[0, 0, 0, 1, 0, 0, 0, 2][..]));
    }

    #[test]
    fn variants_are_split_and_none_is_lost() {
        let variants: Vec<VariantNote> = (0..2_000)
            .map(|number| VariantNote {
                context: Bytes::from(format!("the\x1Fword{number}\x1Fis\x1F")),
                alternatives: ["although \"x\"".into(), "though &lt;".into()],
            })
            .collect();
        let lists = variant_rows(&variants);
        assert!(lists.len() > 3 && lists.iter().all(|list| list.len() <= MAX_ROWS + 1), "{}", lists.len());
        let rows: Vec<[String; 6]> =
            lists.iter().flat_map(|list| serde_json::from_slice::<Vec<[String; 6]>>(list).unwrap()).collect();
        assert_eq!(rows.len(), 2_000);
        assert_eq!(rows[7], ["the", "word7", "is", "", "although \"x\"", "though &lt;"]);
        assert!(variant_rows(&[]).is_empty());
        let long = VariantNote { context: "x".repeat(MAX_ROWS).into(), alternatives: ["a".into(), "b".into()] };
        assert!(variant_rows(&[long]).is_empty(), "no line is longer than readers take");
    }
}
