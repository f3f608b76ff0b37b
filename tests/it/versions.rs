//! Where the versions of HTTP differ: HTTP/1.0 on either side, HTTP/2 in front (RFC 9110 §7.6.3, RFC 9112 §2.3, §9.3).

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Deckle, PATIENCE, get};
use crate::wire::{CLIENT, site, status, talk, until};

/// hyper sends no body without a length where a connection has answered over HTTP/1.0.
#[test]
fn an_upload_without_a_length_reaches_a_site_that_keeps_connections_over_http_1_0() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let mut head = head.to_owned();
        while head.ends_with("\r\n\r\n") {
            let chunked = head.to_ascii_lowercase().contains("chunked");
            let _ = tell.send((head, if chunked { until(stream, "0\r\n\r\n") } else { String::new() }));
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
            head = until(stream, "\r\n\r\n");
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for body in ["5\r\nfirst\r\n0\r\n\r\n", "6\r\nsecond\r\n0\r\n\r\n"] {
        assert_eq!(get(CLIENT, deckle.address, "/a", "").body, b"ok");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().1, "");
        let upload = format!("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(status(&until(&mut talk(&deckle, &upload), "ok")), "200");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().1, body);
    }
}

/// Where a head is the whole answer, no close is needed to end it.
#[test]
fn a_304_keeps_the_connection_of_http_1_0() {
    let url = site(|head, stream| {
        let answer = if head.contains(" /same ") {
            "304 Not Modified\r\nETag: \"v1\"\r\nContent-Type: text/html\r\n"
        } else {
            "200 OK\r\nContent-Type: text/html\r\n"
        };
        let _ = stream.write_all(format!("HTTP/1.1 {answer}Connection: close\r\n\r\n").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |question: &str| {
        format!("{question} HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nIf-None-Match: \"v1\"\r\n\r\n")
    };
    let mut stream = talk(&deckle, &ask("GET /same"));
    for question in ["HEAD /page", "GET /same", "GET /same"] {
        let answer = until(&mut stream, "\r\n\r\n");
        assert!(answer.to_ascii_lowercase().contains("connection: keep-alive"), "before {question}: {answer}");
        stream.write_all(ask(question).as_bytes()).unwrap();
    }
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "304");
}

#[test]
fn a_client_of_http_1_0_that_says_no_more_gets_no_clean_end_of_half_a_page() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let url = site(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nfirst");
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let mut stream = talk(&deckle, "GET /a HTTP/1.0\r\nHost: x\r\n\r\n");
    assert!(until(&mut stream, "first").ends_with("first"));
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset));
    drop(go);
}

/// A body that does not tell its length.
struct Unmeasured(Option<Bytes>);

impl Body for Unmeasured {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn over_http_2_a_body_without_a_length_goes_on_whatever_the_method() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let _ = tell.send((head.to_ascii_lowercase(), until(stream, "0\r\n\r\n")));
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let stream = tokio::net::TcpStream::connect(deckle.address).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for method in ["GET", "POST"] {
        let body = Unmeasured(Some(Bytes::from_static(b"query")));
        let request = Request::builder().method(method).uri("http://news.example/search").body(body).unwrap();
        let answer = client.send_request(request).await.unwrap();
        let (head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((answer.status().as_u16(), body.as_str()), (200, "5\r\nquery\r\n0\r\n\r\n"), "{method}: {head}");
        let hop =
            answer.headers()["via"].to_str().unwrap().strip_prefix("1.0 ").expect("what the site speaks").to_owned();
        assert!(head.contains(&format!("\r\nvia: 2.0 {hop}\r\n")), "what the client speaks: {head}");
    }
}
