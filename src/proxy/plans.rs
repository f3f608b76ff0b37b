//! What is kept from one start to the next.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// `plans.json` in the log directory.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Plans {
    pub(super) version: u32,
    pub(super) activated: u64,
    pub(super) findings: String,
}

/// Nothing, where there is no such file.
pub(super) fn read_plans(file: &Path) -> Plans {
    std::fs::read_to_string(file).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}
