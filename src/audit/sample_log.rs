//! Small logs for tests, written line by line as the writer writes them.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use super::chain::{self, Chain};
use super::signing::{PublicKey, SigningKey};

/// A log directory that goes away with it.
pub(crate) struct SampleLog {
    pub(crate) dir: PathBuf,
    instance: String,
    key: Option<SigningKey>,
    /// An end line is a leaf of its own block.
    pub(crate) seals_ends: bool,
    seq: u64,
    number: u64,
    previous: Option<(String, String)>,
    lines: Vec<Vec<u8>>,
    chain: Chain,
}

impl SampleLog {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("deckle-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let key = SigningKey::make(&dir.join("audit.ed25519")).unwrap();
        Self {
            dir,
            instance: "w1".to_owned(),
            key: Some(key),
            seals_ends: true,
            seq: 0,
            number: 0,
            previous: None,
            lines: Vec::new(),
            chain: Chain::behind(b""),
        }
    }

    pub(crate) fn unsigned(mut self) -> Self {
        self.key = None;
        let _ = std::fs::remove_file(self.dir.join("audit.ed25519.pub"));
        self
    }

    /// Three closed segments, each of three blocks with five hits of five visitors.
    pub(crate) fn three(name: &str) -> Self {
        let mut log = Self::new(name);
        (0..3).for_each(|_| log.closed_segment());
        log
    }

    pub(crate) fn closed_segment(&mut self) {
        self.open();
        for block in 0..3 {
            for visitor in ["ann", "bob", "cid", "dan", "eve"] {
                self.hit(visitor);
            }
            if block < 2 {
                self.checkpoint(block == 1);
            }
        }
        self.checkpoint(false);
        self.end();
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.as_ref().unwrap().public()
    }

    pub(crate) fn name(&self, number: u64) -> String {
        format!("audit-{}-20261123T2000{number:02}Z-{number}.ndjson", self.instance)
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(self.name(number))
    }

    /// What was there before it: so many segments, the highest number of a line, and the last head.
    pub(crate) fn go_on_from(&mut self, number: u64, seq: u64, head: &chain::Digest) {
        (self.number, self.seq) = (number, seq);
        self.previous = Some((self.name(number), HEXLOWER.encode(head)));
    }

    fn begin(&mut self, kind: Option<&str>) -> String {
        self.seq += 1;
        let kind = kind.map(|kind| format!("\"deckle.kind\":\"{kind}\",")).unwrap_or_default();
        let time = format!("2026-11-23T20:{:02}:{:02}.000Z", self.seq / 60 % 60, self.seq % 60);
        format!(
            "{{\"v\":1,\"time\":\"{time}\",{kind}\"deckle.seq\":{},\"deckle.instance\":\"{}\",\"deckle.site\":\"news\"",
            self.seq, self.instance
        )
    }

    pub(crate) fn open(&mut self) {
        self.number += 1;
        let mut line = self.begin(Some("segment"));
        line.push_str(",\"deckle.version\":\"0.1.0\",\"address\":\"truncate\"");
        if let Some(key) = &self.key {
            let public = key.public();
            line.push_str(&format!(",\"key.id\":\"{}\",\"key.public\":\"{}\"", public.id(), public.to_hex()));
        }
        if let Some((name, head)) = &self.previous {
            line.push_str(&format!(",\"previous.segment\":\"{name}\",\"previous.head\":\"{head}\""));
        }
        line.push_str("}\n");
        self.chain = Chain::behind(line.as_bytes());
        self.lines = vec![line.into_bytes()];
    }

    pub(crate) fn line(&mut self, kind: Option<&str>, fields: &str) {
        let line = self.begin(kind) + fields + "}\n";
        self.chain.push(self.seq, line.as_bytes());
        self.lines.push(line.into_bytes());
    }

    pub(crate) fn hit(&mut self, visitor: &str) {
        let seq = self.seq + 1;
        self.line(
            None,
            &format!(
                ",\"deckle.request.id\":\"r-{seq}\",\"http.request.method\":\"GET\",\"server.address\":\"news.example\",\
                 \"url.path\":\"/2026/story-{seq}\",\"http.response.status_code\":200,\"http.response.body.size\":1000,\
                 \"client.address\":\"203.0.113.0/24\",\"user_agent.original\":\"curl/8 <b>\",\
                 \"deckle.visitor.id\":\"{visitor}\",\"deckle.visitor.category\":\"library\",\"deckle.action\":\"allow\",\
                 \"deckle.page.kind\":\"article\",\"deckle.mark.id\":\"k1-{seq:012}\",\
                 \"deckle.mark.level\":\"invisible-safe\",\"deckle.complete\":true"
            ),
        );
    }

    fn seal(&self, signed: bool) -> String {
        let block = self.chain.checkpoint();
        let mut text = format!(
            ",\"first_seq\":{},\"last_seq\":{},\"n\":{},\"root\":\"{}\",\"head\":\"{}\"",
            block.first_seq,
            block.last_seq,
            block.lines,
            HEXLOWER.encode(&block.root),
            HEXLOWER.encode(&block.head)
        );
        if let Some(key) = self.key.as_ref().filter(|_| signed) {
            text.push_str(&format!(",\"key.id\":\"{}\",\"sig\":\"{}\"", key.public().id(), key.sign(&block.head)));
        }
        text + "}\n"
    }

