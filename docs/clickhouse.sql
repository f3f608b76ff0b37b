-- Reports on the table of `deckle audit ddl`, for people who know SQL. `deckle review --from-clickhouse` gives all sections.
-- These four are a start. Parameters: site, since and until (UTC), disallowed (beginnings of paths that robots.txt closes).
--
--   clickhouse-client --param_site=news --param_since='2026-11-01' --param_until='2026-12-01' \
--       --param_disallowed="['/search/']" --queries-file docs/clickhouse.sql
--
-- FINAL counts what was sent twice once. A row stands for 1 / sample_rate requests.

-- name: suspects
-- Who took most articles, those with the highest score first.
SELECT
    visitor_id,
    any(agent_name) AS agent,
    any(verification) AS proof,
    max(score) AS points,
    round(sum(1 / sample_rate)) AS requests,
    uniqExact(article_id) AS articles,
    sum(response_bytes) AS bytes,
    min(ts) AS first_seen,
    max(ts) AS last_seen
FROM deckle_hits FINAL
WHERE site = {site:String} AND ts >= {since:DateTime64(3)} AND ts < {until:DateTime64(3)} AND page_kind = 'article'
GROUP BY visitor_id
ORDER BY points DESC, articles DESC, visitor_id
LIMIT 50;

-- name: robots_violations
-- Declared robots that asked for what robots.txt closes. Who may still have held an older copy is not known here: the section
-- of `deckle review` is fair to them.
SELECT
    agent_name AS agent,
    verification AS proof,
    count() AS violations,
    uniqExact(path) AS paths,
    max(ts) AS last_seen
FROM deckle_hits FINAL
WHERE site = {site:String} AND ts >= {since:DateTime64(3)} AND ts < {until:DateTime64(3)}
    AND visitor_category NOT IN ('', 'none', 'browser', 'reader', 'library', 'headless', 'unknown-bot')
    AND path != '/robots.txt'
    AND (robots = 'disallowed' OR arrayExists(prefix -> startsWith(path, prefix), {disallowed:Array(String)}))
GROUP BY agent, proof
ORDER BY violations DESC, agent;

-- name: sessions
-- Visits of each visitor: half an hour of silence ends one.
SELECT
    visitor_id,
    countIf(is_new) + 1 AS visits,
    count() AS requests
FROM
(
    SELECT
        visitor_id,
        dateDiff('second', lagInFrame(ts, 1, ts) OVER one, ts) > 1800 AS is_new
    FROM deckle_hits FINAL
    WHERE site = {site:String} AND ts >= {since:DateTime64(3)} AND ts < {until:DateTime64(3)}
    WINDOW one AS (PARTITION BY visitor_id ORDER BY ts, seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
GROUP BY visitor_id
ORDER BY visits DESC, requests DESC, visitor_id
LIMIT 50;

-- name: heat_map
-- Requests and visitors by day of the week (1 is Monday) and hour, UTC.
SELECT
    toDayOfWeek(ts) AS day,
    toHour(ts) AS hour,
    round(sum(1 / sample_rate)) AS requests,
    uniqExact(visitor_id) AS visitors
FROM deckle_hits FINAL
WHERE site = {site:String} AND ts >= {since:DateTime64(3)} AND ts < {until:DateTime64(3)}
GROUP BY day, hour
ORDER BY day, hour;
