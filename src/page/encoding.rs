//! Content codings: gzip (RFC 1952), br (RFC 7932), zstd (RFC 8878, 9659) and deflate (RFC 9110 §8.4.1.2), as push
//! pipelines that never wait for more input than they have.

use std::io::{Error, ErrorKind, Result};

use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    BrotliDecoder, BrotliEncoder, DecodeV2, DeflateDecoder, EncodeV2, GzipDecoder, GzipEncoder, ZlibDecoder,
    ZlibEncoder, ZstdDecoder, ZstdEncoder, brotli,
};
use http::{HeaderMap, header};

/// Levels of recompression: dear enough to be worth it, cheap enough for every response.
const GZIP_LEVEL: i32 = 6;
const BROTLI_LEVEL: i32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// RFC 9659 §3: at most 8 MiB of window.
const ZSTD_WINDOW_LOG: u32 = 23;
/// A body that inflates more than this, beyond the first MiB, is an attack on us: gzip's own limit is about 1,032,
/// real pages stay below 30.
const MAX_RATIO: u64 = 250;
const RATIO_FREE: u64 = 1 << 20;
const STEP: usize = 16 * 1024;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
    /// zlib, or raw deflate from servers that get it wrong.
    Deflate,
}

impl Coding {
    /// The token of `Content-Encoding`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// The letter in an entity tag.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Identity => "i",
            Self::Gzip => "g",
            Self::Br => "b",
            Self::Zstd => "z",
            Self::Deflate => "d",
        }
    }

    pub(super) fn from_token(token: &str) -> Option<Self> {
        [Self::Identity, Self::Gzip, Self::Br, Self::Zstd, Self::Deflate]
            .into_iter()
            .find(|c| c.code().eq_ignore_ascii_case(token))
            .or_else(|| token.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }
}

/// In the extensions of a response: it came from the same machine or network, and its coding costs more than it saves.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "only the proxy knows where the site is"))]
pub(crate) struct NearSite;

/// Why a body's codings are not taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodingError {
    Unknown,
    Stacked,
}

/// The codings of a body in the order they were applied, `identity` left out (RFC 9110 §8.4). At most two.
pub(crate) fn content_codings(headers: &HeaderMap) -> std::result::Result<Vec<Coding>, CodingError> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().map_err(|_| CodingError::Unknown)?;
        for token in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            match Coding::from_token(token).ok_or(CodingError::Unknown)? {
                Coding::Identity => {}
                coding => codings.push(coding),
            }
        }
    }
    if codings.len() > 2 { Err(CodingError::Stacked) } else { Ok(codings) }
}

/// A body without its codings, as far as it can be read.
#[cfg(feature = "cli")]
pub(crate) fn decoded(headers: &HeaderMap, body: &[u8]) -> bytes::Bytes {
    let mut text = body.to_vec();
    for coding in content_codings(headers).unwrap_or_default().into_iter().rev() {
        let mut out = Vec::new();
        // What came before a fault is worth reading.
        let _ = Decoder::new(coding, 64 << 20).push(&text, &mut out);
        text = out;
    }
    text.into()
}

enum Decode {
    Gzip(GzipDecoder),
    Br(BrotliDecoder),
    Zstd(ZstdDecoder),
    Zlib(ZlibDecoder),
    Deflate(DeflateDecoder),
    /// Waits for the two bytes that tell zlib from raw deflate.
    Undecided(Vec<u8>),
}

/// A member of gzip begins with these (RFC 1952 §2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Takes one coding off a stream.
pub(crate) struct Decoder {
    codec: Decode,
    coding: Coding,
    /// A member is complete; more input starts a new one (gzip, zstd) or is an error.
    done: bool,
    /// Behind a complete member of gzip stands something else, which is passed over.
    over: bool,
    /// The first byte behind a complete member, while it may still begin another one.
    held: Vec<u8>,
    fresh: bool,
    read: u64,
    written: u64,
    max: u64,
}

