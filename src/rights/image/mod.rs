//! **What an image says of its own use**: the property *Data Mining* of the IPTC Photo Metadata Standard 2023.1, which is
//! `plus:DataMining` of the PLUS License Data Format, in the image's XMP (ISO 16684-1).
//!
//! 1. The packet is looked for in the raw bytes of any format: from `<?xpacket begin`, `<x:xmpmeta`, `<x:xapmeta` or
//!    `<rdf:RDF` on. So it is found in the `APP1` of JPEG, in an `iTXt` of PNG and in the chunk `XMP ` of WebP.
//! 2. Only what a packet says of the image itself counts: an attribute of an `rdf:Description` in the `rdf:RDF`, or an
//!    element in it. What it says of an ingredient or an earlier version is passed over.
//! 3. Names are those of the namespace, whatever its prefix is.
//! 4. A value is the address of a term, as the standard asks for, or the term alone.
//!
//! What was read before the bytes end, or before the packet is no XML any more, holds. Nothing is written: an image may be
//! signed (C2PA), and somebody may know its digest.
//!
//! **Not found** is what stands in the bytes in another form: XMP that is compressed (`iTXt` of PNG with a compression
//! flag), in UTF-16, or in the extended part that JPEG has for packets beyond 64 KiB.
//!
//! ```
//! use deckle::rights::Pref;
//! use deckle::rights::image::{self, DataMining};
//! let photo = b"\xFF\xD8\xFF\xE1\x01\x40http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>\
//!     <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
//!     <rdf:Description xmlns:plus='http://ns.useplus.org/ldf/xmp/1.0/' \
//!     plus:DataMining='http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING'/></rdf:RDF></x:xmpmeta>";
//! let reading = image::read(photo);
//! assert_eq!(reading.values, [DataMining::ProhibitedTraining]);
//! assert_eq!(reading.values[0].uses().ai_train, Pref::Deny);
//! assert_eq!(reading.values[0].uses().search, Pref::Unstated);
//! assert_eq!(image::read(b"\xFF\xD8\xFF\xD9"), image::Reading::default());
//! ```

mod xml;

use super::uses::{Pref, Uses};
use xml::{Broken, Reader, Token, plain};

/// The namespace of the property.
const PLUS: &str = "http://ns.useplus.org/ldf/xmp/1.0/";
/// What stands before a term in its address.
const TERMS: &str = "http://ns.useplus.org/ldf/vocab/";
const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
/// How a packet begins.
const STARTS: [&[u8]; 4] = [b"<?xpacket begin", b"<x:xmpmeta", b"<x:xapmeta", b"<rdf:RDF"];
/// Namespaces that are known at one place. Real packets have about thirty.
const MAX_NAMESPACES: usize = 256;
/// Values of no meaning that are kept, and characters of each.
const MAX_UNKNOWN: usize = 8;
const MAX_CHARS: usize = 100;

/// A value of *Data Mining*: the terms of PLUS that begin with `DMI-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataMining {
    /// `DMI-UNSPECIFIED`: no prohibition is defined.
    Unspecified,
    /// `DMI-ALLOWED`.
    Allowed,
    /// `DMI-PROHIBITED-AIMLTRAINING`: training of models.
    ProhibitedTraining,
    /// `DMI-PROHIBITED-GENAIMLTRAINING`: training of generative models.
    ProhibitedGenerative,
    /// `DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING`.
    ProhibitedExceptSearch,
    /// `DMI-PROHIBITED`.
    Prohibited,
    /// `DMI-PROHIBITED-SEECONSTRAINT`: how far, says `plus:OtherConstraints`.
    ProhibitedSeeConstraint,
    /// `DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR`: how far, says an expression of rights in the image.
    ProhibitedSeeEmbedded,
    /// `DMI-PROHIBITED-SEELINKEDRIGHTSEXPR`: how far, says an expression of rights that the image links to.
    ProhibitedSeeLinked,
}

