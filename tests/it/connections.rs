//! Who may have how many connections, and for how long: clients, one address, and deckle itself with the site.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Mutex, mpsc};

use crate::admin::Program;
use crate::proxy::wait_until;
use crate::support::{Deckle, PATIENCE, get, request_from};
use crate::wire::{FILE, UPGRADE, rest, site, status, until};

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 31);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 32);
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A page of the demo site, to its end.
fn is_answered(stream: &mut TcpStream) -> bool {
    status(&until(stream, "\r\n0\r\n\r\n")) == "200"
}

/// A connection on which one request was answered, and that is kept open.
fn kept(deckle: &Deckle, from: Ipv4Addr) -> TcpStream {
    let mut stream = request_from(from, deckle.address, REQUEST);
    assert!(is_answered(&mut stream));
    stream
}

#[test]
fn what_one_address_may_have_is_left_to_others() {
    let deckle = Deckle::with_config("[proxy]\nmax_connections_per_address = 2\n", &[]);
    let (first, mut second) = (kept(&deckle, HERE), kept(&deckle, HERE));
    for _ in 0..3 {
        assert_eq!(rest(&mut request_from(HERE, deckle.address, REQUEST)), "", "closed without an answer");
    }
    kept(&deckle, THERE);
    second.write_all(REQUEST.as_bytes()).unwrap();
    assert!(is_answered(&mut second), "those that are open go on");
    drop(first);
    let last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    wait_until(|| status(&rest(&mut request_from(HERE, deckle.address, last))) == "200");
}

#[test]
fn a_proxy_that_is_trusted_has_the_connections_of_all_readers() {
    let config = "[visitor]\ntrusted_proxies = [\"127.0.0.31\"]\n[proxy]\nmax_connections_per_address = 1\n";
    let deckle = Deckle::with_config(config, &[]);
    let _proxy = [kept(&deckle, HERE), kept(&deckle, HERE), kept(&deckle, HERE)];
    let _reader = kept(&deckle, THERE);
    assert_eq!(rest(&mut request_from(THERE, deckle.address, REQUEST)), "");
}

#[test]
fn an_address_with_too_many_connections_is_told_and_counted() {
    let program = Program::start(&[("DECKLE_PROXY__MAX_CONNECTIONS_PER_ADDRESS", "1")], &[]);
    let (admin, address) = (program.admin(), program.site());
    let mut first = request_from(HERE, address, REQUEST);
    assert!(is_answered(&mut first));
    for _ in 0..3 {
        assert_eq!(rest(&mut request_from(HERE, address, REQUEST)), "");
    }
    program.hears("One address has as many connections open as it may");
    let snapshot = get(THERE, admin, "/snapshot.json", "").body;
    let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
    assert_eq!(snapshot["refused_connections"], 3);
}

#[test]
fn as_many_requests_as_may_be_are_with_the_site_until_their_answers_are_over() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let url = site(move |head, stream| {
        let wait = || _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        if head.contains(" /other ") {
            let _ = stream.write_all(FILE);
        } else if head.contains(" /tunnel ") {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst";
            let _ = stream.write_all(head.as_bytes());
            rest(stream);
        } else if head.contains(" /before ") {
            let _ = tell.send(());
            wait();
            let _ = stream.write_all(FILE);
        } else {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst";
            let _ = stream.write_all(head.as_bytes());
            wait();
            let _ = stream.write_all(b"-last");
        }
    });
    let config = "[proxy]\nmax_upstream_connections = 1\n[proxy.timeouts]\nconnect = \"500ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let ask = |request: String| request_from(HERE, deckle.address, &request);
    let beyond = || get(THERE, deckle.address, "/other", "");
    let refused = |when: &str| {
        let answer = beyond();
        assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "30"), "{when}");
    };

    let mut before = ask("GET /before HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned());
    told.recv_timeout(PATIENCE).unwrap();
    refused("before the answer");
    go.send(()).unwrap();
    assert_eq!(status(&rest(&mut before)), "200");
    assert_eq!(beyond().status, 200);

    let mut during = ask("GET /during HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned());
    until(&mut during, "first");
    refused("in mid-body");
    go.send(()).unwrap();
    assert_eq!(rest(&mut during), "-last");
    assert_eq!(beyond().status, 200);

    let mut tunnel = ask(format!("GET /tunnel HTTP/1.1\r\nConnection: Upgrade\r\n{UPGRADE}\r\n"));
    until(&mut tunnel, "first");
    refused("while a tunnel is open");
    drop(tunnel);
    wait_until(|| beyond().status == 200);
}

#[test]
fn one_reader_leaves_places_with_the_site_to_others() {
    let url = site(|head, stream| {
        if head.contains(" /other ") {
            let _ = stream.write_all(FILE);
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst");
            rest(stream);
        }
    });
    let config = "[visitor]\ntrusted_proxies = [\"127.0.0.31\"]\n[proxy]\nmax_upstream_connections = 300\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let other = |reader: &str| get(HERE, deckle.address, "/other", &format!("X-Forwarded-For: {reader}\r\n"));
    let slow = || {
        let request = "GET /slow HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
        let mut stream = request_from(HERE, deckle.address, request);
        assert!(until(&mut stream, "first").ends_with("first"));
        stream
    };
    let mut held: Vec<TcpStream> = (0..256).map(|_| slow()).collect();
    let refused = other("203.0.113.9");
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "30"));
    assert_eq!((other("203.0.113.10").status, other("10.0.0.9").status), (200, 200));
    held.pop();
    wait_until(|| other("203.0.113.9").status == 200);
}

