//! `/metrics`: the text format 0.0.4 of Prometheus.
//!
//! Names are `deckle_<noun>_<unit>`, with `_total` for counters. Labels hold names that stand in this program and nothing
//! that a visitor sends: no address, no path, no user agent. All series exist from the start, so that `rate()` sees the
//! first event.

use std::fmt::{Display, Write};

use super::document::{ClickHouseHealth, Document, LogHealth};
use crate::audit::{ACTIONS, Count, Histogram, Snapshot};
use crate::page::PlanCounts;

/// What `/metrics` is sent as.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The document as metrics.
pub(super) fn exposition(document: &Document) -> String {
    let mut out = Exposition(String::with_capacity(32 << 10));
    requests(&mut out, &document.figures);
    pages(&mut out, &document.figures);
    plans(&mut out, &document.plans);
    times(&mut out, &document.figures);
    if let Some(log) = &document.log {
        audit(&mut out, log);
    }
    process(&mut out, document);
    out.0
}

fn requests(out: &mut Exposition, figures: &Snapshot) {
    out.counter("deckle_requests_total", "Requests by category and action; action none: the client left first.");
    for row in &figures.categories {
        for (action, count) in ACTIONS.into_iter().zip(row.by_action) {
            out.sample("deckle_requests_total", &[("category", row.category), ("action", action)], count);
        }
    }
    out.counter("deckle_would_actions_total", "Requests to which something else would have been done.");
    for row in &figures.actions {
        out.sample("deckle_would_actions_total", &[("action", row.action)], row.would);
    }
    out.counter("deckle_response_bytes_total", "Bytes of response bodies.");
    for row in &figures.categories {
        out.sample("deckle_response_bytes_total", &[("category", row.category)], row.bytes);
    }
    out.counts("deckle_responses_total", "Responses by class of status.", "class", &figures.statuses);
    out.counts(
        "deckle_verifications_total",
        "Requests by how far their agent is proven.",
        "state",
        &figures.verifications,
    );
    out.counts("deckle_challenges_total", "Steps of challenges.", "step", &figures.challenges);
    out.counts("deckle_clamps_total", "Actions that became weaker, by reason.", "reason", &figures.clamps);
    out.counter("deckle_incomplete_responses_total", "Responses that did not reach their end.");
    out.sample("deckle_incomplete_responses_total", &[], figures.incomplete);
}

fn pages(out: &mut Exposition, figures: &Snapshot) {
    out.counts("deckle_rewrites_total", "Pages by how far they were rewritten.", "result", &figures.rewrites);
    out.counts("deckle_rewrite_skips_total", "Why pages were not rewritten further.", "reason", &figures.skips);
    out.counter("deckle_page_mark_late_total", "Pages that were found not to bear marks when these had been placed.");
    out.sample("deckle_page_mark_late_total", &[], figures.mark_late);
    out.counter("deckle_suspect_requests_total", "Requests of suspects.");
    out.sample("deckle_suspect_requests_total", &[], figures.suspected);
    out.counter("deckle_suspect_articles_total", "Articles that suspects got.");
    out.sample("deckle_suspect_articles_total", &[], figures.taken);
    out.gauge("deckle_suspects", "Suspects that are remembered.");
    out.sample("deckle_suspects", &[], figures.suspects_known);
}

fn plans(out: &mut Exposition, plans: &PlanCounts) {
    out.counter("deckle_plan_hits_total", "Pages that were like their plan, and were not parsed.");
    out.sample("deckle_plan_hits_total", &[], plans.hits);
    out.counter("deckle_plan_misses_total", "Pages that were parsed and may have a plan.");
    out.sample("deckle_plan_misses_total", &[], plans.misses);
    out.counter("deckle_plan_evicted_total", "Plans that were dropped to make room.");
    out.sample("deckle_plan_evicted_total", &[], plans.evicted);
    out.counter("deckle_plan_restless_total", "Pages that were different eight times in a row.");
    out.sample("deckle_plan_restless_total", &[], plans.restless);
    out.counter("deckle_plan_learned_total", "Those of them of which it was learned in what they are different.");
    out.sample("deckle_plan_learned_total", &[], plans.learned);
    out.counter("deckle_plan_learned_hits_total", "Pages that were like such a plan.");
    out.sample("deckle_plan_learned_hits_total", &[], plans.learned_hits);
    out.counter("deckle_plan_packed_total", "Pages that were packed, by effort.");
    for (effort, count) in [("quick", plans.packed_quick), ("full", plans.packed_full)] {
        out.sample("deckle_plan_packed_total", &[("effort", effort)], count);
    }
    out.counter("deckle_packed_answers_total", "Answers in packed form.");
    out.sample("deckle_packed_answers_total", &[], plans.packed_answers);
    out.counter("deckle_packed_mismatch_total", "Pages whose packed form was found wrong.");
    out.sample("deckle_packed_mismatch_total", &[], plans.packed_mismatches);
    out.counter(
        "deckle_packed_confirmed_total",
        "Answers in packed form whose source the site confirmed and did not send.",
    );
    out.sample("deckle_packed_confirmed_total", &[], plans.packed_confirmed);
    out.counter(
        "deckle_packed_recognized_total",
        "Answers in packed form whose source was known by its compressed bytes.",
    );
    out.sample("deckle_packed_recognized_total", &[], plans.packed_recognized);
    out.counter("deckle_validator_mismatch_total", "Hosts whose validators do not tell pages apart.");
    out.sample("deckle_validator_mismatch_total", &[], plans.validator_mismatches);
    out.gauge("deckle_plan_bytes", "Bytes of plans, packed forms included.");
    out.sample("deckle_plan_bytes", &[], plans.bytes);
}

