//! robots.txt over time: which version was served when, and what stands in for it while the site is down.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::support::{Deckle, get, hits};
use crate::wire::{CLIENT, site};

#[test]
fn versions_are_kept_and_the_last_good_one_stands_in() {
    let status = Arc::new(AtomicU16::new(0));
    let mode = Arc::clone(&status);
    let url = site(move |_, stream| {
        let (status, body) = match mode.load(Ordering::SeqCst) {
            0 => ("200 OK", "User-agent: *\nDisallow: /admin\n"),
            1 => ("200 OK", "User-agent: *\nDisallow: /other\n"),
            _ => ("503 Service Unavailable", "later"),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    for (config, says) in [("", false), ("[rights]\nuses = { ai_train = \"deny\" }\n", true)] {
        status.store(2, Ordering::SeqCst);
        let deckle = Deckle::with_config(config, &["--upstream", &url]);
        let ask = || get(CLIENT, deckle.address, "/robots.txt", "");
        assert_eq!(ask().status, 503, "nothing was ever good: nobody is freed");
        let mut texts = Vec::new();
        for mode in [0, 0, 1, 2] {
            status.store(mode, Ordering::SeqCst);
            let answer = ask();
            assert_eq!(answer.status, 200, "{mode}");
            texts.push(answer.body);
        }
        assert_eq!((&texts[0], &texts[2]), (&texts[1], &texts[3]));
        let text = String::from_utf8(texts[3].clone()).unwrap();
        assert_eq!((text.contains("/other"), text.contains("train-ai=n")), (true, says), "{text}");
        assert_eq!(ask().headers["cache-control"], "max-age=60", "not longer than it must");

        let (lines, log) = deckle.stop();
        let version = |text: &[u8]| HEXLOWER.encode(&Sha256::digest(text)[..6]);
        let told: Vec<_> = hits(&lines).into_iter().filter_map(|l| l["deckle.robots.version"].as_str()).collect();
        let (first, second) = (version(&texts[0]), version(&texts[2]));
        assert_eq!(told, [&first, &first, &second, &second, &second]);
        let kept: Vec<_> = lines.iter().filter(|l| l["deckle.kind"] == "robots").collect();
        assert_eq!(kept.len(), 2, "one line a change");
        assert_eq!(BASE64.decode(kept[1]["text"].as_str().unwrap().as_bytes()).unwrap(), texts[2]);
        let file = |name: String| std::fs::read(log.path().join("log/robots").join(name)).unwrap();
        assert_eq!((file(format!("{first}.txt")), file(format!("{second}.txt"))), (texts[0].clone(), texts[2].clone()));
        assert_eq!(String::from_utf8(file("history.ndjson".to_owned())).unwrap().lines().count(), 2);
    }
}
