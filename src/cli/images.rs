//! `deckle check --images`: what the images of a page say of their use, held against what the site declares.

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use super::check::Finding;
use super::fetch::{Document, Fetcher};
use super::output::clean;
use crate::page::encoding::decoded;
use crate::page::join;
use crate::rights::image::{self, DataMining};
use crate::rights::robots::Robots;
use crate::rights::{Policy, Pref, Use, Uses, documents, fields};

/// Bytes of an image that are read.
const START: usize = 256 << 10;
/// Addresses that are taken from a page.
const MAX_NAMED: usize = 1_000;
/// Uses that both may speak of: the word for each, the code where the image allows what the site refuses, and where it
/// forbids what the site allows.
const USES: [(Use, &str, &str, &str); 4] = [
    (Use::AiTrain, "training", "image_allows_training", "image_forbids_training"),
    (Use::Tdm, "text and data mining", "image_allows_mining", "image_forbids_mining"),
    (Use::AiInput, "use as input of answers", "image_allows_input", "image_forbids_input"),
    (Use::Search, "search", "image_allows_search", "image_forbids_search"),
];

/// An image that was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    /// As the page names it.
    pub(super) address: String,
    /// Values of *Data Mining* in its XMP: terms, or what stands in their place.
    pub(super) data_mining: Vec<String>,
    /// Only the first bytes were read.
    pub(super) is_cut: bool,
    /// Why it says nothing: it could not be read.
    pub(super) unread: Option<String>,
}

/// What a site declares.
pub(super) struct Site<'d> {
    policy: Policy,
    page: &'d Document,
    robots: Robots,
    tdmrep: Bytes,
}

impl<'d> Site<'d> {
    /// Of a page, and the two files where they came.
    pub(super) fn new(
        policy: Policy,
        page: &'d Document,
        robots: Option<&Document>,
        tdmrep: Option<&Document>,
    ) -> Self {
        let text = |file: Option<&Document>| {
            let file = file.filter(|file| file.status == StatusCode::OK);
            file.map(|file| decoded(&file.headers, &file.body)).unwrap_or_default()
        };
        Self { policy, page, robots: Robots::parse(&text(robots)), tdmrep: text(tdmrep) }
    }

    /// All that is said of an image, by where it is said. Files and configuration are those of the site's own host.
    fn says(&self, image: &Uri, headers: &HeaderMap) -> Vec<(&'static str, Uses)> {
        let own = fields::says(headers);
        let mut says =
            vec![("its own fields", own), ("X-Robots-Tag of the page", fields::says_of_images(&self.page.headers))];
        if image.authority() == self.page.address.authority() {
            let path = image.path();
            says.push(("[rights] of the configuration", self.policy.resolve(path)));
            says.push(("robots.txt", self.robots.says("*", path)));
            // A field replaces what the file says (TDM Reservation Protocol).
            if own.tdm == Pref::Unstated {
                let tdm = match documents::tdm_reserved(&self.tdmrep, path) {
                    Some(true) => Pref::Deny,
                    Some(false) => Pref::Allow,
                    None => Pref::Unstated,
                };
                says.push(("tdmrep.json", Uses { tdm, ..Uses::default() }));
            }
        }
        says
    }
}

/// Reads so many images of the page, and tells what contradicts.
pub(super) async fn read(fetcher: &Fetcher, site: &Site<'_>, source: &[u8], most: usize) -> (Vec<Image>, Vec<Finding>) {
    let (mut images, mut findings) = (Vec::new(), Vec::new());
    for address in named(&site.page.address, source, most) {
        let (image, found) = match fetcher.start_of(&address, START).await {
            Ok(start) => judge(&address, &start, site),
            Err(error) => unread(&address, format!("{error:#}")),
        };
        images.push(image);
        findings.extend(found);
    }
    (images, findings)
}

fn finding(code: &'static str, message: String) -> Finding {
    Finding { place: "images", code, line: 0, message }
}

fn unread(address: &Uri, why: String) -> (Image, Vec<Finding>) {
    let found = finding("image_unread", format!("{address} could not be read: {why}"));
    let image = Image { address: address.to_string(), data_mining: Vec::new(), is_cut: false, unread: Some(why) };
    (image, vec![found])
}

