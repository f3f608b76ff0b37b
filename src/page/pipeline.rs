//! Decoders, rewriter and encoder of one page in a row.

use std::borrow::Cow;
use std::io;

use encoding_rs::Encoding;

use super::charset::{self, Charset};
use super::encoding::{Coding, Decoder, Encoder};
use super::plan::Skip;
use super::report::{PageFacts, Rewrite};
use super::rewrite::{Job, Rewriter};
use crate::slot::{Choose, Unmarked};

/// Bytes that are held until the first one that is not white space tells markup from something else.
const MAX_BLANK: usize = 64;

/// Makes the job and the choices once the charset is known.
pub(crate) type Start = Box<dyn FnOnce(Charset) -> (Job, Box<dyn Choose>) + Send>;

/// Told once, at the end, what was learned about the site.
pub(crate) type OnFinding = Box<dyn FnOnce(super::Finding) + Send>;

enum Stage {
    /// Waits for the first byte.
    Start {
        held: Vec<u8>,
        start: Option<Start>,
    },
    Rewrite {
        rewriter: Box<Rewriter>,
        choose: Box<dyn Choose>,
    },
    Copy(Skip),
}

/// One page's way.
pub(crate) struct Pipeline {
    /// The last coding that was put on comes off first.
    decoders: Vec<Decoder>,
    encoder: Option<Encoder>,
    stage: Stage,
    header_charset: Option<&'static Encoding>,
    fallback: &'static Encoding,
    on_finding: Option<OnFinding>,
    read: u64,
    written: u64,
}

impl Pipeline {
    pub(crate) fn new(
        codings: &[Coding],
        max_decoded: u64,
        header_charset: Option<&'static Encoding>,
        fallback: &'static Encoding,
        start: Start,
        on_finding: OnFinding,
    ) -> Self {
        Self {
            decoders: codings.iter().rev().map(|coding| Decoder::new(*coding, max_decoded)).collect(),
            encoder: Encoder::new(super::body::outgoing(codings)),
            stage: Stage::Start { held: Vec::new(), start: Some(start) },
            header_charset,
            fallback,
            on_finding: Some(on_finding),
            read: 0,
            written: 0,
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut source = Cow::Borrowed(piece);
        for decoder in &mut self.decoders {
            let mut decoded = Vec::with_capacity(source.len() * 4);
            decoder.push(&source, &mut decoded)?;
            source = Cow::Owned(decoded);
        }
        self.read += source.len() as u64;
        let mut page = Vec::with_capacity(source.len() + 1_024);
        self.rewrite(&source, &mut page);
        self.encode(page, out)
    }

    pub(crate) fn is_coded(&self) -> bool {
        !self.decoders.is_empty()
    }

    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.flush(out))
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        for decoder in &self.decoders {
            decoder.finish()?;
        }
        let mut page = Vec::new();
        self.begin(true, &mut page);
        if let Stage::Rewrite { rewriter, choose } = &mut self.stage {
            rewriter.finish(choose.as_mut(), &mut page);
            if let (Some(finding), Some(tell)) = (rewriter.outcome().finding, self.on_finding.take()) {
                tell(finding);
            }
        }
        self.encode(page, out)?;
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.finish(out))
    }

    fn encode(&mut self, page: Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        self.written += page.len() as u64;
        match &mut self.encoder {
            Some(encoder) => encoder.push(&page, out),
            None if out.is_empty() => {
                *out = page;
                Ok(())
            }
            None => {
                out.extend_from_slice(&page);
                Ok(())
            }
        }
    }

    fn rewrite(&mut self, source: &[u8], page: &mut Vec<u8>) {
        match &mut self.stage {
            Stage::Start { held, .. } => {
                held.extend_from_slice(source);
                self.begin(false, page);
            }
            Stage::Rewrite { rewriter, choose } => rewriter.push(source, choose.as_mut(), page),
            Stage::Copy(_) => page.extend_from_slice(source),
        }
    }

    /// Looks at the first bytes; `last`: no more will come.
    fn begin(&mut self, last: bool, page: &mut Vec<u8>) {
        let Stage::Start { held, start } = &mut self.stage else { return };
        let charset = charset::decide(self.header_charset, held, self.fallback);
        let bom = if held.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let first = held.iter().skip(bom).position(|b| !b.is_ascii_whitespace()).and_then(|i| held.get(bom + i));
        if !last && charset::may_become_bom(held) {
            return;
        }
        let skip = match first {
            _ if charset::is_refused(charset.encoding) => Some(Skip::CharsetUnsafe),
            None if !last && held.len() <= MAX_BLANK => return,
            Some(b'<') => None,
            None | Some(_) => Some(Skip::NotMarkup),
        };
        let held = std::mem::take(held);
        let (job, choose) = match (skip, start.take()) {
            (None, Some(start)) => start(charset),
            (skip, _) => {
                page.extend_from_slice(&held);
                self.stage = Stage::Copy(skip.unwrap_or(Skip::NotMarkup));
                return;
            }
        };
        let mut stage = (Box::new(Rewriter::new(job)), choose);
        stage.0.push(&held, stage.1.as_mut(), page);
        self.stage = Stage::Rewrite { rewriter: stage.0, choose: stage.1 };
    }

    /// Writes down how far it went.
    pub(crate) fn report(&self, facts: &mut PageFacts) {
        facts.body_in = self.read;
        facts.body_out = self.written;
        match &self.stage {
            Stage::Start { .. } => {}
            Stage::Copy(skip) => {
                facts.rewrite = Rewrite::Skipped;
                facts.skip = Some(*skip);
                facts.mark = None;
            }
            Stage::Rewrite { rewriter, .. } => {
                let outcome = rewriter.outcome();
                facts.guard_placed = outcome.head_placed;
                facts.notice_placed = outcome.footer_placed;
                facts.seals = outcome.seals;
                facts.gaps = outcome.gaps;
                facts.mark_skip = facts.mark_skip.or(outcome.no_slots);
                let ended = outcome.ended.or(outcome.no_slots.filter(|why| *why == "bad_utf8"));
                facts.skip = ended.map(Skip::from_code);
                facts.rewrite = match ended {
                    Some("already" | "signed" | "frameset") => Rewrite::Skipped,
                    Some(_) => Rewrite::Partial,
                    None => Rewrite::Done,
                };
            }
        }
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codings: Vec<Coding> = self.decoders.iter().map(Decoder::coding).collect();
        f.debug_struct("Pipeline").field("codings", &codings).finish_non_exhaustive()
    }
}

/// For pages that carry no marks.
pub(crate) fn unmarked() -> Box<dyn Choose> {
    Box::new(Unmarked)
}
