//! The table: its columns, the keys of the record behind them, and the way back.

/// Days that rows are kept, unless something else is asked for.
const KEEP: u32 = 90;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// Its name: none has a dot, for ClickHouse takes arrays with a common prefix for parts of one table.
    pub name: &'static str,
    /// The key of the record; `docs/reference/record.md` explains each.
    pub key: &'static str,
    /// Type and codec.
    pub kind: &'static str,
    /// The expression that gives the key's value again; empty: it stays in the table.
    pub back: &'static str,
}

const fn column(name: &'static str, key: &'static str, kind: &'static str, back: &'static str) -> Column {
    Column { name, key, kind, back }
}

/// The network address and what it was cut to, as the record has it.
const ADDRESS: &str = "if(address_precision = 'none', '', concat(\
                       replaceRegexpOne(toString(client_address), '^::ffff:', ''), \
                       if(address_precision = 'full', '', address_precision)))";

/// All columns, in the order of the table. New ones come at the end, so that an older table takes an `ADD COLUMN` each.
pub const COLUMNS: [Column; 38] = [
    column(
        "ts",
        "time",
        "DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))",
        "concat(replaceOne(toString(ts), ' ', 'T'), 'Z')",
    ),
    column("site", "deckle.site", "LowCardinality(String)", "site"),
    column("instance", "deckle.instance", "LowCardinality(String)", "instance"),
    column("seq", "deckle.seq", "UInt64 CODEC(Delta(8), ZSTD(1))", ""),
    column("client_address", "client.address", "IPv6 CODEC(ZSTD(1))", ADDRESS),
    column("address_precision", "client.address", "LowCardinality(String)", ""),
    column("visitor_id", "deckle.visitor.id", "String CODEC(ZSTD(1))", "visitor_id"),
    column("request_id", "deckle.request.id", "UUID", "toString(request_id)"),
    column("method", "http.request.method", "LowCardinality(String)", "method"),
    column("host", "server.address", "LowCardinality(String)", "host"),
    column("path", "url.path", "String CODEC(ZSTD(3))", "path"),
    column("query", "url.query", "String CODEC(ZSTD(3))", "nullIf(query, '')"),
    column("status", "http.response.status_code", "UInt16", "nullIf(status, 0)"),
    column("response_bytes", "http.response.body.size", "UInt64 CODEC(T64, ZSTD(1))", "response_bytes"),
    column("user_agent", "user_agent.original", "String CODEC(ZSTD(3))", "nullIf(user_agent, '')"),
    column("referer", "http.request.header.referer", "String CODEC(ZSTD(3))", "nullIf(referer, '')"),
    column("agent_name", "deckle.visitor.agent", "LowCardinality(String)", "nullIf(agent_name, '')"),
    column("visitor_category", "deckle.visitor.category", "LowCardinality(String)", "visitor_category"),
    column("verification", "deckle.visitor.verification", "LowCardinality(String)", "verification"),
    column(
        "verification_method",
        "deckle.visitor.verification_method",
        "LowCardinality(String)",
        "nullIf(verification_method, '')",
    ),
    column("score", "deckle.score", "UInt8", "score"),
    column("signals", "deckle.signals", "Array(LowCardinality(String))", "signals"),
    column("action", "deckle.action", "LowCardinality(String)", "action"),
    column("would_action", "deckle.would_action", "LowCardinality(String)", "nullIf(would_action, '')"),
    column("page_kind", "deckle.page.kind", "LowCardinality(String)", "page_kind"),
    column("article_id", "deckle.page.article", "String CODEC(ZSTD(3))", "nullIf(article_id, '')"),
    column("mark_id", "deckle.mark.id", "String CODEC(ZSTD(3))", "nullIf(mark_id, '')"),
    column("robots", "deckle.robots", "LowCardinality(String)", "nullIf(robots, '')"),
    column("rewrite_skip", "deckle.rewrite.skip", "LowCardinality(String)", "nullIf(rewrite_skip, '')"),
    column("complete", "deckle.complete", "Bool", "complete"),
    column("duration_us", "deckle.duration_us", "UInt32 CODEC(T64, ZSTD(1))", "nullIf(duration_us, 0)"),
    column("upstream_us", "deckle.upstream_us", "UInt32 CODEC(T64, ZSTD(1))", "nullIf(upstream_us, 0)"),
    column("rewrite_us", "deckle.rewrite_us", "UInt32 CODEC(T64, ZSTD(1))", "nullIf(rewrite_us, 0)"),
    column("sample_rate", "deckle.sample", "Float32", "sample_rate"),
    column("content_type", "http.response.header.content-type", "LowCardinality(String)", "nullIf(content_type, '')"),
    column("challenge", "deckle.challenge", "LowCardinality(String)", "nullIf(challenge, '')"),
    column("robots_version", "deckle.robots.version", "LowCardinality(String)", "nullIf(robots_version, '')"),
    column("client_asn", "client.asn", "UInt32", "nullIf(client_asn, 0)"),
];

