//! The form of `assets/agents.toml`.

use serde::{Deserialize, Serialize};

/// One entry of `agents.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEntry {
    /// Unique id, `[a-z0-9-]`.
    pub id: String,
    /// Name shown to people.
    pub name: String,
    /// Spelling of a [`Category`](super::Category).
    pub category: String,
    /// Low-priority tier that never outranks a named entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generic: bool,
    /// Literals, compared without regard to ASCII case.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "match")]
    pub literals: Vec<String>,
    /// Regular expressions, each with a literal that must be there too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regex: Vec<AgentRegex>,
    /// Literals that rule this agent out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<String>,
    /// Domains that the names of its addresses are below, by its operator's word; each with a dot in front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Hosts whose keys sign its requests, by its operator's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signature: Vec<String>,
}

/// A pattern that is not a plain literal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRegex {
    /// A literal without which the pattern cannot match.
    pub require: String,
    /// The pattern, in the syntax of the `regex` crate, over bytes: `\d` is a digit of ASCII.
    pub pattern: String,
}
