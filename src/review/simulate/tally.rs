//! What came of it: how many requests went from which action to which, and who is newly affected.

use std::collections::HashMap;

use super::event::Event;
use crate::action::{Action, Rule};
use crate::review::engine::{Amount, BuildReady, Requests, Weight};

/// Visitors that are told apart.
const MOST: usize = 1 << 16;

/// What came of one request.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What was done, or would have been in mode `observe`.
    pub(super) current: Action,
    pub(super) simulated: Action,
    /// Bytes that would not have been sent.
    pub(super) saved: u64,
    /// What decides now.
    pub(super) rule: Rule,
    pub(super) is_own: bool,
    /// Nobody knows who asked.
    pub(super) is_unaddressed: bool,
    /// The policy of that time leads to what the line says.
    pub(super) reproduced: bool,
}

/// A visitor that would be disturbed and was not.
#[derive(Debug)]
pub(crate) struct Affected {
    pub(crate) requests: Requests,
    /// The strongest action, and what decides it.
    pub(crate) action: Action,
    pub(crate) rule: Rule,
    pub(crate) saved: Amount,
}

/// All outcomes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By current action, then by simulated one.
    pub(crate) matrix: [[Requests; Action::ALL.len()]; Action::ALL.len()],
    pub(crate) affected: HashMap<u64, Affected, BuildReady>,
    /// Requests of visitors for whom there was no room.
    pub(crate) crowded_out: Requests,
    pub(crate) saved: Amount,
    pub(crate) own: Requests,
    pub(crate) foreign: Requests,
    pub(crate) unaddressed: Requests,
    pub(crate) reproduced: Requests,
    /// Lines about which nothing was decided.
    pub(crate) undecided: Requests,
    /// Lines that came later than they may.
    pub(crate) late: u64,
    /// How often the log says under which policy it goes on.
    pub(crate) changed_policies: u64,
}

/// From here on, whoever asks notices.
fn disturbs(action: Action) -> bool {
    action.is_at_least(Action::Slow)
}

fn at(action: Action) -> usize {
    Action::ALL.iter().position(|known| *known == action).unwrap_or(0)
}

impl Tally {
    pub(super) fn add(&mut self, event: &Event<'_>, of: &Outcome) {
        if !event.counted {
            return;
        }
        let weight = event.weight;
        if let Some(cell) = self.matrix.get_mut(at(of.current)).and_then(|row| row.get_mut(at(of.simulated))) {
            *cell += weight;
        }
        *(if of.is_own { &mut self.own } else { &mut self.foreign }) += weight;
        if of.is_unaddressed {
            self.unaddressed += weight;
        }
        if of.reproduced {
            self.reproduced += weight;
        }
        self.saved.note(weight, of.saved);
        if disturbs(of.simulated) && !disturbs(of.current) {
            self.add_affected(event.visitor, weight, of);
        }
    }

    fn add_affected(&mut self, visitor: u64, weight: Weight, of: &Outcome) {
        let room = self.affected.len() < MOST;
        match self.affected.get_mut(&visitor) {
            Some(known) => {
                known.requests += weight;
                known.saved.note(weight, of.saved);
                if of.simulated > known.action {
                    (known.action, known.rule) = (of.simulated, of.rule.clone());
                }
            }
            None if room => {
                let (mut requests, mut saved) = (Requests::default(), Amount::default());
                requests += weight;
                saved.note(weight, of.saved);
                let (action, rule) = (of.simulated, of.rule.clone());
                self.affected.insert(visitor, Affected { requests, action, rule, saved });
            }
            None => self.crowded_out += weight,
        }
    }
}
