//! The lines by which a log proves itself, as a reader sees them: what opens a segment, what seals a block, and what
//! stands where a line was erased.

use std::path::Path;

use data_encoding::HEXLOWER;
use memchr::memmem;
use serde::{Deserialize, Deserializer, Serialize};

use super::chain::{self, Digest};

const KIND: &[u8] = b"\"deckle.kind\":\"";
const SEQ: &[u8] = b"\"deckle.seq\":";
/// What an `end` line says of its block begins here.
const BLOCK: &[u8] = b",\"first_seq\":";
/// Kind and number stand within so many bytes.
const FRONT: usize = 160;
/// More lines than a block ever has: twice what `audit.checkpoint_lines` may be, for older versions closed no block behind
/// lines about the log, and none does behind an `end`. A log without checkpoints must not fill the memory.
const MAX_BLOCK: usize = 2 << 16;

/// What a line is to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment,
    Checkpoint,
    End,
    Robots,
    Policy,
    Erased,
    Anchored,
    /// A response.
    Hit,
    Other,
}

/// In a string of JSON a quote is escaped: what looks like a key is one.
pub(crate) fn kind(line: &[u8]) -> Kind {
    let front = line.get(..FRONT).unwrap_or(line);
    let Some(at) = memmem::find(front, KIND) else { return Kind::Hit };
    let rest = line.get(at + KIND.len()..).unwrap_or_default();
    match rest.split(|b| *b == b'"').next().unwrap_or_default() {
        b"segment" => Kind::Segment,
        b"checkpoint" => Kind::Checkpoint,
        b"end" => Kind::End,
        b"robots" => Kind::Robots,
        b"policy" => Kind::Policy,
        b"erased" => Kind::Erased,
        b"anchored" => Kind::Anchored,
        b"hit" => Kind::Hit,
        _ => Kind::Other,
    }
}

/// The number of a line.
pub(crate) fn seq(line: &[u8]) -> Option<u64> {
    let front = line.get(..FRONT).unwrap_or(line);
    let digits = line.get(memmem::find(front, SEQ)? + SEQ.len()..)?;
    digits.first().filter(|b| b.is_ascii_digit())?;
    let mut digits = digits.iter().take_while(|b| b.is_ascii_digit());
    digits.try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// 64 lower-case hex digits.
pub(crate) fn parse_digest(hex: &str) -> Option<Digest> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let hex = String::deserialize(deserializer)?;
    parse_digest(&hex).ok_or_else(|| serde::de::Error::custom("not a digest"))
}

/// The first line of a segment.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Opening {
    #[serde(rename = "deckle.seq")]
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) time: String,
    #[serde(rename = "deckle.instance", default)]
    pub(crate) instance: String,
    #[serde(rename = "key.id")]
    pub(crate) key_id: Option<String>,
    #[serde(rename = "key.public")]
    pub(crate) key_public: Option<String>,
    #[serde(rename = "previous.segment")]
    pub(crate) previous_segment: Option<String>,
    #[serde(rename = "previous.head")]
    pub(crate) previous_head: Option<String>,
    /// Key ids and fingerprints of the secrets that were in use.
    #[serde(rename = "secret.ids", default)]
    pub(crate) secret_ids: Vec<String>,
    /// Only segments that have checkpoints name the mode of addresses.
    pub(crate) address: Option<String>,
}

impl Opening {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        (kind(line) == Kind::Segment).then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// Its writer keeps checkpoints.
    pub(crate) fn is_chained(&self) -> bool {
        self.address.is_some() || self.key_id.is_some() || self.previous_head.is_some()
    }
}

/// What a checkpoint, or the end of a segment, says of its block.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seal {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) n: u64,
    #[serde(deserialize_with = "digest")]
    pub(crate) root: Digest,
    #[serde(deserialize_with = "digest")]
    pub(crate) head: Digest,
    #[serde(rename = "key.id")]
    pub(crate) key_id: Option<String>,
    pub(crate) sig: Option<String>,
}

