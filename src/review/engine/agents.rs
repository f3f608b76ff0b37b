//! User agents, each classified once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::distinct::BuildReady;
use crate::visitor::{Agent, Agents, Category};

/// User agents that are told apart; beyond, they are classified each time and not listed.
const MAX_AGENTS: usize = 262_144;
/// Longest user agent that is kept, in bytes; deckle's own log holds no more.
const MAX_LENGTH: usize = 512;

/// A user agent and what it claims to be.
#[derive(Debug)]
pub(crate) struct KnownAgent {
    pub(crate) user_agent: Option<Box<str>>,
    pub(crate) agent: Agent,
}

impl KnownAgent {
    fn new(user_agent: Option<&str>) -> Self {
        let kept = user_agent.map(|text| text.get(..text.floor_char_boundary(MAX_LENGTH)).unwrap_or_default());
        Self { user_agent: kept.map(Into::into), agent: Agents::builtin().classify(user_agent) }
    }

    pub(crate) fn category(&self) -> Category {
        self.agent.category
    }
}

/// All of them, for all threads.
#[derive(Debug, Default)]
pub(crate) struct AgentTable(Mutex<Known>);

type Known = HashMap<u64, Arc<KnownAgent>, BuildReady>;

/// What one thread has seen of the table, so that it need not wait for the others.
#[derive(Debug, Default)]
pub(crate) struct AgentCache {
    known: Known,
    /// Who loads a page loads its files: the next line is often of the same program.
    last: Option<(String, u64, Arc<KnownAgent>)>,
}

impl AgentCache {
    pub(crate) fn get(&mut self, table: &AgentTable, user_agent: Option<&str>) -> (u64, Arc<KnownAgent>) {
        let text = user_agent.unwrap_or_default();
        if let Some((_, hash, known)) = self.last.as_ref().filter(|(last, ..)| last == text) {
            return (*hash, Arc::clone(known));
        }
        let hash = user_agent.map_or(0, |text| twox_hash::XxHash3_64::oneshot(text.as_bytes()));
        if let Some(known) = self.known.get(&hash) {
            return self.remember(text, hash, Arc::clone(known));
        }
        let mut all = table.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_AGENTS && !all.contains_key(&hash) {
            drop(all);
            return (hash, Arc::new(KnownAgent::new(user_agent)));
        }
        let known = all.entry(hash).or_insert_with(|| Arc::new(KnownAgent::new(user_agent)));
        let known = Arc::clone(known);
        drop(all);
        self.known.insert(hash, Arc::clone(&known));
        self.remember(text, hash, known)
    }

    fn remember(&mut self, text: &str, hash: u64, known: Arc<KnownAgent>) -> (u64, Arc<KnownAgent>) {
        // An empty header and none are two things.
        if !text.is_empty() && text.len() <= MAX_LENGTH {
            let mut last = self.last.take().map(|(last, ..)| last).unwrap_or_default();
            last.clear();
            last.push_str(text);
            self.last = Some((last, hash, Arc::clone(&known)));
        }
        (hash, known)
    }
}
