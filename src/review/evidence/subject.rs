//! Whose lines a pack holds: in the log, in its proofs, and in words.

use std::collections::BTreeSet;
use std::fmt;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvidenceError;

/// Which lines of a log go into a pack.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Wanted<'w> {
    /// All of one visitor, by `deckle.visitor.id`.
    Visitor(&'w str),
    /// These responses, by `deckle.request.id`.
    Requests(&'w BTreeSet<String>),
}

impl<'w> From<&'w str> for Wanted<'w> {
    fn from(visitor: &'w str) -> Self {
        Self::Visitor(visitor)
    }
}

impl<'w> From<&'w BTreeSet<String>> for Wanted<'w> {
    fn from(requests: &'w BTreeSet<String>) -> Self {
        Self::Requests(requests)
    }
}

/// Begins the id of a request in a line.
const REQUEST: &str = "\"deckle.request.id\":\"";
/// The ids of a pack that is about requests, one a line.
pub(super) const REQUESTS_FILE: &str = "requests.txt";

/// The same, as `proofs.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    Visitor(String),
    Requests(BTreeSet<String>),
}

impl Subject {
    /// # Errors
    /// [`EvidenceError::Visitor`] and [`EvidenceError::Request`]: ids become part of a script.
    pub(super) fn new(wanted: Wanted<'_>) -> Result<Self, EvidenceError> {
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match wanted {
            Wanted::Visitor(visitor) if is_id(visitor) => Ok(Self::Visitor(visitor.to_owned())),
            Wanted::Visitor(visitor) => Err(EvidenceError::Visitor { visitor: visitor.to_owned() }),
            Wanted::Requests(requests) => match requests.iter().find(|id| !is_id(id)) {
                Some(id) => Err(EvidenceError::Request { id: id.clone() }),
                None => Ok(Self::Requests(requests.clone())),
            },
        }
    }

    /// No line is about it.
    pub(super) fn is_missing(&self) -> EvidenceError {
        match self {
            Self::Visitor(visitor) => EvidenceError::NoLines { visitor: visitor.clone() },
            Self::Requests(_) => EvidenceError::NoRequests,
        }
    }

    /// Is a line about it?
    pub(super) fn holds(&self, fields: &Value) -> bool {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        match self {
            Self::Visitor(visitor) => text("deckle.visitor.id") == Some(visitor.as_str()),
            Self::Requests(requests) => text("deckle.request.id").is_some_and(|id| requests.contains(id)),
        }
    }

    /// The visitor; empty: it is about requests.
    pub(super) fn visitor(&self) -> String {
        match self {
            Self::Visitor(visitor) => visitor.clone(),
            Self::Requests(_) => String::new(),
        }
    }

    /// How many requests were asked for.
    pub(super) fn requests(&self) -> u64 {
        match self {
            Self::Visitor(_) => 0,
            Self::Requests(requests) => requests.len() as u64,
        }
    }

    /// `requests.txt`.
    pub(super) fn list(&self) -> Option<String> {
        match self {
            Self::Visitor(_) => None,
            Self::Requests(requests) => Some(requests.iter().map(|id| format!("{id}\n")).collect()),
        }
    }

    /// The first line of `proofs.txt`.
    pub(super) fn step(&self) -> String {
        match self {
            Self::Visitor(visitor) => format!("visitor {visitor}\n"),
            Self::Requests(_) => format!("requests {REQUESTS_FILE}\n"),
        }
    }

    /// What README.txt says of it: by the name of the place, without its braces.
    pub(super) fn words(&self) -> [(&'static str, String); 5] {
        let (title, named, lines, marks, step) = match self {
            Self::Visitor(visitor) => (
                "EVIDENCE OF ONE VISITOR",
                format!("Visitor:  {visitor}"),
                "the log's lines about this visitor, byte for byte, and no line about anybody else",
                "the marks of the copies that the visitor got",
                "visitor V       each line holds \"deckle.visitor.id\":\"V\"",
            ),
            Self::Requests(requests) => (
                "EVIDENCE OF RESPONSES",
                format!("Requests: {} were asked for; their ids are in {REQUESTS_FILE}", requests.len()),
                "the log's lines about these responses, byte for byte, and no other line of a response",
                "the marks of the copies that left with them",
                "requests F      each line holds \"deckle.request.id\":\"R\", and R is a line of F",
            ),
        };
        [
            ("title", title.to_owned()),
            ("named", named),
            ("lines", lines.to_owned()),
            ("marks", marks.to_owned()),
            ("step", step.to_owned()),
        ]
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visitor(visitor) => write!(f, "visitor {visitor}"),
            Self::Requests(_) => write!(f, "the requests of {REQUESTS_FILE}"),
        }
    }
}

/// Finds the lines in a log without parsing all of them.
#[derive(Debug)]
pub(super) struct Needle<'s> {
    subject: &'s Subject,
    finder: Finder<'s>,
}

impl<'s> Needle<'s> {
    pub(super) fn new(subject: &'s Subject) -> Self {
        let text: &'s str = match subject {
            Subject::Visitor(visitor) => visitor,
            Subject::Requests(_) => REQUEST,
        };
        Self { subject, finder: Finder::new(text) }
    }

    /// The fields of a line, if it is about the subject.
    pub(super) fn fields(&self, line: &[u8]) -> Option<Value> {
        let at = self.finder.find(line)?;
        if let Subject::Requests(requests) = self.subject {
            let rest = line.get(at + REQUEST.len()..)?;
            let id = std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()?;
            requests.get(id)?;
        }
        let fields: Value = serde_json::from_slice(line).ok()?;
        self.subject.holds(&fields).then_some(fields)
    }
}
