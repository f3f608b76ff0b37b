//! Rows on their way, up to what one request should hold.

use std::collections::BTreeSet;

use super::Row;

/// Rows of one request.
const ROWS: usize = 50_000;
/// Their bytes.
const BYTES: usize = 16 << 20;
/// Their days: each is a partition, and an engine takes no more than 100 of them at once.
const DAYS: usize = 50;
const DAY_MS: i64 = 86_400_000;

/// Rows that are sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    rows: Vec<Row>,
    bytes: usize,
    days: BTreeSet<i64>,
}

impl Batch {
    pub(crate) fn push(&mut self, row: Row) {
        self.bytes += row.size();
        self.days.insert(row.ts.div_euclid(DAY_MS));
        self.rows.push(row);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES || self.days.len() >= DAYS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the program asks"))]
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
        self.days.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::{Format, Line, Reader};

    fn row(day: u32) -> Row {
        let line = format!(
            r#"{{"v":1,"time":"2026-{:02}-{:02}T20:45:12.345Z","deckle.seq":7,"url.path":"/a"}}"#,
            day / 28 + 1,
            day % 28 + 1
        );
        let mut reader = Reader::new(Format::Deckle);
        let Line::Hit(hit) = reader.read(line.as_bytes()) else { panic!("{line}") };
        Row::own(&hit).unwrap()
    }

    #[test]
    fn a_batch_is_bounded_by_rows_bytes_and_days() {
        let mut batch = Batch::default();
        (0..50).for_each(|day| {
            assert!(!batch.is_full(), "{day}");
            batch.push(row(day));
        });
        assert!(batch.is_full());
        batch.clear();
        assert!(batch.is_empty() && !batch.is_full());
        let long = Row { path: "x".repeat(BYTES), ..row(0) };
        batch.push(long);
        assert!(batch.is_full());
        batch.clear();
        (0..ROWS).for_each(|_| batch.push(row(0)));
        assert!(batch.is_full());
    }
}
