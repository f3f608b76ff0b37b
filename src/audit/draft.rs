//! Lines on their way to the disk: numbers, leaves and checkpoints count from the moment that all of them stand there.

use data_encoding::HEXLOWER;

use super::chain::{Chain, Checkpoint};
use super::json::ObjectWriter;

/// Signs a head: the name of the key, and the signature.
pub(super) type Sign<'s> = &'s dyn Fn(&super::chain::Digest) -> Option<(String, String)>;

/// Whole lines, and where the log stands behind them.
pub(super) struct Draft {
    pub(super) bytes: Vec<u8>,
    pub(super) chain: Chain,
    pub(super) seq: u64,
    /// The open block holds more than the checkpoint before it.
    pub(super) fresh: bool,
}

impl Draft {
    /// A line of a block.
    pub(super) fn line(&mut self, write: impl FnOnce(&mut Vec<u8>, u64)) {
        let start = self.bytes.len();
        self.seq += 1;
        write(&mut self.bytes, self.seq);
        self.chain.push(self.seq, self.bytes.get(start..).unwrap_or_default());
        self.fresh = true;
    }

    /// The line that closes a block, and begins the next one. `head` writes what all lines begin with.
    pub(super) fn checkpoint(&mut self, head: impl FnOnce(&mut ObjectWriter<'_>, u64), sign: Option<Sign<'_>>) {
        let checkpoint = self.chain.checkpoint();
        let start = self.bytes.len();
        self.seq += 1;
        let mut object = ObjectWriter::new(&mut self.bytes);
        head(&mut object, self.seq);
        tell(&mut object, &checkpoint, sign);
        object.end();
        self.chain.close(&checkpoint);
        self.chain.push(self.seq, self.bytes.get(start..).unwrap_or_default());
        self.fresh = false;
    }

    /// The last line of a segment, which closes its last block; its own beginning is the last leaf of that.
    pub(super) fn end(&mut self, head: impl FnOnce(&mut ObjectWriter<'_>, u64), sign: Option<Sign<'_>>) {
        let start = self.bytes.len();
        self.seq += 1;
        head(&mut ObjectWriter::new(&mut self.bytes), self.seq);
        self.chain.push(self.seq, self.bytes.get(start..).unwrap_or_default());
        let checkpoint = self.chain.checkpoint();
        let mut object = ObjectWriter::resume(&mut self.bytes);
        tell(&mut object, &checkpoint, sign);
        object.end();
        self.chain.close(&checkpoint);
    }
}

fn tell(object: &mut ObjectWriter<'_>, checkpoint: &Checkpoint, sign: Option<Sign<'_>>) {
    object.number("first_seq", checkpoint.first_seq);
    object.number("last_seq", checkpoint.last_seq);
    object.number("n", checkpoint.lines as u64);
    object.text("root", &HEXLOWER.encode(&checkpoint.root));
    object.text("head", &HEXLOWER.encode(&checkpoint.head));
    if let Some((key, signature)) = sign.and_then(|sign| sign(&checkpoint.head)) {
        object.text("key.id", &key);
        object.text("sig", &signature);
    }
}
