//! One connection, one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Client {
    /// Asks for `path` in the content coding `coding`.
    pub(crate) fn new(stream: TcpStream, path: &str, coding: &str) -> Self {
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {FIREFOX}\r\nAccept: text/html\r\nAccept-Encoding: {coding}\r\n\r\n"
        );
        Self { stream: BufReader::with_capacity(64 << 10, stream), head }
    }

    /// The time of one exchange, and the bytes of its body. Whatever is not status 200 ends the bench.
    #[allow(clippy::disallowed_methods)] // Benches are the place that measures real time.
    pub(crate) fn get(&mut self) -> (Duration, u64) {
        let start = Instant::now();
        self.stream.get_mut().write_all(self.head.as_bytes()).unwrap();
        let (mut length, mut line) = (None, String::new());
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse::<u64>().ok();
            }
        }
        let mut bytes = length.unwrap_or_default();
        match length {
            Some(length) => self.skip(length),
            None => loop {
                line.clear();
                self.stream.read_line(&mut line).unwrap();
                let size = u64::from_str_radix(line.trim(), 16).unwrap();
                self.skip(size + 2);
                bytes += size;
                if size == 0 {
                    break;
                }
            },
        }
        (start.elapsed(), bytes)
    }

    fn skip(&mut self, bytes: u64) {
        let read = std::io::copy(&mut Read::by_ref(&mut self.stream).take(bytes), &mut std::io::sink()).unwrap();
        assert_eq!(read, bytes, "the body ends early");
    }
}