impl Decoder {
    /// `max` is the most bytes that may come out.
    pub(crate) fn new(coding: Coding, max: u64) -> Self {
        let codec = match coding {
            Coding::Gzip => Decode::Gzip(GzipDecoder::new()),
            Coding::Br => Decode::Br(BrotliDecoder::new()),
            Coding::Zstd => Decode::Zstd(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
            Coding::Deflate | Coding::Identity => Decode::Undecided(Vec::new()),
        };
        Self { codec, coding, done: false, over: false, held: Vec::new(), fresh: true, read: 0, written: 0, max }
    }

    /// Decodes what is there.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let input = match &mut self.codec {
            _ if !held.is_empty() => {
                held.extend_from_slice(input);
                held.as_slice()
            }
            Decode::Undecided(start) => {
                start.extend_from_slice(input);
                if start.len() < 2 {
                    return Ok(());
                }
                held = std::mem::take(start);
                self.codec = if is_zlib(&held) {
                    Decode::Zlib(ZlibDecoder::new())
                } else {
                    Decode::Deflate(DeflateDecoder::new())
                };
                held.as_slice()
            }
            _ => input,
        };
        self.refuse_large_window(input)?;
        let result = self.run(input, out);
        drop(held);
        result
    }

    fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut input = PartialBuffer::new(input);
        let mut buffer = [0u8; STEP];
        loop {
            if self.done {
                if !self.goes_on(input.unwritten()) {
                    return Ok(());
                }
                self.next_member()?;
            }
            let before = input.unwritten().len();
            let mut output = WriteBuffer::new_initialized(&mut buffer);
            self.fresh &= before == 0;
            self.done = self.step(&mut input, &mut output)?;
            let written = output.written();
            out.extend_from_slice(written);
            self.written += written.len() as u64;
            self.read += (before - input.unwritten().len()) as u64;
            self.check_ratio()?;
            let idle = written.is_empty() && input.unwritten().len() == before;
            let full = written.len() == STEP;
            if !full && !self.done && (idle || input.unwritten().is_empty()) {
                return Ok(());
            }
        }
    }

    /// Does another member begin here? What else stands behind one of gzip, such as padding, browsers pass over.
    fn goes_on(&mut self, rest: &[u8]) -> bool {
        if self.over || rest.is_empty() {
            return false;
        }
        if self.coding != Coding::Gzip || rest.starts_with(&GZIP_MAGIC) {
            return true;
        }
        if GZIP_MAGIC.starts_with(rest) {
            self.held = rest.to_vec();
        } else {
            self.over = true;
            tracing::debug!(target: "deckle", "Something stands behind a gzip body and is passed over.");
        }
        false
    }

    fn next_member(&mut self) -> Result<()> {
        match &mut self.codec {
            Decode::Gzip(codec) => codec.reinit()?,
            Decode::Zstd(codec) => codec.reinit()?,
            _ => return Err(Error::new(ErrorKind::InvalidData, "bytes behind the end of the coded body")),
        }
        self.done = false;
        Ok(())
    }

    /// A window of more than 16 MiB is an extension that no client of a page asks for (RFC 7932 §9.1 reserves its mark).
    fn refuse_large_window(&self, input: &[u8]) -> Result<()> {
        let large = matches!(self.codec, Decode::Br(_)) && input.first().is_some_and(|first| first & 0x7F == 0x11);
        if large && self.read == 0 {
            return Err(Error::new(ErrorKind::InvalidData, "the brotli window is too large"));
        }
        Ok(())
    }

    fn step(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> Result<bool> {
        match &mut self.codec {
            Decode::Gzip(codec) => codec.decode(input, output),
            Decode::Br(codec) => DecodeV2::decode(codec, input, output),
            Decode::Zstd(codec) => codec.decode(input, output),
            Decode::Zlib(codec) => codec.decode(input, output),
            Decode::Deflate(codec) => codec.decode(input, output),
            Decode::Undecided(_) => Ok(false),
        }
        .or_else(|e| {
            // zlib's "no progress possible" means: more input, please.
            if e.to_string().contains("BufError") && input.unwritten().is_empty() { Ok(false) } else { Err(e) }
        })
    }

    fn check_ratio(&self) -> Result<()> {
        let bomb = self.written > RATIO_FREE && self.written / self.read.max(1) > MAX_RATIO;
        if bomb || self.written > self.max {
            return Err(Error::new(ErrorKind::QuotaExceeded, "the coded body inflates beyond all measure"));
        }
        Ok(())
    }

    /// The input is over: an open member means that it was cut.
    pub(crate) fn finish(&self) -> Result<()> {
        // An empty body under a coding is an empty body.
        let begun = matches!(&self.codec, Decode::Undecided(held) if !held.is_empty());
        if self.done || (self.fresh && !begun) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::UnexpectedEof, "the coded body is cut off"))
        }
    }

    pub(crate) fn coding(&self) -> Coding {
        self.coding
    }
}

/// RFC 1950 §2.2: compression method 8, and the first 16 bits divisible by 31.
fn is_zlib(start: &[u8]) -> bool {
    matches!(start, [cmf, flg, ..] if cmf & 0x0F == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)).is_multiple_of(31))
}

/// Puts one coding on a stream.
pub(crate) struct Encoder {
    codec: Box<dyn EncodeV2 + Send>,
    dirty: bool,
}

