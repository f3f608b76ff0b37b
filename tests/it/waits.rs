//! What the proxy waits for, and connections that are kept, left or lost (RFC 9110, RFC 9112).

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::support::{Deckle, PATIENCE, get};
use crate::wire::{CLIENT, FILE, UPGRADE, rest, site, status, talk, until, whole};

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed_on_both_sides() {
    let (tell, told) = mpsc::channel();
    let url = site(move |_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let _ = stream.write_all(head);
        let message = until(stream, "ping");
        let _ = stream.write_all(message.as_bytes());
        let _ = tell.send(rest(stream));
    });
    let config = "[proxy.timeouts]\nupgrade_idle = \"500ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let mut stream = talk(&deckle, &format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\n{UPGRADE}\r\n"));
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "101");
    stream.write_all(b"ping").unwrap();
    assert_eq!(until(&mut stream, "ping"), "ping");
    assert_eq!((rest(&mut stream), told.recv_timeout(PATIENCE).unwrap()), (String::new(), String::new()));
}

#[test]
fn uploads_are_counted_and_not_collected() {
    let (tell, told) = mpsc::channel();
    let url = site(move |_, stream| {
        if until(stream, "first").ends_with("first") {
            let _ = tell.send(());
            if until(stream, "-last").ends_with("-last") {
                let _ = stream.write_all(FILE);
            }
        }
    });
    let deckle = Deckle::with_config("[proxy]\nmax_request_body = \"1KiB\"\n", &["--upstream", &url]);
    let post = |framing: &str| format!("POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n");
    let mut stream = talk(&deckle, &(post("Content-Length: 10") + "first"));
    told.recv_timeout(PATIENCE).expect("the site has the first half before the second is sent");
    stream.write_all(b"-last").unwrap();
    assert_eq!(status(&rest(&mut stream)), "200");
    // Without a length it is too large when so much has come, and not before.
    let mut stream = talk(&deckle, &(post("Transfer-Encoding: chunked") + "5\r\nfirst\r\n"));
    told.recv_timeout(PATIENCE).unwrap();
    stream.write_all(format!("7d0\r\n{}\r\n", "u".repeat(2_000)).as_bytes()).unwrap();
    assert_eq!(status(&rest(&mut stream)), "413");
}

#[test]
fn a_kept_connection_is_closed_when_nothing_more_is_asked() {
    let deckle = Deckle::with_config("[proxy.timeouts]\nkeep_alive = \"1s\"\n", &[]);
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = talk(&deckle, request);
    assert_eq!(status(&until(&mut stream, "\r\n0\r\n\r\n")), "200");
    stream.write_all(request.as_bytes()).unwrap();
    let last = rest(&mut stream);
    assert!(status(&last) == "200" && last.ends_with("\r\n0\r\n\r\n"), "one answer, and then nothing: {last}");
}

#[test]
fn a_connection_that_does_not_come_about_is_a_502() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Nobody accepts: when the queue is full, the next connection hangs.
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let held: Vec<TcpStream> = std::iter::from_fn(connect).take(64).collect();
    if held.len() == 64 {
        eprintln!("skipped: the queue of a listener has no end here");
        return;
    }
    let config = "[proxy.timeouts]\nconnect = \"300ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &format!("http://{address}")]);
    assert_eq!(get(CLIENT, deckle.address, "/a", "").status, 502);
}

#[test]
fn an_upload_that_pauses_breaks_off() {
    let (tell, told) = mpsc::channel();
    let url = site(move |_, stream| {
        let _ = tell.send(rest(stream));
    });
    let config = "[proxy.timeouts]\nresponse_idle = \"500ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let request = "POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\nfirst";
    let answer = whole(&deckle, request);
    assert_eq!(status(&answer), "408", "{answer}");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "first", "five of ten bytes: no clean end");
}

#[test]
fn event_streams_may_pause_longer_than_other_bodies() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let url = site(move |head, stream| {
        let events = head.contains(" /events ");
        let kind = if events { "text/event-stream" } else { "text/plain" };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\ndata: one\n\n").as_bytes());
        if events && wait.lock().unwrap().recv_timeout(PATIENCE).is_ok() {
            let _ = stream.write_all(b"data: two\n\n");
        } else {
            rest(stream);
        }
    });
    let request = "GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let patient = Deckle::with_config("[proxy.timeouts]\nresponse_idle = \"300ms\"\n", &["--upstream", &url]);
    let mut stream = talk(&patient, request);
    until(&mut stream, "data: one\n\n");
    // Other bodies measure the time: each has paused for longer than it may.
    for _ in 0..2 {
        assert!(!get(CLIENT, patient.address, "/other", "").complete);
    }
    go.send(()).unwrap();
    let end = rest(&mut stream);
    assert!(end.contains("data: two\n\n") && end.ends_with("0\r\n\r\n"), "{end}");
    let hasty = Deckle::with_config("[proxy.timeouts]\nupgrade_idle = \"300ms\"\n", &["--upstream", &url]);
    let cut = whole(&hasty, request);
    assert!(cut.contains("data: one\n\n") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[test]
fn only_what_changes_nothing_is_sent_twice() {
    let (tell, told) = mpsc::channel();
    let lost = Arc::new(Mutex::new(Vec::new()));
    let memory = Arc::clone(&lost);
    let url = site(move |first, stream| {
        let mut head = first.to_owned();
        for before in 0.. {
            if head.contains(" /lost ") {
                // Read, and never answered.
                memory.lock().unwrap().push((head.starts_with("GET"), before));
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok");
            if head.contains(" /closed ") {
                let _ = stream.shutdown(Shutdown::Both);
                let _ = tell.send(());
                return;
            }
            head = until(stream, "\r\n\r\n");
            if head.is_empty() {
                return;
            }
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |method: &str, path: &str| {
        let fields = "Host: x\r\nContent-Length: 0\r\nConnection: close\r\n";
        status(&whole(&deckle, &format!("{method} {path} HTTP/1.1\r\n{fields}\r\n"))).to_owned()
    };
    for method in ["GET", "POST"].into_iter().cycle().take(20) {
        assert_eq!((ask("GET", "/kept").as_str(), ask(method, "/lost").as_str()), ("200", "502"), "{method}");
    }
    let lost = lost.lock().unwrap().clone();
    let gets = lost.iter().filter(|(get, _)| *get).count();
    assert_eq!((gets, lost.len() - gets), (20, 10), "ten of each were asked");
    assert!(lost.iter().any(|(_, before)| *before > 0), "some over a connection that was kept: {lost:?}");
    // A kept connection that was closed meanwhile loses nothing.
    for _ in 0..10 {
        assert_eq!(ask("GET", "/closed"), "200");
        told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(ask("POST", "/kept"), "200");
    }
}

#[test]
fn when_the_client_leaves_the_site_is_told() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        if head.contains(" /during ") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst";
            let _ = stream.write_all(head.as_bytes());
        }
        let _ = tell.send("asked");
        rest(stream);
        let _ = tell.send("left");
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for path in ["/before", "/during"] {
        let mut stream = talk(&deckle, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"), "{path}");
        if path == "/during" {
            until(&mut stream, "first");
        }
        drop(stream);
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{path}");
    }
}