impl DataMining {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::Allowed,
        Self::ProhibitedTraining,
        Self::ProhibitedGenerative,
        Self::ProhibitedExceptSearch,
        Self::Prohibited,
        Self::ProhibitedSeeConstraint,
        Self::ProhibitedSeeEmbedded,
        Self::ProhibitedSeeLinked,
    ];

    /// The term, without the address before it.
    pub fn term(self) -> &'static str {
        match self {
            Self::Unspecified => "DMI-UNSPECIFIED",
            Self::Allowed => "DMI-ALLOWED",
            Self::ProhibitedTraining => "DMI-PROHIBITED-AIMLTRAINING",
            Self::ProhibitedGenerative => "DMI-PROHIBITED-GENAIMLTRAINING",
            Self::ProhibitedExceptSearch => "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
            Self::Prohibited => "DMI-PROHIBITED",
            Self::ProhibitedSeeConstraint => "DMI-PROHIBITED-SEECONSTRAINT",
            Self::ProhibitedSeeEmbedded => "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
            Self::ProhibitedSeeLinked => "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR",
        }
    }

    /// What it says of each use. A refusal of training is one of mining, too, as in TDMRep. One with conditions that stand
    /// elsewhere says nothing of the other uses.
    pub fn uses(self) -> Uses {
        let (search, ai_input, ai_train) = match self {
            Self::Unspecified => (Pref::Unstated, Pref::Unstated, Pref::Unstated),
            Self::Allowed => (Pref::Allow, Pref::Allow, Pref::Allow),
            Self::ProhibitedExceptSearch => (Pref::Allow, Pref::Deny, Pref::Deny),
            Self::Prohibited => (Pref::Deny, Pref::Deny, Pref::Deny),
            Self::ProhibitedTraining
            | Self::ProhibitedGenerative
            | Self::ProhibitedSeeConstraint
            | Self::ProhibitedSeeEmbedded
            | Self::ProhibitedSeeLinked => (Pref::Unstated, Pref::Unstated, Pref::Deny),
        };
        Uses { search, ai_input, ai_train, tdm: ai_train, ..Uses::default() }
    }
}

/// What the XMP of an image says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Values of *Data Mining*, each once. More than one: the image contradicts itself.
    pub values: Vec<DataMining>,
    /// Values that are no term, as they stand, up to eight of up to 100 characters: nobody obeys them.
    pub unknown: Vec<String>,
    /// A packet begins in the bytes and does not end in them.
    pub is_cut: bool,
}

impl Reading {
    fn add(&mut self, value: &str) {
        let value = value.trim();
        let term = value.strip_prefix(TERMS).unwrap_or(value);
        if let Some(known) = DataMining::ALL.into_iter().find(|known| known.term() == term) {
            if !self.values.contains(&known) {
                self.values.push(known);
            }
        } else if !value.is_empty() && self.unknown.len() < MAX_UNKNOWN {
            let start: String = value.chars().take(MAX_CHARS).collect();
            if !self.unknown.contains(&start) {
                self.unknown.push(start);
            }
        }
    }
}

/// Reads the bytes of an image, or the first of them. Never fails; the time is linear.
pub fn read(bytes: &[u8]) -> Reading {
    let (mut reading, mut from) = (Reading::default(), 0);
    while let Some(start) = next_start(bytes, from) {
        let mut reader = Reader::new(bytes, start);
        if packet(&mut reader, &mut reading) == Err(Broken::Ends) {
            reading.is_cut = true;
        }
        // What stopped it may be the beginning of another one.
        from = reader.at().max(start + 1);
    }
    reading
}

/// Where the next packet begins.
fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let begins = |at: &usize| rest.get(*at..).is_some_and(|text| STARTS.iter().any(|start| text.starts_with(start)));
    memchr::memchr_iter(b'<', rest).find(begins).map(|at| from + at)
}

/// An element that is open.
struct Open<'a> {
    name: &'a [u8],
    kind: Kind,
    /// Namespaces that were known before it.
    known: usize,
}

/// What an element is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Around the `rdf:RDF`, such as `x:xmpmeta`.
    Outside,
    /// The `rdf:RDF`.
    Root,
    /// An `rdf:Description` in it: it is about the image.
    Description,
    /// A `plus:DataMining` in that.
    Property,
    /// Anything else in the `rdf:RDF`.
    Other,
}