fn times(out: &mut Exposition, figures: &Snapshot) {
    let whole = "From the arrival of a request to the end of its response.";
    out.histogram("deckle_request_duration_seconds", whole, &figures.duration);
    out.histogram("deckle_decide_seconds", "What judging a request took.", &figures.judging);
}

fn audit(out: &mut Exposition, log: &LogHealth) {
    out.counter("deckle_audit_records_total", "Records written.");
    out.sample("deckle_audit_records_total", &[], log.written);
    out.counts("deckle_audit_dropped_total", "Records lost, by reason.", "reason", &log.dropped);
    out.counter("deckle_audit_sampled_out_total", "Records that audit.sample_assets left out.");
    out.sample("deckle_audit_sampled_out_total", &[], log.sampled_out);
    out.counter("deckle_audit_bytes_total", "Bytes written.");
    out.sample("deckle_audit_bytes_total", &[], log.bytes);
    out.gauge("deckle_audit_queue_depth", "Records that wait to be written.");
    out.sample("deckle_audit_queue_depth", &[], log.queued);
    out.gauge("deckle_audit_degraded", "1 while nothing can be written.");
    out.sample("deckle_audit_degraded", &[], u8::from(log.degraded));
    if let Some(sent) = &log.clickhouse {
        clickhouse(out, sent);
    }
}

fn clickhouse(out: &mut Exposition, sent: &ClickHouseHealth) {
    out.counter("deckle_audit_clickhouse_rows_total", "Rows that ClickHouse has acknowledged.");
    out.sample("deckle_audit_clickhouse_rows_total", &[], sent.rows);
    out.counter("deckle_audit_clickhouse_failures_total", "Batches that ClickHouse did not take; they are sent again.");
    out.sample("deckle_audit_clickhouse_failures_total", &[], sent.failures);
    out.counter("deckle_audit_clickhouse_lost_total", "Lines that were deleted before they were sent.");
    out.sample("deckle_audit_clickhouse_lost_total", &[], sent.lost);
    out.counter("deckle_audit_clickhouse_skipped_total", "Lines that could not be read and were not sent.");
    out.sample("deckle_audit_clickhouse_skipped_total", &[], sent.skipped);
    out.gauge("deckle_audit_clickhouse_lag_seconds", "How long the oldest record that was not sent has waited.");
    out.sample("deckle_audit_clickhouse_lag_seconds", &[], sent.lag);
    out.gauge("deckle_audit_clickhouse_stopped", "1 when the table does not fit and nothing is sent.");
    out.sample("deckle_audit_clickhouse_stopped", &[], u8::from(sent.stopped));
}

fn process(out: &mut Exposition, document: &Document) {
    if let Some(lookups) = &document.lookups {
        out.gauge("deckle_verify_queue", "Robots that wait to be checked by DNS.");
        out.sample("deckle_verify_queue", &[], lookups.queued);
        out.counter("deckle_verify_dropped_total", "Robots that found no place in that queue.");
        out.sample("deckle_verify_dropped_total", &[], lookups.dropped);
    }
    out.gauge(
        "deckle_disturbed_share",
        "Share of readers' networks that met a wait or a refusal in ten minutes, 0 to 1.",
    );
    out.sample("deckle_disturbed_share", &[], document.safety.share);
    out.gauge("deckle_safety_valve_open", "1 while everything is served because readers were disturbed.");
    out.sample("deckle_safety_valve_open", &[], u8::from(document.safety.open));
    out.gauge("deckle_state_bytes", "Bytes of the tables of visitors.");
    out.sample("deckle_state_bytes", &[], document.state_bytes);
    out.counter("deckle_refused_connections_total", "Connections closed because their address had as many as it may.");
    out.sample("deckle_refused_connections_total", &[], document.refused_connections);
    out.gauge("deckle_ready", "1 while the site behind can be reached.");
    out.sample("deckle_ready", &[], u8::from(document.ready));
    out.gauge("deckle_start_time_seconds", "Since when is counted, in seconds since 1970.");
    out.sample("deckle_start_time_seconds", &[], document.figures.since);
    out.gauge("deckle_build_info", "1, with the version.");
    out.sample("deckle_build_info", &[("version", document.version)], 1);
}

/// The text.
struct Exposition(String);

impl Exposition {
    fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Values of labels are names of this program, or a number: none needs an escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, of)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            // A string takes all that is written to it.
            let _ = write!(self.0, "{before}{label}=\"{of}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn counts(&mut self, name: &str, help: &str, label: &str, counts: &[Count]) {
        self.counter(name, help);
        for count in counts {
            self.sample(name, &[(label, count.name)], count.count);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Histogram) {
        self.head(name, help, "histogram");
        let bounds = times.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let (bucket, mut sum) = (format!("{name}_bucket"), 0_u64);
        for (bound, count) in bounds.zip(&times.counts) {
            sum += count;
            self.sample(&bucket, &[("le", bound.as_str())], sum);
        }
        self.sample(&format!("{name}_sum"), &[], times.sum);
        self.sample(&format!("{name}_count"), &[], sum);
    }
}
