//! Records as messages of the protocol.

use std::time::Duration;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Map, Value};

use crate::action::Action;
use crate::audit::Settings;
use crate::audit::anchor::SignedHead;
use crate::audit::record::AuditRecord;

/// Names of the events.
pub(super) const HIT: &str = "deckle.http.hit";
const HEAD: &str = "deckle.audit.head";

/// Who sends.
pub(super) fn resource(settings: &Settings) -> Resource {
    let attributes = vec![
        text("service.name", "deckle"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &settings.instance()),
    ];
    Resource { attributes, ..Resource::default() }
}

/// A record, of which this is the line. What the protocol has a place for stands there, all else is an attribute.
pub(super) fn hit(record: &AuditRecord, line: &[u8], observed: Duration) -> LogRecord {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    fields.remove("time");
    let mut id = |key: &str| match fields.remove(key) {
        Some(Value::String(hex)) => HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let (trace_id, span_id) = (id("trace_id"), id("span_id"));
    let (severity, name) = severity(record);
    LogRecord {
        time_unix_nano: record.time.as_nanos() as u64,
        observed_time_unix_nano: observed.as_nanos() as u64,
        severity_number: severity.into(),
        severity_text: name.to_owned(),
        attributes: fields.into_iter().filter_map(|(key, value)| Some(attribute(&key, any(value)?))).collect(),
        trace_id,
        span_id,
        event_name: HIT.to_owned(),
        ..LogRecord::default()
    }
}

/// A signed head, under the names that it has in the log.
pub(super) fn head(head: &SignedHead, observed: Duration) -> LogRecord {
    let time = head.time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
    LogRecord {
        time_unix_nano: time as u64,
        observed_time_unix_nano: observed.as_nanos() as u64,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        attributes: vec![
            text("deckle.instance", &head.instance),
            text("segment", &head.segment),
            attribute("deckle.seq", Any::IntValue(head.seq as i64)),
            text("head", &HEXLOWER.encode(&head.head)),
            text("key.id", &head.key),
            text("sig", &head.signature),
        ],
        event_name: HEAD.to_owned(),
        ..LogRecord::default()
    }
}

/// The body of a request.
pub(super) fn request(resource: &Resource, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "deckle".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let logs = ResourceLogs {
        resource: Some(resource.clone()),
        scope_logs: vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
}

/// What somebody should look at stands out.
fn severity(record: &AuditRecord) -> (SeverityNumber, &'static str) {
    let acted = |least| record.decision.as_ref().is_some_and(|decision| decision.action.is_at_least(least));
    if record.fault().is_some() {
        (SeverityNumber::Error, "ERROR")
    } else if acted(Action::Challenge) {
        (SeverityNumber::Warn, "WARN")
    } else {
        (SeverityNumber::Info, "INFO")
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The kinds of values that a line holds.
fn any(value: Value) -> Option<Any> {
    Some(match value {
        Value::String(text) => Any::StringValue(text),
        Value::Bool(is) => Any::BoolValue(is),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Any::IntValue(whole),
            None => Any::DoubleValue(number.as_f64()?),
        },
        Value::Array(values) => {
            let values = values.into_iter().filter_map(any).map(|value| AnyValue { value: Some(value) });
            Any::ArrayValue(ArrayValue { values: values.collect() })
        }
        Value::Null | Value::Object(_) => return None,
    })
}