impl Seal {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// The part of an `end` line that can be a leaf of its own block: everything before it names the block. What follows
/// must hold nothing else, or it could be changed unseen.
pub(crate) fn end_stub(line: &[u8]) -> Option<&[u8]> {
    const KEYS: [&str; 7] = ["first_seq", "last_seq", "n", "root", "head", "key.id", "sig"];
    let (stub, block) = line.split_at_checked(memmem::find(line, BLOCK)?)?;
    let mut object = block.to_vec();
    *object.first_mut()? = b'{';
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&object).ok()?;
    (is_compact(block) && fields.keys().all(|key| KEYS.contains(&key.as_str()))).then_some(stub)
}

/// No white space between the tokens but the final line feed.
fn is_compact(json: &[u8]) -> bool {
    let text = json.strip_suffix(b"\n").unwrap_or(json);
    let mut parts = text.split(|b| *b == b'"');
    let outside = |part: &[u8]| !part.iter().any(u8::is_ascii_whitespace);
    // Digests, key ids and base64 hold no escaped quote.
    let mut is_outside = false;
    parts.all(|part| {
        is_outside = !is_outside;
        !is_outside || outside(part)
    })
}

/// A head that was sent away: an `anchored` line, or one of `audit.index`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchored {
    /// Where to, without what may be a secret.
    pub(crate) to: String,
    /// As it stands in what was sent.
    pub(crate) sent: String,
    #[serde(alias = "anchored")]
    pub(crate) segment: String,
    pub(crate) seq: u64,
    pub(crate) head: String,
    #[serde(rename = "key.id")]
    pub(crate) key_id: String,
    pub(crate) sig: String,
}

impl Anchored {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The ends of segments, which no line of a segment can tell of.
    pub(crate) fn of_index(log_dir: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(log_dir.join("audit.index")).unwrap_or_default();
        text.lines().filter_map(|line| Self::parse(line.as_bytes())).collect()
    }
}

/// What stands for an erased line: its number and its leaf, so that the tree stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) seq: u64,
    pub(crate) leaf: Digest,
}

impl Tombstone {
    /// As long as the line was, where that can be.
    pub(crate) fn render(&self, length: usize) -> Vec<u8> {
        const PAD: usize = ",\"pad\":\"\"".len();
        let leaf = HEXLOWER.encode(&self.leaf);
        let mut text = format!("{{\"deckle.kind\":\"erased\",\"deckle.seq\":{},\"leaf\":\"{leaf}\"", self.seq);
        if let Some(pad) = length.checked_sub(text.len() + PAD + 2) {
            text.push_str(&format!(",\"pad\":\"{}\"", "x".repeat(pad)));
        }
        text.push_str("}\n");
        text.into_bytes()
    }

    /// Only what [`Tombstone::render`] writes: nothing in it can be changed unseen.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(rename = "deckle.seq")]
            seq: u64,
            #[serde(deserialize_with = "digest")]
            leaf: Digest,
        }
        let Fields { seq, leaf } = serde_json::from_slice(line).ok()?;
        let tombstone = Self { seq, leaf };
        (tombstone.render(line.len()) == line).then_some(tombstone)
    }
}

/// The leaf of a line; of an erased one the leaf that it had.
pub(crate) fn leaf(line: &[u8]) -> Digest {
    let erased = (kind(line) == Kind::Erased).then(|| Tombstone::parse(line)).flatten();
    erased.map_or_else(|| chain::leaf(line), |tombstone| tombstone.leaf)
}

/// The lines since the last seal.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenBlock {
    pub(crate) leaves: Vec<Digest>,
    pub(crate) lines: u64,
    /// Number of the first line.
    pub(crate) first: Option<u64>,
    /// Number of the last line.
    pub(crate) last: u64,
}

impl OpenBlock {
    pub(crate) fn push(&mut self, leaf: Digest, seq: u64) {
        self.lines += 1;
        self.first.get_or_insert(seq);
        self.last = seq;
        if self.leaves.len() < MAX_BLOCK {
            self.leaves.push(leaf);
        }
    }

