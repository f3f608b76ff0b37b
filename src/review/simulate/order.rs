//! Lines in the order of arrival: they are written when the answer is over.

use std::time::Duration;

use super::event::{Event, PolicyNote};

/// So much later than the first request after a start its policy may have been written down.
const BEGINNING: Duration = Duration::from_secs(2);
/// Lines that wait for earlier ones, at most.
const MOST: usize = 1 << 19;

/// Lines that are not decided yet.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: Vec<Event>,
    policies: Vec<PolicyNote>,
}

impl Order {
    pub(super) fn add(&mut self, mut events: Vec<Event>, policies: Vec<PolicyNote>) {
        events.sort_by_key(|event| (event.time, event.place));
        self.waiting.extend(events);
        self.policies.extend(policies);
        // Nearly in order already, which a stable sort makes use of; what came in earlier rounds stays in front.
        self.waiting.sort_by_key(|event| event.time);
        // The last one first.
        self.policies.sort_by_key(|note| std::cmp::Reverse(note.time));
    }

    /// What arrived before the border, `None`: all; and what does not find room any longer.
    pub(super) fn before(&mut self, border: Option<Duration>) -> Vec<Event> {
        let due = border.map_or(self.waiting.len(), |border| self.waiting.partition_point(|event| event.time < border));
        let due = due.max(self.waiting.len().saturating_sub(MOST));
        let later = self.waiting.split_off(due);
        std::mem::replace(&mut self.waiting, later)
    }

    /// The next policy that was in force at this time.
    pub(super) fn policy_before(&mut self, time: Duration, is_known: impl Fn(&str) -> bool) -> Option<PolicyNote> {
        self.policies.pop_if(|note| {
            let early = if is_known(&note.instance) { Duration::ZERO } else { BEGINNING };
            note.time <= time + early
        })
    }
}