    pub(crate) fn checkpoint(&mut self, signed: bool) {
        let seal = self.seal(signed);
        let line = self.begin(Some("checkpoint")) + &seal;
        let block = self.chain.checkpoint();
        self.chain.close(&block);
        self.chain.push(self.seq, line.as_bytes());
        self.lines.push(line.into_bytes());
    }

    /// The last head has left the machine.
    pub(crate) fn anchored(&mut self, to: &str) -> String {
        let (head, key) = (self.chain.head(), self.key.as_ref().unwrap());
        let hex = HEXLOWER.encode(&head);
        let fields = format!(
            ",\"segment\":\"{}\",\"to\":\"{to}\",\"sent\":\"2026-11-23T20:00:00.000Z\",\"seq\":{},\"head\":\"{hex}\",\
             \"key.id\":\"{}\",\"sig\":\"{}\"",
            self.name(self.number),
            self.seq,
            key.public().id(),
            key.sign(&head)
        );
        self.line(Some("anchored"), &fields);
        hex
    }

    pub(crate) fn end(&mut self) {
        let stub = self.begin(Some("end")) + ",\"reason\":\"rotate\"";
        if self.seals_ends {
            self.chain.push(self.seq, stub.as_bytes());
        }
        let line = stub + &self.seal(true);
        let block = self.chain.checkpoint();
        self.chain.close(&block);
        self.lines.push(line.into_bytes());
        self.write();
    }

    /// The writer is killed; so many bytes of the last line stay.
    pub(crate) fn crash(&mut self, torn: usize) {
        self.write();
        let mut bytes = std::fs::read(self.path(self.number)).unwrap();
        bytes.extend(std::iter::repeat_n(b'x', torn));
        std::fs::write(self.path(self.number), bytes).unwrap();
    }

    /// What the next segment says about one that was not ended.
    pub(crate) fn recover(&mut self) {
        let (name, head) = self.previous.clone().unwrap();
        self.open();
        let fields = format!(",\"sealed_segment\":\"{name}\",\"torn_bytes\":0,\"head\":\"{head}\"");
        self.line(Some("recovery"), &fields);
    }

    fn write(&mut self) {
        std::fs::write(self.path(self.number), self.lines.concat()).unwrap();
        self.previous = Some((self.name(self.number), HEXLOWER.encode(&self.chain.head())));
    }

    pub(crate) fn lines(&self, number: u64) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.path(number)).unwrap();
        bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn write_lines(&self, number: u64, lines: &[Vec<u8>]) {
        std::fs::write(self.path(number), lines.concat()).unwrap();
    }

    pub(crate) fn compress(&self, number: u64) -> PathBuf {
        let path = self.path(number);
        let target = path.with_extension("ndjson.zst");
        std::fs::write(&target, zstd::encode_all(&std::fs::read(&path).unwrap()[..], 1).unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        target
    }

    /// As whoever holds no key would write lines anew: all digests fit, the signatures do not.
    pub(crate) fn reseal(&self, number: u64, change: impl Fn(&str) -> String) {
        let mut out: Vec<Vec<u8>> = Vec::new();
        let mut chain = Chain::behind(b"");
        for line in self.lines(number) {
            let text = change(std::str::from_utf8(&line).unwrap());
            let Some((front, seal)) = text.split_once(",\"first_seq\":") else {
                if out.is_empty() {
                    chain = Chain::behind(text.as_bytes());
                } else {
                    chain.push(super::integrity::seq(text.as_bytes()).unwrap(), text.as_bytes());
                }
                out.push(text.into_bytes());
                continue;
            };
            let is_end = front.contains("\"end\"");
            let seq = super::integrity::seq(front.as_bytes()).unwrap();
            if is_end && self.seals_ends {
                chain.push(seq, front.as_bytes());
            }
            let block = chain.checkpoint();
            let signature = seal.split_once(",\"key.id\"").map(|(_, rest)| format!(",\"key.id\"{rest}"));
            let line = format!(
                "{front},\"first_seq\":{},\"last_seq\":{},\"n\":{},\"root\":\"{}\",\"head\":\"{}\"{}",
                block.first_seq,
                block.last_seq,
                block.lines,
                HEXLOWER.encode(&block.root),
                HEXLOWER.encode(&block.head),
                signature.unwrap_or_else(|| "}\n".to_owned())
            );
            chain.close(&block);
            if !is_end {
                chain.push(seq, line.as_bytes());
            }
            out.push(line.into_bytes());
        }
        self.write_lines(number, &out);
    }
}

impl Drop for SampleLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn leaves_are_those_of_the_chain() {
    let log = SampleLog::three("sample-log");
    let first = log.lines(1);
    assert_eq!(super::integrity::leaf(&first[1]), chain::leaf(&first[1]));
    assert!(Path::new(&log.path(3)).exists());
}