/// What one image says, and what of that the site says otherwise.
fn judge(address: &Uri, start: &Document, site: &Site<'_>) -> (Image, Vec<Finding>) {
    if let Some(why) = refusal(start) {
        return unread(address, why);
    }
    let reading = image::read(&start.body);
    let is_silent = reading.values.is_empty() && reading.unknown.is_empty();
    if is_silent && reading.is_cut {
        return unread(address, "its XMP does not end in what was read".to_owned());
    }
    let says = site.says(&start.address, &start.headers);
    let mut findings = Vec::new();
    for value in &reading.values {
        findings.extend(contradictions(*value, &says).map(|(code, what)| finding(code, format!("{address}: {what}"))));
    }
    let unknown: Vec<String> = reading.unknown.iter().map(|value| clean(value)).collect();
    findings.extend(unknown.iter().map(|value| {
        let message = format!("{address}: its XMP says `{value}`, which is no value of Data Mining: it says nothing");
        finding("image_bad_value", message)
    }));
    let terms = reading.values.iter().map(|value| value.term().to_owned());
    let image = Image {
        address: address.to_string(),
        data_mining: terms.chain(unknown).collect(),
        is_cut: length(start).map_or(start.body.len() >= START, |length| (start.body.len() as u64) < length),
        unread: None,
    };
    (image, findings)
}

/// Why an answer is no image that can be read.
fn refusal(start: &Document) -> Option<String> {
    let text = |name: header::HeaderName| start.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let (media, coding) = (text(header::CONTENT_TYPE).to_ascii_lowercase(), text(header::CONTENT_ENCODING));
    if !matches!(start.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Some(start.status.to_string());
    }
    if start.status == StatusCode::PARTIAL_CONTENT && range(start).is_none_or(|(first, _)| first != "0") {
        return Some("its answer does not begin with its first byte".to_owned());
    }
    if media.starts_with(b"text/") {
        return Some(format!("it is `{}`", String::from_utf8_lossy(&media)));
    }
    let is_coded = !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
    is_coded.then(|| format!("it comes in `{}`, which was not asked for", String::from_utf8_lossy(coding)))
}

/// First byte and whole length of a part (RFC 9110 §14.4).
fn range(start: &Document) -> Option<(&str, &str)> {
    let (unit, part) = start.headers.get(header::CONTENT_RANGE)?.to_str().ok()?.trim().split_once(' ')?;
    let (bounds, length) = part.split_once('/').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    Some((bounds.split_once('-')?.0, length))
}

/// Bytes of the whole image, where its answer tells.
fn length(start: &Document) -> Option<u64> {
    let whole = || start.headers.get(header::CONTENT_LENGTH)?.to_str().ok();
    let length = if start.status == StatusCode::PARTIAL_CONTENT { Some(range(start)?.1) } else { whole() };
    length?.parse().ok()
}