#[test]
fn an_upload_that_goes_on_after_its_answer_has_its_place() {
    let url = site(|head, stream| {
        if head.contains(" /other ") {
            let _ = stream.write_all(FILE);
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok");
            until(stream, "-last");
        }
    });
    let config = "[proxy]\nmax_upstream_connections = 1\n[proxy.timeouts]\nconnect = \"500ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let beyond = || get(THERE, deckle.address, "/other", "").status;
    let request = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst";
    let mut upload = request_from(HERE, deckle.address, request);
    assert!(until(&mut upload, "\r\n\r\nok").ends_with("ok"));
    assert_eq!(beyond(), 503);
    upload.write_all(b"-last").unwrap();
    wait_until(|| beyond() == 200);
}

#[test]
fn a_page_that_is_asked_for_again_as_a_whole_needs_no_second_place() {
    let url = site(|head, stream| {
        let part = head.to_ascii_lowercase().contains("\nrange:");
        let (status, body) = if part {
            ("206 Partial Content\r\nContent-Range: bytes 0-4/13", "<p>wh")
        } else {
            ("200 OK", "<p>whole</p>\n")
        };
        let fields = format!("Content-Type: text/html\r\nConnection: close\r\nContent-Length: {}", body.len());
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}").as_bytes());
    });
    let config = "[proxy]\nmax_upstream_connections = 1\n[proxy.timeouts]\nconnect = \"500ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let answer = get(HERE, deckle.address, "/story", "Range: bytes=0-4\r\n");
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("whole"));
}

#[test]
fn large_answers_arrive_whole_one_behind_the_other() {
    const LARGE: usize = 3 << 20;
    let url = site(|head, stream| {
        // Without a length the body ends with the connection.
        let length = if head.contains(" /told ") { format!("Content-Length: {LARGE}\r\n") } else { String::new() };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n{length}\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&vec![b'~'; LARGE]);
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n");
    let requests = [ask("/told", ""), ask("/untold", ""), ask("/told", ""), ask("/untold", "Connection: close\r\n")];
    let answers = rest(&mut request_from(HERE, deckle.address, &requests.concat()));
    assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), answers.matches('~').count()), (4, 4 * LARGE));
    assert!(answers.ends_with("~\r\n0\r\n\r\n"));
}

#[test]
fn a_head_has_its_time_and_a_kept_connection_another_one() {
    let deckle = Deckle::with_config("[proxy.timeouts]\nheader_read = \"500ms\"\n", &[]);
    let (mut idle, mut begun) = (kept(&deckle, HERE), kept(&deckle, HERE));
    begun.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
    assert_eq!(rest(&mut begun), "", "by `keep_alive` it would be open");
    // The other one has been quiet for longer than that.
    for pieces in [[REQUEST, ""], REQUEST.split_at(9).into()] {
        for piece in pieces {
            idle.write_all(piece.as_bytes()).unwrap();
        }
        assert!(is_answered(&mut idle));
    }
}

#[test]
fn in_a_tunnel_there_are_no_heads() {
    let url = site(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let _ = stream.write_all(head);
        for _ in 0..2 {
            let message = until(stream, "ping");
            let _ = stream.write_all(message.as_bytes());
        }
    });
    let deckle = Deckle::with_config("[proxy.timeouts]\nheader_read = \"500ms\"\n", &["--upstream", &url]);
    let request = format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\n{UPGRADE}\r\n");
    let mut stream = request_from(HERE, deckle.address, &request);
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "101");
    for round in 0..2 {
        stream.write_all(b"ping").unwrap();
        assert_eq!(until(&mut stream, "ping"), "ping", "{round}");
        // Measures the time for a head.
        rest(&mut request_from(HERE, deckle.address, "GET"));
    }
}

#[test]
fn where_places_run_low_kept_connections_make_room() {
    for most in [2, 20] {
        let deckle = Deckle::with_config(&format!("[proxy]\nmax_connections = {most}\n"), &[]);
        // All of them are kept, and nobody closes any.
        let mut held: Vec<TcpStream> = (0..most + 2).map(|_| kept(&deckle, HERE)).collect();
        let last = held.last_mut().unwrap();
        last.write_all(REQUEST.as_bytes()).unwrap();
        assert!(is_answered(last), "the longest wait leaves, and not the shortest");
        assert_eq!(rest(&mut held[0]), "");
    }
}
