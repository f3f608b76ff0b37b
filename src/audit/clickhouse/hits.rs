//! The way back: rows as lines of deckle's log, written by the engine and read as any other log.

use std::fmt;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::table::{client, describe, one_line};
use super::{Address, COLUMNS, is_name};

/// Pieces that may wait to be read.
const AHEAD: usize = 16;
/// A crawler may act on a robots.txt that it read a day before; what it read stands in rows of their own.
const READ_BEFORE: Duration = Duration::from_secs(2 * 86_400);
/// Later than any row.
const END_MS: i64 = 9_000_000_000_000;
/// How a line begins by which an engine tells, in the place of rows, that it has failed in mid-answer. No row begins so.
const FAILURE: &[u8] = b"\n{\"exception\"";
/// Bytes of such a line that are kept.
const MAX_FAILURE: usize = 4_096;

/// Rows of a table, to be read as a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Hits {
    address: Address,
    database: String,
    table: String,
    since: Option<Duration>,
    until: Option<Duration>,
    sites: Vec<String>,
}

impl Hits {
    /// All rows of a table; `None` for names that are none.
    pub fn new(address: Address, database: &str, table: &str) -> Option<Self> {
        (is_name(database) && is_name(table)).then(|| Self {
            address,
            database: database.to_owned(),
            table: table.to_owned(),
            since: None,
            until: None,
            sites: Vec::new(),
        })
    }

    /// Only of a time, since 1970: the first moment, and the first one that is no longer in.
    #[must_use]
    pub fn between(mut self, since: Option<Duration>, until: Option<Duration>) -> Self {
        (self.since, self.until) = (since, until);
        self
    }

    /// Only of these sites or hosts; none: of all.
    #[must_use]
    pub fn sites(mut self, sites: Vec<String>) -> Self {
        self.sites = sites;
        self
    }

    /// Asks the engine, and gives what it says as it comes.
    ///
    /// # Errors
    /// Those of the operating system; what the engine refuses comes with the first byte.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (send, receive) = sync_channel(AHEAD);
        let (client, sql) = (client(&self.address, &self.database), self.sql());
        let [early, since, until] = self.bounds();
        let sites = self.sites.clone();
        let read = move || {
            let answer = async {
                let mut cursor = client
                    .query(&sql)
                    .param("early", early)
                    .param("since", since)
                    .param("until", until)
                    .param("sites", sites)
                    // Numbers, not texts of numbers; the default of newer engines.
                    .with_setting("output_format_json_quote_64bit_integers", "0")
                    // In the place of a row, a failure would look like a line that is none.
                    .with_setting("http_write_exception_in_output_format", "0")
                    .fetch_bytes("JSONEachRow")?;
                while let Some(bytes) = cursor.next().await? {
                    // Nobody reads any more.
                    if send.send(Piece::Bytes(bytes)).is_err() {
                        break;
                    }
                }
                Ok::<(), ::clickhouse::error::Error>(())
            };
            give_end(&send, runtime.block_on(answer));
        };
        std::thread::Builder::new().name("deckle-hits".to_owned()).spawn(read)?;
        Ok(Box::new(Pieces::new(receive)))
    }

    /// Milliseconds: from when on requests for robots.txt are wanted, and the bounds of all others.
    fn bounds(&self) -> [i64; 3] {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(END_MS).min(END_MS);
        let since = self.since.unwrap_or_default();
        // The first moment that is out is not cut to its millisecond, but up to the next.
        let until = self.until.map(|until| until + Duration::from_nanos(999_999));
        [millis(since.saturating_sub(READ_BEFORE)), millis(since), until.map_or(END_MS, millis)]
    }

    /// Each row as the line of the log that it comes from; hits of other programs' logs are of kind `foreign`. Whoever has
    /// read robots.txt has read it, whatever is asked for.
    fn sql(&self) -> String {
        let nil = "toUUID('00000000-0000-0000-0000-000000000000')";
        let keys = COLUMNS.iter().filter(|column| !column.back.is_empty());
        let keys: Vec<String> = keys.map(|column| format!("{} AS `{}`", column.back, column.key)).collect();
        let at = |bound: &str| format!("fromUnixTimestamp64Milli({{{bound}:Int64}}, 'UTC')");
        let (early, since, until) = (at("early"), at("since"), at("until"));
        let sites =
            "(empty({sites:Array(String)}) OR has({sites:Array(String)}, site) OR has({sites:Array(String)}, host))";
        format!(
            "SELECT 1 AS v, if(request_id = {nil}, 'foreign', 'hit') AS `deckle.kind`, {}\n\
             FROM `{}` FINAL\n\
             WHERE ts >= {early} AND ts < {until} AND (page_kind = 'robots' OR (ts >= {since} AND {sites}))\n\
             ORDER BY ts, instance, seq",
            keys.join(", "),
            self.table,
        )
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.address, self.database, self.table)
    }
}

