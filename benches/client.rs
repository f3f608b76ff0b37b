//! One connection, one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(64 << 10, stream))
    }

    /// The time of one exchange.
    #[allow(clippy::disallowed_methods)] // Benches are the place that measures real time.
    pub(crate) fn get(&mut self) -> Duration {
        let head = format!("GET /an-article HTTP/1.1\r\nHost: x\r\nUser-Agent: {FIREFOX}\r\nAccept: text/html\r\n\r\n");
        let start = Instant::now();
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        let (mut length, mut line) = (None, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse::<u64>().ok();
            }
        }
        match length {
            Some(length) => self.skip(length),
            None => loop {
                line.clear();
                self.0.read_line(&mut line).unwrap();
                let size = u64::from_str_radix(line.trim(), 16).unwrap();
                self.skip(size + 2);
                if size == 0 {
                    break;
                }
            },
        }
        start.elapsed()
    }

    fn skip(&mut self, bytes: u64) {
        let read = std::io::copy(&mut Read::by_ref(&mut self.0).take(bytes), &mut std::io::sink()).unwrap();
        assert_eq!(read, bytes, "the body ends early");
    }
}
