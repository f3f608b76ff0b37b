//! The arithmetic of tamper evidence: Merkle trees over blocks of lines, and a chain of heads over the blocks.
//!
//! Trees have the shape of RFC 9162 §2.1, so that a line can be proved without showing any other line. A head covers the
//! head before it, the root of its block and the block's numbers; `docs/reference/integrity.md` has the formulas.

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// What a signature covers: this, then the head.
pub const HEAD_CONTEXT: &[u8] = b"deckle-audit-head-v1\0";
const BLOCK_CONTEXT: &[u8] = b"deckle-audit-v1\0";

fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The leaf of a line, its line feed included.
pub fn leaf(line: &[u8]) -> Digest {
    sha256(&[&[0], line])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], left, right])
}

/// The largest power of two that is less than `count`, which is at least 2.
fn split(count: usize) -> usize {
    1 << (usize::BITS - 1 - (count - 1).leading_zeros())
}

/// The root over the leaves of a block.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The siblings on the way from a leaf up to the root.
pub fn inclusion(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut path, sibling) =
        if index < at { (inclusion(left, index), root(right)) } else { (inclusion(right, index - at), root(left)) };
    path.push(sibling);
    path
}

/// The root to which such a way leads; `None`: the way has another length than this place has.
pub fn root_of_inclusion(leaf: Digest, index: usize, count: usize, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(leaf);
    }
    let at = split(count);
    let (sibling, below) = path.split_last()?;
    if index < at {
        Some(node(&root_of_inclusion(leaf, index, at, below)?, sibling))
    } else {
        Some(node(sibling, &root_of_inclusion(leaf, index - at, count - at, below)?))
    }
}

/// The head of a segment that has no block yet: of its first line, which names the head of the segment before.
pub fn first_head(segment_line: &[u8]) -> Digest {
    sha256(&[segment_line])
}

/// The head after a block.
pub fn next_head(head: &Digest, root: &Digest, first_seq: u64, last_seq: u64) -> Digest {
    sha256(&[BLOCK_CONTEXT, head, root, &first_seq.to_be_bytes(), &last_seq.to_be_bytes()])
}

/// The block that is being written, and the head before it.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    head: Digest,
    leaves: Vec<Digest>,
    first_seq: u64,
    last_seq: u64,
}

/// What a checkpoint says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoint {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) lines: usize,
    pub(crate) root: Digest,
    pub(crate) head: Digest,
}

impl Chain {
    /// Behind the first line of a segment.
    pub(crate) fn behind(segment_line: &[u8]) -> Self {
        Self { head: first_head(segment_line), leaves: Vec::new(), first_seq: 0, last_seq: 0 }
    }

    /// A line of the block.
    pub(crate) fn push(&mut self, seq: u64, line: &[u8]) {
        if self.leaves.is_empty() {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        self.leaves.push(leaf(line));
    }

    /// Lines of the open block.
    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// What the checkpoint of the open block says, and the head that follows from it.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let root = root(&self.leaves);
        Checkpoint {
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            lines: self.leaves.len(),
            root,
            head: next_head(&self.head, &root, self.first_seq, self.last_seq),
        }
    }

    /// The checkpoint stands in the log: its line begins the next block.
    pub(crate) fn close(&mut self, checkpoint: &Checkpoint) {
        self.head = checkpoint.head;
        self.leaves.clear();
    }

    /// The head after the last block that was closed.
    pub(crate) fn head(&self) -> Digest {
        self.head
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn line(seq: u64) -> Vec<u8> {
        format!("{{\"v\":1,\"deckle.seq\":{seq}}}\n").into_bytes()
    }

    #[test]
    fn roots_and_heads_match_the_reference() {
        // Computed with Python's hashlib.
        let leaves: Vec<Digest> = (1..=3).map(|seq| leaf(&line(seq))).collect();
        for (n, expected) in [
            (1, "0373dfa1fa9a21bcababaa549dad4b62784cb3bb48d6a9c1cb46b7aff78c682b"),
            (2, "2065a635f033467af8ed754d385adf091a5a0dd024039372110608f064cf6baf"),
            (3, "fe18370acfe755e39921b155fdf8fb74713c75c38b611fc8a9b2dcca5fa02b10"),
        ] {
            assert_eq!(HEXLOWER.encode(&root(&leaves[..n])), expected, "{n} lines");
        }
        let segment = b"{\"v\":1,\"deckle.kind\":\"segment\",\"deckle.seq\":0}\n";
        let mut chain = Chain::behind(segment);
        assert_eq!(HEXLOWER.encode(&chain.head()), "137a380d3218424bc26d1fff43aaa3e6b381c34c025856124134a2a83b546a18");
        (1..=3).for_each(|seq| chain.push(seq, &line(seq)));
        let checkpoint = chain.checkpoint();
        assert_eq!((checkpoint.first_seq, checkpoint.last_seq, checkpoint.lines), (1, 3, 3));
        chain.close(&checkpoint);
        assert_eq!(HEXLOWER.encode(&chain.head()), "ce9aafb1c6744ef157fd527ca4324637d2195eee8f0cce92dd5d7f8f9cbbdc1c");
    }

    #[test]
    fn every_line_of_a_block_can_be_proved_and_no_other() {
        for count in (1..=70).chain([127, 128, 129, 1_000, 1_023, 1_024]) {
            let leaves: Vec<Digest> = (0..count as u64).map(|seq| leaf(&line(seq))).collect();
            let expected = root(&leaves);
            let other = leaf(b"another line\n");
            for index in 0..count {
                let path = inclusion(&leaves, index);
                assert_eq!(root_of_inclusion(leaves[index], index, count, &path), Some(expected));
                assert_ne!(root_of_inclusion(other, index, count, &path), Some(expected));
            }
        }
    }

    proptest! {
        #[test]
        fn ways_of_another_place_or_length_prove_nothing(count in 2usize..200, seed in any::<usize>(), moved in 1usize..200) {
            let leaves: Vec<Digest> = (0..count as u64).map(|seq| leaf(&line(seq))).collect();
            let (index, expected) = (seed % count, Some(root(&leaves)));
            let path = inclusion(&leaves, index);
            let elsewhere = (index + moved) % count;
            if elsewhere != index {
                prop_assert_ne!(root_of_inclusion(leaves[index], elsewhere, count, &path), expected);
            }
            prop_assert_ne!(root_of_inclusion(leaves[index], index, count, path.get(1..).unwrap_or_default()), expected);
            prop_assert_eq!(root_of_inclusion(leaves[index], count, count, &path), None);
        }
    }
}