/// Can this be a database or a table? Letters, digits and `_`, so that nothing needs an escape.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with(|first: char| first.is_ascii_digit())
}

/// The statement that makes the table; `None` for names that are none. Rows are deleted after so many days: 90 unless
/// something else is asked for, and never with 0.
///
/// ```
/// use deckle::audit::clickhouse::ddl;
/// let statement = ddl("default", "deckle_hits", None).unwrap();
/// assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS `default`.`deckle_hits`"));
/// assert!(statement.contains("ENGINE = ReplacingMergeTree"));
/// assert_eq!(ddl("default", "hits; DROP TABLE users", None), None);
/// ```
pub fn ddl(database: &str, table: &str, keep: Option<u32>) -> Option<String> {
    if !is_name(database) || !is_name(table) {
        return None;
    }
    let width = COLUMNS.iter().map(|column| column.name.len()).max().unwrap_or_default();
    let columns = COLUMNS.iter().map(|column| format!("    {:width$} {},\n", column.name, column.kind));
    let keep = match keep.unwrap_or(KEEP) {
        0 => String::new(),
        days => format!("TTL toDateTime(ts) + INTERVAL {days} DAY DELETE\n"),
    };
    Some(format!(
        "CREATE TABLE IF NOT EXISTS `{database}`.`{table}`\n(\n{}\
         \x20   INDEX ix_visitor visitor_id TYPE bloom_filter(0.01) GRANULARITY 4,\n\
         \x20   INDEX ix_address client_address TYPE bloom_filter(0.01) GRANULARITY 4,\n\
         \x20   INDEX ix_mark mark_id TYPE bloom_filter(0.01) GRANULARITY 4\n)\n\
         ENGINE = ReplacingMergeTree\n\
         PARTITION BY toYYYYMMDD(ts)\n\
         ORDER BY (site, toStartOfHour(ts), visitor_id, ts, instance, seq)\n\
         {keep}\
         SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;\n",
        columns.collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_column_has_a_dot_or_comes_twice() {
        let names: BTreeSet<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(names.iter().all(|name| is_name(name)), "{names:?}");
        // What is sent back has each key once.
        let back: Vec<&str> =
            COLUMNS.iter().filter(|column| !column.back.is_empty()).map(|column| column.key).collect();
        assert_eq!(back.iter().collect::<BTreeSet<_>>().len(), back.len());
    }

    /// Rows that are the same in these count once. What the table of agents says of a foreign hit may be another thing
    /// in the next version.
    #[test]
    fn a_row_is_known_again_by_what_no_version_changes() {
        let statement = ddl("a", "b", None).unwrap();
        let key = statement.lines().find(|line| line.starts_with("ORDER BY ")).unwrap();
        assert!(["ts", "instance", "seq"].iter().all(|column| key.contains(column)), "{key}");
        let judged = ["category", "agent", "verification", "page_kind", "article", "score", "signals"];
        assert!(!judged.iter().any(|column| key.contains(column)), "{key}");
    }

    #[test]
    fn the_statement_says_how_long_rows_are_kept() {
        assert!(ddl("a", "b", None).unwrap().contains("INTERVAL 90 DAY"));
        assert!(ddl("a", "b", Some(7)).unwrap().contains("INTERVAL 7 DAY"));
        assert!(!ddl("a", "b", Some(0)).unwrap().contains("TTL"));
        for name in ["", "1a", "a-b", "a.b", "a`b", "ä", "a".repeat(65).as_str()] {
            assert_eq!(ddl(name, "b", None), None, "{name}");
            assert_eq!(ddl("a", name, None), None, "{name}");
        }
    }
}