/// Where a value and the site say different things: a code, and that in words.
fn contradictions(value: DataMining, says: &[(&'static str, Uses)]) -> impl Iterator<Item = (&'static str, String)> {
    let all = says.iter().fold(Uses::default(), |all, (_, uses)| all.stricter(*uses));
    let mut found: Vec<(Use, bool, &'static str, String)> = Vec::new();
    for (of, word, allows, forbids) in USES {
        let (code, image, site) = match (value.uses().get(of), all.get(of)) {
            (Pref::Allow, Pref::Deny) => (allows, "allows", "refused"),
            (Pref::Deny, Pref::Allow) => (forbids, "forbids", "allowed"),
            _ => continue,
        };
        let place = says.iter().find(|(_, uses)| uses.get(of) == all.get(of)).map_or("the site", |(place, _)| *place);
        let message = format!("its XMP says {}, which {image} {word}; that is {site} by {place}", value.term());
        found.push((of, code == allows, code, message));
    }
    // Mining and input say the same of the image once more.
    found.dedup_by_key(|(of, is_looser, ..)| (*of == Use::Search, *is_looser));
    found.into_iter().map(|(_, _, code, message)| (code, message))
}

/// Addresses of images that a page names, each once: those of its own host first, else in the order of the page.
fn named(address: &Uri, page: &[u8], most: usize) -> Vec<Uri> {
    let found = Mutex::new((address.clone(), false, Vec::<Uri>::new(), HashSet::new()));
    let tag = lol_html::element!("img, source[srcset], meta[content], base[href]", |element| {
        let attribute = |name| element.get_attribute(name).unwrap_or_default().replace("&amp;", "&");
        let Ok(mut found) = found.lock() else { return Ok(()) };
        let (base, based, images, known) = &mut *found;
        let names = match element.tag_name().as_str() {
            "base" => {
                if let Some(to) = join(base, &attribute("href")).filter(|_| !*based) {
                    (*base, *based) = (to, true);
                }
                return Ok(());
            }
            "meta" if [attribute("property"), attribute("name")].iter().any(|name| is_picture(name)) => {
                vec![attribute("content")]
            }
            "meta" => return Ok(()),
            "img" => vec![largest(&attribute("srcset")).to_owned(), attribute("src")],
            _ => vec![largest(&attribute("srcset")).to_owned()],
        };
        for name in names.iter().map(|name| name.trim().replace(' ', "%20")).filter(|name| !name.is_empty()) {
            if let Some(to) = join(base, &name).filter(|to| images.len() < MAX_NAMED && known.insert(to.clone())) {
                images.push(to);
            }
        }
        Ok(())
    });
    let settings = lol_html::Settings::new().append_element_content_handler(tag);
    let mut reader = lol_html::HtmlRewriter::new(settings, |_: &[u8]| {});
    // What cannot be read to its end has told what it could.
    let _ = reader.write(page).and_then(|()| reader.end());
    let (_, _, mut images, _) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    images.sort_by_key(|image| image.authority() != address.authority());
    images.truncate(most);
    images
}

/// The Open Graph protocol's name for the image of a page.
fn is_picture(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("og:image")
}

/// The address of the largest candidate in a `srcset` (HTML Living Standard, "parse a srcset attribute"); empty: none.
fn largest(srcset: &str) -> &str {
    let (mut rest, mut best, mut size) = (srcset, "", -1.0);
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return best;
        }
        let (address, behind) = rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len()));
        let bare = address.trim_end_matches(',');
        // A comma at its end is none of its own, and ends the candidate.
        let (descriptor, next) =
            if bare.len() < address.len() { ("", behind) } else { behind.split_once(',').unwrap_or((behind, "")) };
        rest = next;
        let of =
            descriptor.split_ascii_whitespace().find_map(|part| part.strip_suffix(['w', 'x'])?.parse::<f64>().ok());
        let of = of.unwrap_or(1.0);
        if of > size {
            (best, size) = (bare, of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://news.example/a/b";

    fn document(address: &str, fields: &[(&'static str, &'static str)], body: &[u8]) -> Document {
        let headers = fields
            .iter()
            .map(|&(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Document {
            address: address.parse().unwrap(),
            status: StatusCode::OK,
            headers,
            body: Bytes::copy_from_slice(body),
        }
    }

    fn packet(value: &str) -> Vec<u8> {
        format!(
            "\u{1}<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description \
             xmlns:plus='http://ns.useplus.org/ldf/xmp/1.0/' plus:DataMining='{value}'/></rdf:RDF>"
        )
        .into_bytes()
    }

    #[test]
    fn a_page_names_its_images() {
        let page = b"<head><meta name=x content=/no.jpg><meta property='og:image' content='https://cdn.example/og.jpg?a&amp;b'>\
            <base href='/static/'><body><img src=a.jpg srcset='a-1.jpg 400w, a-2.jpg 1200w, a-3.jpg 800w'>\
            <img src='my photo.png'><img src=a.jpg#x><img src='data:image/gif;base64,AAAA'><img src=''>\
            <picture><source srcset='//cdn.example/p.webp, /p2.webp 2x'><img src=/p.jpg></picture>\
            <video><source src=/v.mp4></video><img alt=none><img src='http://['>";
        let base: Uri = PAGE.parse().unwrap();
        let names = |most| named(&base, page, most).iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = [
            "https://news.example/static/a-2.jpg",
            "https://news.example/static/a.jpg",
            "https://news.example/static/my%20photo.png",
            "https://news.example/p2.webp",
            "https://news.example/p.jpg",
            "https://cdn.example/og.jpg?a&b",
        ];
        assert_eq!(names(50), all);
        assert_eq!(names(2), all[..2]);
        let many: String = (0..5_000).map(|n| format!("<img src=/{n}.jpg>")).collect();
        assert_eq!(named(&base, many.as_bytes(), usize::MAX).len(), MAX_NAMED);
    }

    #[test]
    fn the_largest_of_a_set() {
        for (set, expect) in [
            ("", ""),
            (" , ,", ""),
            ("a.jpg", "a.jpg"),
            ("a.jpg, b.jpg 2x", "b.jpg"),
            ("a.jpg 1x,b.jpg 1.5x,c.jpg 0.5x", "b.jpg"),
            ("w_300,h_2/a.jpg 300w, w_900,h_6/a.jpg 900w 5h", "w_900,h_6/a.jpg"),
            ("data:image/gif;base64,AA 1x, b.jpg 2x", "b.jpg"),
            ("a.jpg NaNw, b.jpg xx, c.jpg 0.5x", "b.jpg"),
            ("a.jpg,\tb.jpg", "a.jpg"),
        ] {
            assert_eq!(largest(set), expect, "{set}");
        }
    }

    #[test]
    fn every_value_against_every_statement() {
        let codes = |value: DataMining, said: &[(Use, Pref)]| {
            let mut uses = Uses::default();
            for (of, pref) in said {
                uses.set(*of, *pref);
            }
            contradictions(value, &[("here", uses)]).map(|(code, _)| code).collect::<Vec<_>>()
        };
        use DataMining::{Allowed, Prohibited, ProhibitedExceptSearch, ProhibitedGenerative, ProhibitedTraining};
        use Pref::{Allow, Deny};
        use Use::{AiInput, AiTrain, Search, Tdm};
        #[rustfmt::skip]
        let table: [(DataMining, &[(Use, Pref)], &[&str]); 13] = [
            (Allowed, &[], &[]),
            (Allowed, &[(AiTrain, Allow), (Search, Allow)], &[]),
            (Allowed, &[(AiTrain, Deny), (Tdm, Deny), (AiInput, Deny)], &["image_allows_training"]),
            (Allowed, &[(AiTrain, Deny), (Search, Deny)], &["image_allows_training", "image_allows_search"]),
            (Allowed, &[(Tdm, Deny)], &["image_allows_mining"]),
            (Allowed, &[(AiInput, Deny)], &["image_allows_input"]),
            (ProhibitedTraining, &[(AiTrain, Deny), (Tdm, Deny), (Search, Allow), (AiInput, Allow)], &[]),
            (ProhibitedGenerative, &[(AiTrain, Allow)], &["image_forbids_training"]),
            (ProhibitedTraining, &[(Tdm, Allow)], &["image_forbids_mining"]),
            (Prohibited, &[(AiTrain, Deny), (Search, Allow)], &["image_forbids_search"]),
            (Prohibited, &[(AiInput, Allow)], &["image_forbids_input"]),
            (ProhibitedExceptSearch, &[(AiTrain, Allow), (Search, Deny)], &["image_forbids_training", "image_allows_search"]),
            (DataMining::ProhibitedSeeConstraint, &[(Search, Allow), (AiTrain, Deny)], &[]),
        ];
        for (value, said, expect) in table {
            assert_eq!(codes(value, said), expect, "{value:?} {said:?}");
        }
        for of in Use::ALL {
            assert_eq!(codes(DataMining::Unspecified, &[(of, Deny)]), [""; 0]);
            assert_eq!(codes(DataMining::Unspecified, &[(of, Allow)]), [""; 0]);
        }
    }

    #[test]
    fn what_the_site_says_is_found_wherever_it_stands() {
        let silent = || Policy::new(&crate::rights::Settings::default()).unwrap();
        let stated: crate::rights::Settings = toml::from_str("uses = { ai_train = 'deny' }").unwrap();
        let page = document(PAGE, &[], b"");
        let noisy = document(PAGE, &[("x-robots-tag", "noimageai")], b"");
        let robots =
            document("https://news.example/robots.txt", &[], b"User-agent: *\nContent-Signal: ai-train=no\nAllow: /");
        let tdmrep = document("https://news.example/x", &[], br#"[{"location":"/a/","tdm-reservation":1}]"#);
        let own = "https://news.example/a/i.jpg";
        let other = "https://cdn.example/a/i.jpg";
        let table: [(Site<'_>, &str, &[(&'static str, &'static str)], &[&str]); 10] = [
            (Site::new(silent(), &page, None, None), own, &[], &[]),
            (Site::new(Policy::new(&stated).unwrap(), &page, None, None), own, &[], &["image_allows_training"]),
            (Site::new(Policy::new(&stated).unwrap(), &page, None, None), other, &[], &[]),
            (Site::new(silent(), &page, Some(&robots), None), own, &[], &["image_allows_training"]),
            (Site::new(silent(), &page, Some(&robots), None), other, &[], &[]),
            (Site::new(silent(), &page, None, Some(&tdmrep)), own, &[], &["image_allows_mining"]),
            (Site::new(silent(), &page, None, Some(&tdmrep)), own, &[("tdm-reservation", "0")], &[]),
            (Site::new(silent(), &noisy, None, None), other, &[], &["image_allows_training"]),
            (
                Site::new(silent(), &page, None, None),
                other,
                &[("content-usage", "train-ai=n")],
                &["image_allows_training"],
            ),
            (Site::new(silent(), &page, None, None), other, &[("x-robots-tag", "noindex")], &["image_allows_search"]),
        ];
        for (site, address, fields, expect) in table {
            let start = document(address, fields, &packet("DMI-ALLOWED"));
            let (image, findings) = judge(&start.address, &start, &site);
            let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
            assert_eq!(codes, expect, "{address} {fields:?}");
            assert_eq!((image.data_mining, image.unread), (vec!["DMI-ALLOWED".to_owned()], None));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let (page, sound) = (document(PAGE, &[], b""), packet("DMI-PROHIBITED"));
        let site = Site::new(Policy::new(&crate::rights::Settings::default()).unwrap(), &page, None, None);
        let codes = |start: &Document| {
            let (image, findings) = judge(&start.address, start, &site);
            let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
            (codes, image.unread.is_some(), image.data_mining)
        };
        let terms = |terms: &[&str]| terms.iter().map(|term| (*term).to_owned()).collect::<Vec<_>>();
        let part = |range: &'static str| Document {
            status: StatusCode::PARTIAL_CONTENT,
            ..document(PAGE, &[("content-type", "image/jpeg"), ("content-range", range)], &sound)
        };
        assert_eq!(codes(&part("bytes 0-999/1000")), (vec![], false, terms(&["DMI-PROHIBITED"])));
        for (range, is_cut) in [("Bytes 0-99/100", false), ("bytes 0-99/900000", true), ("bytes 0-99/*", false)] {
            let start = part(range);
            assert_eq!(judge(&start.address, &start, &site).0.is_cut, is_cut, "{range}");
        }
        let gone = Document { status: StatusCode::NOT_FOUND, ..document(PAGE, &[], &sound) };
        let unread = (vec!["image_unread"], true, vec![]);
        assert_eq!(codes(&part("bytes 5-999/1000")), unread);
        assert_eq!(codes(&gone), unread);
        assert_eq!(codes(&document(PAGE, &[("content-type", "Text/HTML")], &sound)), unread);
        assert_eq!(codes(&document(PAGE, &[("content-encoding", "gzip")], &sound)), unread);
        assert_eq!(codes(&document(PAGE, &[], &sound[..sound.len() - 5])), (vec![], false, terms(&["DMI-PROHIBITED"])));
        assert_eq!(codes(&document(PAGE, &[], &sound[..60])), unread, "its XMP is cut off");
        assert_eq!(codes(&document(PAGE, &[], b"GIF89a")), (vec![], false, vec![]));
        let bad = packet("DMI-\n0 to look at");
        assert_eq!(codes(&document(PAGE, &[], &bad)), (vec!["image_bad_value"], false, terms(&["DMI-?0 to look at"])));
    }
}
