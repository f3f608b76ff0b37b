//! `deckle check --images`: images of a page over real sockets, from servers that know ranges and from some that do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Seen, TempDir, Upstream};

/// Bytes that are asked for.
const START: usize = 256 << 10;

fn check(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle")).arg("check").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

fn report(arguments: &[&str]) -> (i32, Value) {
    let (code, out, error) = check(&[&["--json"], arguments].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}")))
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// A JPEG whose XMP says this of data mining; behind it comes as much of a picture as is wanted.
fn jpeg(term: &str, length: usize) -> Vec<u8> {
    let packet = format!(
        "http://ns.adobe.com/xap/1.0/\0<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>\
         <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description xmlns:p='http://ns.useplus.org/ldf/xmp/1.0/'>\
         <p:DataMining>http://ns.useplus.org/ldf/vocab/{term}</p:DataMining></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    );
    let size = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
    let mut image = [&b"\xFF\xD8\xFF\xE1"[..], &size, packet.as_bytes(), b"\xFF\xDA"].concat();
    image.resize(length.max(image.len()), 0x55);
    image
}

fn answer(stream: &mut TcpStream, status: &str, fields: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Sends the range that was asked for.
fn answer_range(seen: &Seen, stream: &mut TcpStream, image: &[u8]) {
    let last: usize = seen.headers["range"].strip_prefix("bytes=0-").unwrap().parse().unwrap();
    let part = &image[..image.len().min(last + 1)];
    let range = format!("Content-Type: image/jpeg\r\nContent-Range: bytes 0-{}/{}\r\n", part.len() - 1, image.len());
    answer(stream, "206 Partial Content", &range, part);
}

/// Knows no ranges, sends a little more than is wanted, and then nothing until the client has gone.
fn answer_without_end(stream: &mut TcpStream, image: &[u8]) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 1000000000\r\n\r\n";
    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(image)).is_ok() {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn site(page: String) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen_by = Arc::clone(&asked);
    let upstream = Upstream::start(move |seen, stream| {
        seen_by.lock().unwrap().push(seen.target.clone());
        match seen.target.as_str() {
            "/a" => answer(stream, "200 OK", "Content-Type: text/html; charset=utf-8\r\n", page.as_bytes()),
            "/known.jpg" => answer_range(seen, stream, &jpeg("DMI-ALLOWED", 3 * START)),
            "/endless.jpg" => answer_without_end(stream, &jpeg("DMI-PROHIBITED", START + 5_000)),
            "/same.jpg" => answer_range(seen, stream, &jpeg("DMI-PROHIBITED-AIMLTRAINING", 0)),
            "/bad.jpg" => answer_range(seen, stream, &jpeg("DMI-NONE", 0)),
            "/silent.gif" => answer(stream, "200 OK", "Content-Type: image/gif\r\n", b"GIF89a"),
            "/late.jpg" => {
                let image = [vec![0x55; START], jpeg("DMI-ALLOWED", 0)].concat();
                answer(stream, "200 OK", "Content-Type: image/jpeg\r\n", &image);
            }
            "/moved.jpg" => answer(stream, "302 Found", "Location: /known.jpg\r\n", b""),
            _ => answer(stream, "404 Not Found", "Content-Type: text/html\r\n", b"<p>nothing</p>"),
        }
    });
    (upstream, asked)
}

fn page(images: &[&str]) -> String {
    let images: String = images.iter().map(|image| format!("<img src=\"{image}\" alt=\"\">")).collect();
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>t</title></head><body>{images}</body></html>"
    )
}

fn stated() -> (TempDir, String) {
    let dir = TempDir::new();
    let file = dir.path().join("deckle.toml");
    std::fs::write(&file, "[rights]\nuses = { search = \"allow\", ai_train = \"deny\" }\n").unwrap();
    let name = file.display().to_string();
    (dir, name)
}

#[test]
fn images_that_contradict_the_site_are_told() {
    let (_dir, config) = stated();
    let names = ["/known.jpg", "/endless.jpg", "/same.jpg", "/bad.jpg", "/silent.gif", "/late.jpg", "/gone.jpg"];
    let (site, _) = site(page(&names));
    let url = format!("{}/a", site.url());
    let (code, report) = report(&["--images", "50", "--config", &config, &url]);
    assert_eq!(code, 1, "{report}");
    assert_eq!(
        codes(&report),
        ["image_allows_training", "image_forbids_search", "image_bad_value", "image_unread"],
        "{report}"
    );
    let images = report["images"].as_array().unwrap();
    let told: Vec<(String, String, bool)> = images
        .iter()
        .map(|image| {
            let terms: Vec<&str> = image["data_mining"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let address = image["address"].as_str().unwrap().strip_prefix(&site.url()).unwrap().to_owned();
            (address, terms.join(" "), image["is_cut"].as_bool().unwrap())
        })
        .collect();
    let expect = [
        ("/known.jpg", "DMI-ALLOWED", true),
        ("/endless.jpg", "DMI-PROHIBITED", true),
        ("/same.jpg", "DMI-PROHIBITED-AIMLTRAINING", false),
        ("/bad.jpg", "http://ns.useplus.org/ldf/vocab/DMI-NONE", false),
        ("/silent.gif", "", false),
        ("/late.jpg", "", true),
        ("/gone.jpg", "", false),
    ];
    assert_eq!(told, expect.map(|(address, terms, is_cut)| (address.to_owned(), terms.to_owned(), is_cut)));
    assert!(images[6]["unread"].as_str().unwrap().contains("404"), "{report}");

    let (code, text, _) = check(&["--images", "50", "--config", &config, &url]);
    assert_eq!(code, 1);
    for part in [
        "What its images say of data mining",
        "/endless.jpg\n    DMI-PROHIBITED\n",
        "/silent.gif\n    nothing\n",
        "/late.jpg\n    nothing in the first 256 KiB\n",
        "/gone.jpg\n    not read: 404 Not Found\n",
        "images image_allows_training\n",
        "refused by [rights] of the configuration",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn images_that_agree_are_nothing_to_look_at() {
    let (_dir, config) = stated();
    let (site, _) = site(page(&["/same.jpg", "/silent.gif"]));
    let url = format!("{}/a", site.url());
    let (code, text, _) = check(&["--images", "2", "--config", &config, &url]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("DMI-PROHIBITED-AIMLTRAINING") && text.contains("Nothing to mend"), "{text}");
}

#[test]
fn no_more_images_are_read_than_were_asked_for_and_those_of_the_site_first() {
    let (_dir, config) = stated();
    let (other, asked_of_other) = site(String::new());
    let far = format!("{}/known.jpg", other.url());
    let (site, asked) = site(page(&[&far, "/moved.jpg", "/same.jpg", "/moved.jpg#again"]));
    let url = format!("{}/a", site.url());
    let images = || asked.lock().unwrap().drain(..).filter(|path| path.ends_with(".jpg")).collect::<Vec<_>>();

    let (code, without) = report(&["--config", &config, &url]);
    assert_eq!((code, without.get("images"), images()), (0, None, vec![]), "{without}");

    let (code, one) = report(&["--images", "1", "--config", &config, &url]);
    assert_eq!((code, codes(&one)), (1, vec!["image_allows_training"]), "{one}");
    assert_eq!(images(), ["/moved.jpg", "/known.jpg"], "behind the redirect");
    assert!(asked_of_other.lock().unwrap().is_empty());

    // What the configuration says of the site says nothing of other hosts.
    let (code, all) = report(&["--images", "50", "--config", &config, &url]);
    assert_eq!((code, codes(&all)), (1, vec!["image_allows_training"]), "{all}");
    assert_eq!(all["images"].as_array().unwrap().len(), 3, "{all}");
    assert_eq!(*asked_of_other.lock().unwrap(), ["/known.jpg"]);
}

#[test]
fn images_of_what_is_no_address_are_a_mistake() {
    let dir = TempDir::new();
    let file = dir.path().join("saved.html");
    std::fs::write(&file, page(&["/a.jpg"])).unwrap();
    let (code, _, error) = check(&["--images", "1", file.to_str().unwrap()]);
    assert!(code == 2 && error.contains("--images needs an address"), "{error}");
    let (code, _, error) = check(&["--images", "51", "http://127.0.0.1:1/"]);
    assert!(code == 2 && error.contains("51"), "{error}");
    let (code, _, error) = check(&["--images", "1", "--learn", "http://127.0.0.1:1/"]);
    assert!(code == 2 && error.contains("--learn"), "{error}");
}