impl Encoder {
    /// None for identity.
    pub(crate) fn new(coding: Coding) -> Option<Self> {
        let codec: Box<dyn EncodeV2 + Send> = match coding {
            Coding::Identity => return None,
            Coding::Gzip => Box::new(GzipEncoder::new(Level::Precise(GZIP_LEVEL).into())),
            Coding::Br => Box::new(BrotliEncoder::new(
                brotli::params::EncoderParams::default().quality(Level::Precise(BROTLI_LEVEL)),
            )),
            Coding::Zstd => Box::new(ZstdEncoder::new(ZSTD_LEVEL)),
            Coding::Deflate => Box::new(ZlibEncoder::new(Level::Precise(GZIP_LEVEL).into())),
        };
        Some(Self { codec, dirty: false })
    }

    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut input = PartialBuffer::new(input);
        self.dirty |= !input.unwritten().is_empty();
        let mut buffer = [0u8; STEP];
        while !input.unwritten().is_empty() {
            let mut output = WriteBuffer::new_initialized(&mut buffer);
            self.codec.encode(&mut input, &mut output)?;
            out.extend_from_slice(output.written());
        }
        Ok(())
    }

    /// Everything pushed so far becomes readable at the other end.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.drain(out, |codec, output| codec.flush(output))?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.drain(out, |codec, output| codec.finish(output))
    }

    fn drain(
        &mut self,
        out: &mut Vec<u8>,
        step: fn(&mut (dyn EncodeV2 + Send), &mut WriteBuffer<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut buffer = [0u8; STEP];
        loop {
            let mut output = WriteBuffer::new_initialized(&mut buffer);
            let done = step(&mut *self.codec, &mut output)?;
            out.extend_from_slice(output.written());
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Br, Coding::Zstd, Coding::Deflate];
    const MAX: u64 = 64 << 20;

    fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(coding).unwrap();
        encoder.push(text, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        out
    }

    fn decode(coding: Coding, coded: &[u8], chunk: usize) -> Result<Vec<u8>> {
        let mut decoder = Decoder::new(coding, MAX);
        let mut out = Vec::new();
        for piece in coded.chunks(chunk) {
            decoder.push(piece, &mut out)?;
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn a_large_window_is_refused() {
        assert!(Decoder::new(Coding::Br, MAX).push(&[0x11, 0x18, 0x00], &mut Vec::new()).is_err());
        assert!(Decoder::new(Coding::Br, MAX).push(&[0x91], &mut Vec::new()).is_err());
        assert!(Decoder::new(Coding::Gzip, MAX).push(&[0x1F], &mut Vec::new()).is_ok());
    }

    #[test]
    fn a_window_of_8_mib_is_the_largest_of_zstd() {
        // A frame of one raw block (RFC 8878 §3.1.1). Its window: exponent 13, then mantissa or exponent one more.
        for (window, name, reads) in [(0x68, "8 MiB", true), (0x69, "9 MiB", false), (0x70, "16 MiB", false)] {
            let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x00, window, 0x09, 0x00, 0x00, b'x'];
            for chunk in [1, 4_096] {
                let read = decode(Coding::Zstd, &frame, chunk).ok();
                assert_eq!(read, reads.then(|| b"x".to_vec()), "{name} in pieces of {chunk}");
            }
        }
    }

    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|i| format!("<p>paragraph {} {}</p>", i * 7919 % 1013, i).into_bytes()).collect()
    }

    #[test]
    fn what_goes_in_comes_out_in_any_chunking() {
        for coding in ALL {
            let coded = encode(coding, &text());
            for chunk in [1, 7, 4_096, coded.len()] {
                assert!(decode(coding, &coded, chunk).unwrap() == text(), "{coding:?} {chunk}");
            }
        }
    }

    #[test]
    fn a_cut_body_is_an_error() {
        for coding in ALL {
            let coded = encode(coding, &text());
            for missing in [1, 6, coded.len() / 2] {
                assert!(decode(coding, &coded[..coded.len() - missing], 1_000).is_err(), "{coding:?} {missing}");
            }
            assert!(decode(coding, b"", 1).is_ok());
        }
    }

    #[test]
    fn trailing_bytes_and_garbage_are_errors() {
        for coding in ALL {
            let mut coded = encode(coding, b"<p>x</p>");
            // Of gzip this is another member that is broken.
            let garbage: &[u8] = if coding == Coding::Gzip { b"\x1F\x8Bgarbage" } else { b"trailing garbage" };
            coded.extend_from_slice(garbage);
            assert!(decode(coding, &coded, 4_096).is_err(), "{coding:?}");
            assert!(
                decode(coding, b"this is not coded at all, whatever the header says", 4_096).is_err(),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn what_stands_behind_gzip_is_passed_over() {
        let member = encode(Coding::Gzip, b"<p>x</p>");
        for behind in [&[0u8; 512][..], b"trailing garbage", b"\x1F", b"\x1Fx\x1F\x8B", b"\0\x1F\x8B\x08"] {
            for chunk in [1, 7, 4_096] {
                for members in [1, 2] {
                    let coded = [member.repeat(members).as_slice(), behind].concat();
                    let read = decode(Coding::Gzip, &coded, chunk).unwrap();
                    assert_eq!(read, b"<p>x</p>".repeat(members), "{behind:?} {chunk}");
                }
            }
        }
    }

    #[test]
    fn several_members_are_one_body() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let coded = [encode(coding, b"one "), encode(coding, b"two")].concat();
            for chunk in [1, 4_096] {
                assert_eq!(decode(coding, &coded, chunk).unwrap(), b"one two", "{coding:?}");
            }
        }
    }

    #[test]
    fn raw_deflate_is_read_too() {
        use compression_codecs::DeflateEncoder;
        let mut raw = Encoder { codec: Box::new(DeflateEncoder::new(Level::Precise(6).into())), dirty: false };
        let mut coded = Vec::new();
        raw.push(b"<p>raw</p>", &mut coded).unwrap();
        raw.finish(&mut coded).unwrap();
        for chunk in [1, 4_096] {
            assert_eq!(decode(Coding::Deflate, &coded, chunk).unwrap(), b"<p>raw</p>");
        }
    }

    #[test]
    fn a_bomb_is_stopped_early() {
        let coded = encode(Coding::Gzip, &vec![0u8; 10 << 20]);
        let mut decoder = Decoder::new(Coding::Gzip, MAX);
        let mut out = Vec::new();
        assert!(decoder.push(&coded, &mut out).is_err());
        assert!(out.len() < 2 << 20, "{}", out.len());
    }

    #[test]
    fn no_more_comes_out_than_is_allowed() {
        for coding in ALL {
            let coded = encode(coding, &text());
            let read = |max: u64| Decoder::new(coding, max).push(&coded, &mut Vec::new());
            assert!(read(text().len() as u64).is_ok(), "{coding:?}");
            assert_eq!(read(text().len() as u64 - 1).unwrap_err().kind(), ErrorKind::QuotaExceeded, "{coding:?}");
            let mut out = Vec::new();
            assert!(Decoder::new(coding, 1_000).push(&coded, &mut out).is_err(), "{coding:?}");
            assert!(out.len() <= STEP, "{coding:?}: {}", out.len());
        }
    }

    #[test]
    fn levels_are_fixed() {
        fn at(coding: Coding, level: i32) -> Vec<u8> {
            let codec: Box<dyn EncodeV2 + Send> = match coding {
                Coding::Gzip => Box::new(GzipEncoder::new(Level::Precise(level).into())),
                Coding::Br => Box::new(BrotliEncoder::new(
                    brotli::params::EncoderParams::default().quality(Level::Precise(level)),
                )),
                Coding::Zstd => Box::new(ZstdEncoder::new(level)),
                _ => Box::new(ZlibEncoder::new(Level::Precise(level).into())),
            };
            let (mut encoder, mut out) = (Encoder { codec, dirty: false }, Vec::new());
            encoder.push(&text(), &mut out).unwrap();
            encoder.finish(&mut out).unwrap();
            out
        }
        for (coding, level) in [(Coding::Gzip, 6), (Coding::Deflate, 6), (Coding::Br, 4), (Coding::Zstd, 3)] {
            let ours = encode(coding, &text());
            assert!(ours == at(coding, level), "{coding:?}");
            for other in [1, 9] {
                assert!(ours != at(coding, other), "{coding:?}: another level would be seen");
            }
        }
    }

    #[test]
    fn a_flush_makes_everything_readable() {
        for coding in ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut coded = Vec::new();
            encoder.push(b"<p>first paragraph</p>", &mut coded).unwrap();
            encoder.flush(&mut coded).unwrap();
            let (mut decoder, mut out) = (Decoder::new(coding, MAX), Vec::new());
            decoder.push(&coded, &mut out).unwrap();
            assert_eq!(out, b"<p>first paragraph</p>", "{coding:?}");
            let before = coded.len();
            encoder.flush(&mut coded).unwrap();
            assert_eq!(coded.len(), before, "nothing new, nothing sent");
        }
    }

    #[test]
    fn content_encoding_is_read_as_the_rfc_says() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
            }
            content_codings(&headers)
        };
        assert_eq!(of(&[]), Ok(vec![]));
        assert_eq!(of(&["GZIP"]), Ok(vec![Coding::Gzip]));
        assert_eq!(of(&["x-gzip"]), Ok(vec![Coding::Gzip]));
        assert_eq!(of(&["identity, gzip"]), Ok(vec![Coding::Gzip]));
        assert_eq!(of(&["gzip", "br"]), Ok(vec![Coding::Gzip, Coding::Br]));
        assert_eq!(of(&["gzip, br, zstd"]), Err(CodingError::Stacked));
        for unknown in ["compress", "dcb", "dcz", "exi"] {
            assert_eq!(of(&[unknown]), Err(CodingError::Unknown), "{unknown}");
        }
    }
}