    /// Is this the block that the seal speaks of, behind this head? A segment that ends where it began has an empty one.
    fn is_sealed_by(&self, seal: &Seal, head: &Digest) -> bool {
        self.lines == seal.n
            && self.leaves.len() as u64 == seal.n
            && self.first.unwrap_or(0) == seal.first_seq
            && self.last == seal.last_seq
            && chain::root(&self.leaves) == seal.root
            && chain::next_head(head, &seal.root, seal.first_seq, seal.last_seq) == seal.head
    }

    /// The block as the seal in this line closed it. The end of a segment may be a leaf of its own block, but for what it
    /// says of the block.
    pub(crate) fn sealed(mut self, seal: &Seal, line: &[u8], head: &Digest) -> Option<Self> {
        if self.is_sealed_by(seal, head) {
            return Some(self);
        }
        let stub = (kind(line) == Kind::End).then(|| end_stub(line)).flatten()?;
        self.push(chain::leaf(stub), seq(line)?);
        self.is_sealed_by(seal, head).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_numbers_are_read_without_parsing() {
        let hit =
            br#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.seq":912837,"url.path":"/\"deckle.kind\":\"end\""}"#;
        assert_eq!((kind(hit), seq(hit)), (Kind::Hit, Some(912_837)));
        let end = br#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.kind":"end","deckle.seq":7}"#;
        assert_eq!((kind(end), seq(end)), (Kind::End, Some(7)));
        assert_eq!(seq(br#"{"deckle.seq":"7"}"#), None);
        assert_eq!(seq(br#"{"deckle.seq":99999999999999999999}"#), None);
    }

    #[test]
    fn a_tombstone_is_as_long_as_its_line() {
        let tombstone = Tombstone { seq: 7, leaf: [0xAB; 32] };
        let bare = tombstone.render(0);
        assert_eq!(Tombstone::parse(&bare), Some(tombstone));
        for length in [bare.len() + 9, 400, 900] {
            let line = tombstone.render(length);
            assert_eq!(line.len(), length);
            assert_eq!(Tombstone::parse(&line), Some(tombstone));
            assert_eq!(leaf(&line), tombstone.leaf);
        }
        let text = String::from_utf8(tombstone.render(400)).unwrap();
        assert_eq!(Tombstone::parse(text.replacen("xx", "xy", 1).as_bytes()), None);
    }

    #[test]
    fn a_stub_hides_nothing() {
        let end = |block: &str| format!("{{\"deckle.kind\":\"end\"{block}\n");
        let stub = |text: &str| end_stub(text.as_bytes()).map(<[u8]>::len);
        let good = end(",\"first_seq\":1,\"last_seq\":2,\"n\":2}");
        assert_eq!(stub(&good), Some(20));
        assert_eq!(stub(&end(",\"first_seq\": 1,\"last_seq\":2,\"n\":2}")), None);
        assert_eq!(stub(&end(",\"first_seq\":1,\"x\":2,\"n\":2}")), None);
        assert_eq!(stub(&end("}")), None);
    }

    #[test]
    fn the_largest_block_is_as_it_was_written() {
        let mut chain = chain::Chain::behind(b"first\n");
        let (head, mut block) = (chain.head(), OpenBlock::default());
        // As many lines as a block may have, some about the log, and the end.
        for seq in 1..=65_536 + 9 {
            let line = format!("{{\"deckle.seq\":{seq}}}\n");
            chain.push(seq, line.as_bytes());
            block.push(chain::leaf(line.as_bytes()), seq);
        }
        let chain::Checkpoint { first_seq, last_seq, lines, root, head: next } = chain.checkpoint();
        let seal = Seal { first_seq, last_seq, n: lines as u64, root, head: next, key_id: None, sig: None };
        assert!(block.sealed(&seal, b"{\"deckle.kind\":\"checkpoint\"}\n", &head).is_some());
    }
}