/// Reads one packet, to the end of its outermost element.
fn packet(reader: &mut Reader<'_>, reading: &mut Reading) -> Result<(), Broken> {
    let (mut scope, mut open, mut text) = (Scope::default(), Vec::<Open<'_>>::new(), String::new());
    loop {
        let around = open.last().map(|element| element.kind);
        match reader.token()? {
            Token::Start { name, attributes, is_empty } => {
                let known = scope.0.len();
                scope.learn(&attributes)?;
                let kind = scope.kind(name, around);
                for (name, value) in attributes {
                    let says = match kind {
                        Kind::Description => scope.is_attribute(name, Namespace::Plus, b"DataMining"),
                        Kind::Property => scope.is_attribute(name, Namespace::Rdf, b"resource"),
                        Kind::Outside | Kind::Root | Kind::Other => false,
                    };
                    if says {
                        reading.add(&plain(value));
                    }
                }
                if is_empty {
                    scope.0.truncate(known);
                } else {
                    open.push(Open { name, kind, known });
                }
            }
            Token::End(name) => {
                let element = open.pop().filter(|element| element.name == name).ok_or(Broken::Malformed)?;
                scope.0.truncate(element.known);
                if element.kind == Kind::Property {
                    reading.add(&std::mem::take(&mut text));
                }
            }
            Token::Text(raw) if around == Some(Kind::Property) => text.push_str(&plain(raw)),
            Token::Verbatim(raw) if around == Some(Kind::Property) => text.push_str(&String::from_utf8_lossy(raw)),
            // Before the outermost element there is white space at most.
            Token::Text(raw) if around.is_none() && raw.trim_ascii().is_empty() => continue,
            Token::Text(_) | Token::Verbatim(_) if around.is_none() => return Err(Broken::Malformed),
            Token::Text(_) | Token::Verbatim(_) => {}
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// A namespace that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Plus,
    Rdf,
    Other,
}

/// Prefixes and what they stand for, the innermost last.
#[derive(Default)]
struct Scope<'a>(Vec<(&'a [u8], Namespace)>);

impl<'a> Scope<'a> {
    /// Takes in the declarations of a tag.
    fn learn(&mut self, attributes: &[(&'a [u8], &'a [u8])]) -> Result<(), Broken> {
        for &(name, value) in attributes {
            let Some(rest) = name.strip_prefix(b"xmlns") else { continue };
            let prefix = match rest.split_first() {
                None => rest,
                Some((b':', prefix)) => prefix,
                Some(_) => continue,
            };
            if self.0.len() >= MAX_NAMESPACES {
                return Err(Broken::Malformed);
            }
            let namespace = match plain(value).as_str() {
                PLUS => Namespace::Plus,
                RDF => Namespace::Rdf,
                _ => Namespace::Other,
            };
            self.0.push((prefix, namespace));
        }
        Ok(())
    }

    fn kind(&self, name: &[u8], around: Option<Kind>) -> Kind {
        match around {
            None | Some(Kind::Outside) if self.is(name, Namespace::Rdf, b"RDF") => Kind::Root,
            None | Some(Kind::Outside) => Kind::Outside,
            Some(Kind::Root) if self.is(name, Namespace::Rdf, b"Description") => Kind::Description,
            Some(Kind::Description) if self.is(name, Namespace::Plus, b"DataMining") => Kind::Property,
            _ => Kind::Other,
        }
    }

    /// Is it this name of this namespace? The prefix decides, or that there is none.
    fn is(&self, name: &[u8], namespace: Namespace, local: &[u8]) -> bool {
        let prefix: &[u8] = match name.strip_suffix(local) {
            Some([]) => &[],
            Some([prefix @ .., b':']) => prefix,
            _ => return false,
        };
        self.0.iter().rev().find(|(known, _)| *known == prefix).is_some_and(|(_, of)| *of == namespace)
    }

    /// Attributes without a prefix are in no namespace.
    fn is_attribute(&self, name: &[u8], namespace: Namespace, local: &[u8]) -> bool {
        name != local && self.is(name, namespace, local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALLOWED: &str = "http://ns.useplus.org/ldf/vocab/DMI-ALLOWED";

    /// An `rdf:RDF` with this inside, as writers of XMP put it.
    fn xmp(inside: &str) -> String {
        format!(
            "<?xpacket begin=\"\u{FEFF}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\" x:xmptk=\"t\">\n \
             <rdf:RDF xmlns:rdf=\"{RDF}\" xmlns:plus=\"{PLUS}\">\n{inside}</rdf:RDF>\n</x:xmpmeta>\n{}<?xpacket end=\"w\"?>",
            " ".repeat(200)
        )
    }

    fn attribute(value: &str) -> String {
        xmp(&format!("<rdf:Description rdf:about=\"\" plus:DataMining=\"{value}\"/>"))
    }

    fn jpeg(packet: &str) -> Vec<u8> {
        let segment = [&b"http://ns.adobe.com/xap/1.0/\0"[..], packet.as_bytes()].concat();
        let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
        let start = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xFF\xE1";
        [start.as_slice(), &length, &segment, b"\xFF\xDA\0\x08<x:xmpmeta\x01\xFF\xD9"].concat()
    }

    fn png(packet: &str) -> Vec<u8> {
        let text = [&b"XML:com.adobe.xmp\0\0\0\0\0"[..], packet.as_bytes()].concat();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        let start = b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3A\x7E\x9B\x55";
        [start.as_slice(), &length, b"iTXt", &text, b"\0\0\0\0\0\0\0\0IEND\xAE\x42\x60\x82"].concat()
    }

    fn webp(packet: &str) -> Vec<u8> {
        let chunk = [&b"XMP "[..], &u32::try_from(packet.len()).unwrap().to_le_bytes(), packet.as_bytes()].concat();
        let length = u32::try_from(chunk.len() + 22).unwrap().to_le_bytes();
        [&b"RIFF"[..], &length, b"WEBPVP8X\x0A\0\0\0\x04\0\0\0\0\0\0\0\0\0", &chunk].concat()
    }

    fn values(bytes: impl AsRef<[u8]>) -> Vec<&'static str> {
        let reading = read(bytes.as_ref());
        assert_eq!(reading.unknown, [""; 0]);
        reading.values.into_iter().map(DataMining::term).collect()
    }

    #[test]
    fn the_packet_is_found_in_each_format() {
        let packet = attribute(ALLOWED);
        for image in [jpeg(&packet), png(&packet), webp(&packet), packet.clone().into_bytes()] {
            let reading = read(&image);
            assert_eq!(reading, Reading { values: vec![DataMining::Allowed], ..Reading::default() });
        }
        assert_eq!(read(&jpeg("")), Reading::default());
        // Without the wrapper, and with no more than the `rdf:RDF`.
        let bare = packet.split_once("?>\n").unwrap().1;
        assert_eq!(values(bare), ["DMI-ALLOWED"]);
        assert_eq!(values(&bare[bare.find("<rdf:RDF").unwrap()..]), ["DMI-ALLOWED"]);
    }

    #[test]
    fn every_form_and_every_prefix() {
        let element = |element: &str| xmp(&format!("<rdf:Description>{element}</rdf:Description>"));
        let other = "xmlns:p='http://ns.useplus.org/ldf/xmp/1.0/'";
        for packet in [
            attribute(ALLOWED),
            attribute("DMI-ALLOWED"),
            attribute(&format!("\n {ALLOWED}\t")),
            attribute(&ALLOWED.replace('-', "&#x2D;")),
            element(&format!("<plus:DataMining>{ALLOWED}</plus:DataMining>")),
            element("<plus:DataMining>\n DMI-<!-- x -->ALLO<![CDATA[WED]]> </plus:DataMining>"),
            element(&format!("<plus:DataMining rdf:resource='{ALLOWED}'/>")),
            element(&format!("<p:DataMining {other}>{ALLOWED}</p:DataMining>")),
            element(&format!("<DataMining xmlns='{PLUS}'>{ALLOWED}</DataMining>")),
            xmp(&format!("<rdf:Description p:DataMining='{ALLOWED}' {other}></rdf:Description>")),
            attribute(ALLOWED).replace("rdf:", "r:").replace(":rdf=", ":r="),
            attribute(ALLOWED).replace("plus:", "x:").replace(":plus=", ":x="),
        ] {
            assert_eq!(values(&packet), ["DMI-ALLOWED"], "{packet}");
        }
    }

    #[test]
    fn only_what_is_said_of_the_image_itself_counts() {
        let inner = format!("<rdf:Description plus:DataMining='{ALLOWED}'/>");
        let other = "xmlns:plus='http://ns.useplus.org/ldf/xmp/2.0/'";
        for packet in [
            xmp(&format!(
                "<rdf:Description><xmpMM:Pantry><rdf:Bag><rdf:li>{inner}</rdf:li></rdf:Bag></xmpMM:Pantry></rdf:Description>"
            )),
            xmp(&format!("<rdf:Description><a:b><rdf:RDF>{inner}</rdf:RDF></a:b></rdf:Description>")),
            xmp(&format!("<rdf:Description><a:b plus:DataMining='{ALLOWED}'/></rdf:Description>")),
            xmp(&format!("<rdf:Description {other} plus:DataMining='{ALLOWED}'/>")),
            xmp(&format!("<rdf:Description DataMining='{ALLOWED}' xmlns='{PLUS}'/>")),
            xmp(&format!("<rdf:Description xplus:DataMining='{ALLOWED}' plus:DataMinings='{ALLOWED}'/>")),
            xmp(&format!("<!-- {inner} --><![CDATA[{inner}]]><?a {inner}?>")),
            attribute(ALLOWED).replace(RDF, "http://example/"),
            attribute(ALLOWED).replace(&format!("xmlns:plus=\"{PLUS}\""), ""),
            attribute(""),
            // A declaration ends with its element.
            xmp(&format!("<rdf:Description xmlns:p='{PLUS}'/><rdf:Description p:DataMining='{ALLOWED}'/>")),
        ] {
            assert_eq!(values(&packet), [""; 0], "{packet}");
        }
    }

    #[test]
    fn a_value_that_is_no_term_is_told_and_no_refusal() {
        for value in ["DMI-PROHIBITTED", "dmi-prohibited", "https://ns.useplus.org/ldf/vocab/DMI-PROHIBITED", "&dmi;"] {
            let reading = read(attribute(value).as_bytes());
            assert_eq!((reading.values, reading.unknown), (vec![], vec![value.to_owned()]));
        }
        let both = attribute(ALLOWED) + &attribute("DMI-PROHIBITED") + &attribute("DMI-ALLOWED");
        assert_eq!(values(both), ["DMI-ALLOWED", "DMI-PROHIBITED"]);
        for known in DataMining::ALL {
            assert_eq!(values(attribute(&format!("{TERMS}{}", known.term()))), [known.term()]);
        }
    }

    #[test]
    fn hostile_bytes_are_read_and_bounded() {
        // Cut short, a long value is no other one.
        let long = format!("{}DMI-PROHIBITED{}", " ".repeat(1000), "-".repeat(200_000));
        let reading = read(attribute(&long).as_bytes());
        assert_eq!((reading.values.len(), reading.unknown.len()), (0, 1));
        assert_eq!(reading.unknown[0].chars().count(), 100);
        let many: String = (0..500).map(|n| attribute(&format!("x{n}"))).collect();
        assert_eq!(read(many.as_bytes()).unknown.len(), 8);
        // Other properties are in any charset.
        let packet = attribute(ALLOWED);
        let (before, after) = packet.split_once("rdf:about").unwrap();
        let latin = [before.as_bytes(), b"dc:title='\xE9' rdf:about", after.as_bytes()].concat();
        assert_eq!(values(latin), ["DMI-ALLOWED"]);
        // A document type could make any text of any reference.
        let entity = format!("<!DOCTYPE r [<!ENTITY d \"{ALLOWED}\">]>");
        let packet = attribute("&d;").replace("<x:xmpmeta", &format!("{entity}<x:xmpmeta"));
        assert_eq!(read(packet.as_bytes()).unknown, ["&d;"]);
        for hostile in [
            "<rdf:RDF>".repeat(30_000),
            "<rdf:RDF a='".repeat(20_000),
            "<rdf:RDF><!--".repeat(20_000),
            format!("<rdf:RDF {}>", "xmlns:a='b' ".repeat(20_000)),
            format!("<rdf:RDF xmlns:a='{}'/>", "&".repeat(250_000)),
            "<?xpacket begin".repeat(15_000),
            "<rdf:RDF></rdf:RDF>".repeat(13_000),
        ] {
            assert_eq!(read(hostile.as_bytes()).values, []);
        }
    }

    #[test]
    fn what_is_cut_off_is_told() {
        let image = jpeg(&attribute(ALLOWED));
        let behind = |text: &str| memchr::memmem::find(&image, text.as_bytes()).unwrap() + text.len();
        let (first, tag, end) = (behind("<?xpacket begin"), behind("DMI-ALLOWED\"/>"), behind("</x:xmpmeta>"));
        for length in 0..end + 100 {
            let reading = read(&image[..length]);
            assert_eq!(reading.values.len(), usize::from(length >= tag), "{length}");
            assert_eq!(reading.is_cut, (first..end).contains(&length), "{length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        /// Markup in any order, and behind it a packet: nothing that stands before it hides it.
        #[test]
        fn nothing_before_a_packet_hides_it(
            parts in proptest::collection::vec(prop_oneof![
                Just("<?xpacket begin='' id=''?>".to_owned()),
                Just(format!("<x:xmpmeta><rdf:RDF xmlns:rdf='{RDF}' xmlns:p='{PLUS}'>")),
                Just("<rdf:Description p:DataMining='DMI-ALLOWED'>".to_owned()),
                Just("<p:DataMining>".to_owned()),
                Just("</p:DataMining>".to_owned()),
                Just("</rdf:RDF></x:xmpmeta>".to_owned()),
                Just("<!--".to_owned()),
                Just("<![CDATA[".to_owned()),
                Just("<rdf:RDF a=\"".to_owned()),
                Just("&#x3C;&amp;&".to_owned()),
                "[ -~]{0,6}",
            ], 0..20),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let packet = attribute("DMI-PROHIBITED");
            let bytes = [parts.concat().as_bytes(), &noise, b"\0", packet.as_bytes()].concat();
            prop_assert!(read(&bytes).values.contains(&DataMining::Prohibited));
        }
    }
}
