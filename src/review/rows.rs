//! Logs as rows for a table: deckle's own as they are, others with what a review finds out about each hit.

use std::collections::{BTreeMap, HashMap};

use super::engine::{AgentCache, AgentTable, Feed, Kind, Problem, name};
use super::{InputError, Progress, Review, Source, engine, expand};
use crate::audit::clickhouse::{Known, Row};
use crate::audit::reader::{Hit, Line, Skipped};
use crate::visitor::{Ranges, Verification};

/// What the report on a table has to say.
pub(super) const NOT_EVALUATED: &str = "read from ClickHouse, which holds the responses alone: losses, holes in the numbers, \
    policies and the texts of robots.txt are not known from there";

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct RowsRead {
    pub(crate) files: usize,
    pub(crate) lines: u64,
    pub(crate) rows: u64,
    /// Lines by the reason why they gave no row.
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    /// What could not be read, or not to its end, and what else is odd.
    pub(crate) errors: Vec<InputError>,
    pub(crate) notes: Vec<String>,
}

/// Bytes for user agents; those beyond are looked up each time.
const AGENTS: usize = 48 << 20;

impl Review {
    /// Gives every response as a row, until `each` fails. Foreign hits are of `site`; the same file has the same rows,
    /// however it is named or compressed.
    pub(crate) fn rows<E>(
        &self,
        sources: &[Source],
        site: &str,
        each: &mut dyn FnMut(Row, Progress) -> Result<(), E>,
    ) -> Result<RowsRead, E> {
        let (sources, errors) = expand(sources);
        let mut read = RowsRead { files: sources.len(), errors, ..RowsRead::default() };
        let mut problems = Vec::new();
        let numbered: Vec<(usize, Source)> = sources.iter().cloned().enumerate().collect();
        let mut feed = Feed::new(&numbered, &self.plan.reading, None, &mut |problem| problems.push(problem));
        problems.extend(std::mem::take(&mut feed.empty).into_iter().map(Problem::Empty));
        let table = AgentTable::new(AGENTS);
        let mut making = Making::new(site, &table);
        let mut bytes = 0;
        while let Some(group) = feed.next_group(&mut |problem| problems.push(problem)) {
            for batch in group {
                let mut reader = batch.reader.clone();
                bytes += batch.chunk.bytes.len() as u64;
                for (line, whole) in batch.chunk.lines() {
                    read.lines += 1;
                    let number = making.count(batch.source);
                    match reader.read(line) {
                        Line::Hit(hit) => {
                            let row = making.row(batch.source, number, line, hit);
                            read.rows += 1;
                            each(row, Progress { bytes, lines: read.lines })?;
                        }
                        Line::Skipped(reason) => {
                            let is_torn = !whole && reason == Skipped::Malformed && line.first() == Some(&b'{');
                            let reason = if is_torn { Skipped::Torn } else { reason };
                            *read.skipped.entry(reason.code()).or_default() += 1;
                        }
                        Line::Other(_) | Line::Directive | Line::Empty => {}
                    }
                }
                if batch.chunk.too_long > 0 {
                    *read.skipped.entry(Skipped::TooLong.code()).or_default() += batch.chunk.too_long;
                    read.lines += batch.chunk.too_long;
                }
            }
        }
        for problem in problems {
            read.note(problem, &sources);
        }
        Ok(read)
    }
}

impl RowsRead {
    fn note(&mut self, problem: Problem, sources: &[Source]) {
        let of = |number: usize| sources.get(number).map_or_else(String::new, name);
        match problem {
            // Nobody follows here.
            Problem::End | Problem::CaughtUp | Problem::Found(_) => {}
            Problem::Note(text) => self.notes.push(text),
            Problem::Twice(number) => self.notes.push(format!("{} is given twice and was read once", of(number))),
            Problem::Empty(number) => self.notes.push(format!("no log lines in {}", of(number))),
            Problem::Unreadable(error) => self.errors.push(error),
        }
    }
}

/// Makes rows, and keeps what that takes.
struct Making<'s> {
    site: &'s str,
    cache: AgentCache<'s>,
    ranges: std::sync::Arc<Ranges>,
    /// Lines of each source.
    lines: HashMap<usize, u64>,
    /// What stands for each source in the place of an instance.
    instances: HashMap<usize, String>,
}

impl<'s> Making<'s> {
    fn new(site: &'s str, table: &'s AgentTable) -> Self {
        Self {
            site,
            cache: AgentCache::new(table),
            ranges: Ranges::shipped(),
            lines: HashMap::new(),
            instances: HashMap::new(),
        }
    }