impl fmt::Debug for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hits({self})")
    }
}

enum Piece {
    Bytes(Bytes),
    End,
    Failed(String),
}

fn give_end(send: &SyncSender<Piece>, result: ::clickhouse::error::Result<()>) {
    let _ = send.send(match result {
        Ok(()) => Piece::End,
        Err(error) => Piece::Failed(describe(&error)),
    });
}

/// What has come, as something to read.
struct Pieces {
    receive: Receiver<Piece>,
    bytes: Bytes,
    /// A line feed, and what may be the beginning of a line that tells of a failure.
    held: Vec<u8>,
    /// Nothing was given out: the line feed was put before the first line.
    is_first: bool,
    /// The line that tells of a failure, as far as it has come.
    failure: Option<Vec<u8>>,
    ended: bool,
}

impl Pieces {
    fn new(receive: Receiver<Piece>) -> Self {
        Self { receive, bytes: Bytes::new(), held: b"\n".to_vec(), is_first: true, failure: None, ended: false }
    }

    fn accept(&mut self, piece: &[u8]) {
        if let Some(failure) = &mut self.failure {
            let room = MAX_FAILURE.saturating_sub(failure.len());
            failure.extend(piece.iter().take(room));
            return;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(piece);
        if let Some(at) = memchr::memmem::find(&all, FAILURE) {
            let mut failure = all.split_off(at + 1);
            failure.truncate(MAX_FAILURE);
            self.failure = Some(failure);
        } else {
            let may_begin = |length: &usize| FAILURE.get(..*length).is_some_and(|start| all.ends_with(start));
            let length = (1..FAILURE.len()).rev().find(may_begin).unwrap_or(0);
            self.held = all.split_off(all.len() - length);
        }
        self.give_out(all);
    }

    fn give_out(&mut self, rows: Vec<u8>) {
        self.bytes = rows.into();
        if self.is_first && !self.bytes.is_empty() {
            self.is_first = false;
            self.bytes = self.bytes.split_off(1);
        }
    }

    /// Everything has come.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        if let Some(failure) = self.failure.take() {
            let line: serde_json::Value = serde_json::from_slice(&failure).unwrap_or_default();
            let told = line.get("exception").and_then(serde_json::Value::as_str).map(str::to_owned);
            return Err(io::Error::other(one_line(&told.unwrap_or_else(|| String::from_utf8_lossy(&failure).into()))));
        }
        let held = std::mem::take(&mut self.held);
        self.give_out(held);
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.bytes.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.receive.recv() {
                Ok(Piece::Bytes(bytes)) => self.accept(&bytes),
                Ok(Piece::End) => self.end()?,
                Ok(Piece::Failed(why)) => {
                    self.ended = true;
                    return Err(io::Error::other(why));
                }
                // Whoever sends has failed without a word.
                Err(_) => {
                    self.ended = true;
                    return Err(io::Error::other("the answer broke off"));
                }
            }
        }
        let piece = self.bytes.split_to(out.len().min(self.bytes.len()));
        if let Some(out) = out.get_mut(..piece.len()) {
            out.copy_from_slice(&piece);
        }
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn hits() -> Hits {
        Hits::new(Address::parse("http://me:word@h:8123").unwrap(), "default", "deckle_hits").unwrap()
    }

    #[test]
    fn values_are_parameters_and_names_are_names() {
        let hits = hits().sites(vec!["x' OR 1".into()]).between(Some(Duration::from_secs(5)), None);
        let sql = hits.sql();
        assert!(
            !sql.contains("OR 1") && sql.contains("{since:Int64}") && sql.contains("FROM `deckle_hits` FINAL"),
            "{sql}"
        );
        assert!(!sql.contains('?'), "it would stand for a value");
        assert_eq!(Hits::new(Address::parse("http://h").unwrap(), "default", "x` y"), None);
        assert!(!format!("{hits:?} {hits}").contains("word"));
    }

    #[test]
    fn bounds_are_milliseconds() {
        assert_eq!(hits().bounds(), [0, 0, END_MS]);
        let time = |micros| Some(Duration::from_micros(micros));
        let day = 86_400_000_000;
        assert_eq!(
            hits().between(time(3 * day + 1_500), time(4 * day)).bounds(),
            [86_400_001, 259_200_001, 345_600_000]
        );
        assert_eq!(hits().between(None, time(1)).bounds(), [0, 0, 1]);
    }

    #[test]
    fn pieces_make_one_text_or_an_error() {
        let pieces = |pieces: Vec<Piece>| {
            let (send, receive) = sync_channel(8);
            for piece in pieces {
                send.send(piece).unwrap();
            }
            Pieces::new(receive)
        };
        let bytes = |text: &'static str| Piece::Bytes(Bytes::from_static(text.as_bytes()));
        let mut text = String::new();
        pieces(vec![bytes("ab"), bytes(""), bytes("c\n"), Piece::End]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc\n");
        let failed = pieces(vec![bytes("a"), Piece::Failed("Code: 60".into())]).read_to_string(&mut text);
        assert!(failed.unwrap_err().to_string().contains("Code: 60"));
        assert!(pieces(vec![bytes("a")]).read_to_string(&mut text).is_err(), "cut off");
    }

    #[test]
    fn a_failure_in_the_place_of_a_row_is_an_error_wherever_it_is_cut() {
        let row = b"{\"v\":1,\"url.path\":\"/exception\"}\n";
        for rows in [&b""[..], row] {
            let text = [rows, b"{\"exception\": \"Code: 241. DB::Exception: Memory limit\"}\n"].concat();
            for cut in 0..=text.len() {
                let (send, receive) = sync_channel(8);
                let (first, second) = text.split_at(cut);
                for piece in [Piece::Bytes(first.to_vec().into()), Piece::Bytes(second.to_vec().into()), Piece::End] {
                    send.send(piece).unwrap();
                }
                let mut read = Vec::new();
                let error = Pieces::new(receive).read_to_end(&mut read).unwrap_err();
                assert_eq!(error.to_string(), "Code: 241. DB::Exception: Memory limit", "{cut}");
                assert_eq!(read, rows, "{cut}");
            }
        }
    }

    /// Answers one request with these lines; with it: the request.
    fn engine(lines: &'static str) -> (Hits, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut some) = (Vec::new(), [0; 4_096]);
            let is_whole = |asked: &[u8]| {
                let text = String::from_utf8_lossy(asked).to_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
            };
            while !is_whole(&asked) {
                let read = stream.read(&mut some).unwrap();
                assert!(read > 0, "{asked:?}");
                asked.extend_from_slice(&some[..read]);
            }
            let length = lines.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{lines}").unwrap();
            String::from_utf8_lossy(&asked).into_owned()
        });
        (Hits::new(Address::parse(&address).unwrap(), "default", "deckle_hits").unwrap(), answering)
    }

    #[test]
    fn an_engine_that_fails_in_mid_answer_gives_no_report_that_looks_whole() {
        let (hits, answering) = engine("{\"v\":1}\n{\"exception\": \"Code: 241. DB::Exception: Memory limit\"}\n");
        let mut read = Vec::new();
        let error = hits.open().unwrap().read_to_end(&mut read).unwrap_err();
        assert!(error.to_string().contains("Code: 241"), "{error}");
        assert_eq!(read, b"{\"v\":1}\n");
        let asked = answering.join().unwrap();
        assert!(asked.contains("http_write_exception_in_output_format=0"), "{asked}");
    }
}