    /// The number of the next line of a source.
    fn count(&mut self, source: usize) -> u64 {
        let lines = self.lines.entry(source).or_default();
        *lines += 1;
        *lines
    }

    fn row(&mut self, source: usize, number: u64, line: &[u8], hit: Hit<'_>) -> Row {
        if let Some(row) = Row::own(&hit) {
            return row;
        }
        // By its first line a log is known again after it was renamed, compressed or has grown.
        let first = || format!("foreign-{:016x}", twox_hash::XxHash3_64::oneshot(line));
        let instance = self.instances.entry(source).or_insert_with(first).clone();
        let mut judged = engine::Row::blank(&mut self.cache);
        judged.hit = hit;
        judged.complete(&mut self.cache);
        let logged = judged.hit.deckle.as_deref().and_then(|fields| Verification::from_code(&fields.verification));
        let verification = match logged {
            Some(logged) => logged,
            None if judged.category.is_declared_bot() => {
                self.ranges.look_up(&judged.agent.agent, &judged.hit.address, judged.hit.time)
            }
            None => Verification::None,
        };
        let known = Known {
            site: self.site,
            instance: &instance,
            line: number,
            visitor: judged.key,
            category: judged.category.code(),
            agent: judged.name(),
            verification: verification.code(),
            page_kind: judged.kind.code(),
            article: (judged.kind == Kind::Article).then_some(judged.hit.path.as_ref()),
        };
        Row::foreign(&judged.hit, &known)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};

    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("deckle-rows-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn rows(path: &Path) -> (Vec<Row>, RowsRead) {
        let mut rows = Vec::new();
        let read = Review::default()
            .rows(&[Source::Path(path.to_owned())], "news", &mut |row, _| {
                rows.push(row);
                Ok::<(), Infallible>(())
            })
            .unwrap();
        (rows, read)
    }

    fn combined(lines: u32) -> String {
        let agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let line = |i| {
            format!(
                "177.37.188.215 - - [01/Nov/2026:10:00:{i:02} +0000] \"GET /news/a-b-c-{i} HTTP/1.1\" 200 9 \"-\" \"{agent}\"\n"
            )
        };
        (0..lines).map(line).collect()
    }

    #[test]
    fn a_foreign_log_is_known_again() {
        let dir = Dir::new("again");
        let (plain, read) = rows(&dir.file("access.log", combined(5).as_bytes()));
        assert_eq!((read.rows, read.lines, read.files), (5, 5, 1));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(combined(5).as_bytes()).unwrap();
        assert_eq!(rows(&dir.file("access.log.1.gz", &encoder.finish().unwrap())).0, plain, "renamed and compressed");
        let (grown, _) = rows(&dir.file("access.log", combined(9).as_bytes()));
        assert_eq!(grown[..5], plain, "grown");
        let first = &plain[0];
        assert_eq!((first.seq, first.site.as_str(), first.page_kind.as_str()), (1, "news", "article"));
        assert_eq!((first.agent_name.as_str(), first.verification.as_str()), ("Googlebot", "failed"));
        assert_eq!((first.article_id.as_str(), first.action.as_str()), ("/news/a-b-c-0", ""));
        assert!(first.instance.starts_with("foreign-") && first.visitor_id.len() == 16, "{first:?}");
    }

    #[test]
    fn an_access_log_of_deckle_keeps_what_it_says() {
        let dir = Dir::new("judged");
        let text = combined(3).replace(")\"\n", ")\" \"search/verified/7/tag/k1-0123456789ab\"\n");
        let (rows, read) = rows(&dir.file("access.log", text.as_bytes()));
        assert_eq!(rows.len(), 3, "{read:?}");
        assert_eq!((read.rows, rows[2].seq, rows[2].site.as_str()), (3, 3, "news"));
        let row = &rows[0];
        assert!(row.instance.starts_with("foreign-") && row.request_id.is_nil(), "{row:?}");
        assert_eq!((row.verification.as_str(), row.score, row.action.as_str()), ("verified", 7, "tag"));
        assert_eq!((row.mark_id.as_str(), row.page_kind.as_str()), ("k1-0123456789ab", "article"));
    }

    #[test]
    fn every_line_is_accounted_for() {
        let dir = Dir::new("counted");
        let text = combined(2) + "garbage\n\n{\"v\":1,\"time\":\"2026-11-2";
        let (_, read) = rows(&dir.file("access.log", text.as_bytes()));
        assert_eq!((read.rows, read.lines), (2, 5));
        assert_eq!((read.skipped["malformed"], read.skipped["torn"]), (1, 1));
        let (_, read) = rows(&dir.0.join("none.log"));
        assert_eq!((read.rows, read.errors.len()), (0, 1));
    }
}
