//! What a request carries or walks into: passes and traps.

use super::conduct::browses;
use super::judge::{Judge, ONCE};
use super::state::{Keys, Record, distinct, flag};
use super::{Fired, Signal, Signals};
use crate::visitor::{Trap, Visitor};

/// Networks of one pass within the hour, and names beyond the number of networks.
const PASS_NETWORKS: u32 = 8;
const PASS_NAMES: u32 = 8;

/// What a pass is worth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PassState {
    /// It is shown for the first time.
    pub(super) fresh: bool,
    /// Points; `None`: there is none, or it goes around and is worth nothing.
    pub(super) credit: Option<u8>,
}

impl Judge {
    pub(super) fn traps(&self, visitor: &Visitor, record: &Record, spared: bool, fired: &mut Signals) {
        let Some(trap) = visitor.trap.filter(|_| !spared) else { return };
        // What was switched off has no victims, whoever still knows the way.
        let set = match trap {
            Trap::HoneyLink => self.links.is_some(),
            Trap::RobotsCanary => self.canary,
        };
        if !set {
            return;
        }
        // Extensions of browsers follow hidden links ahead of the reader, and meet the same link on the next page: one
        // link alone is not enough there. Nothing leads to the other trap but the text of robots.txt.
        let (bit, signal, halves) = match trap {
            Trap::HoneyLink if browses(record) => (1, Signal::HoneyLink, ONCE / 2),
            Trap::HoneyLink => (1, Signal::HoneyLink, ONCE),
            Trap::RobotsCanary => (2, Signal::RobotsCanary, ONCE),
        };
        let again = record.traps & bit != 0;
        if !again {
            self.fire(fired, signal, halves);
        }
        if record.traps != 0 && (!again || record.assets == 0) {
            self.fire(fired, Signal::TrapRepeat, ONCE);
        }
    }

    /// The credit of a pass.
    pub(super) fn pass(&self, visitor: &Visitor, keys: &Keys, fired: &mut Signals) -> PassState {
        let (Some(pass), Some(key)) = (visitor.pass, keys.pass) else { return PassState::default() };
        let seen = self.state.with_record(key, |record, known| {
            let [networks, subs] = &mut record.distinct;
            distinct::mark(std::slice::from_mut(networks), keys.net.0.0);
            distinct::mark(std::slice::from_mut(subs), keys.own.0);
            record.flags |= flag::PROTECTED;
            (networks.count_ones(), subs.count_ones(), known)
        });
        let fresh = seen.is_some_and(|(.., known)| !known);
        // A reader who moves changes both; many names in one place are no reader.
        if seen.is_some_and(|(networks, subs, _)| networks >= PASS_NETWORKS || subs >= networks + PASS_NAMES) {
            self.fire(fired, Signal::TokenNetworks, ONCE);
            return PassState { fresh, credit: None };
        }
        // Half of it is left at the end of its life.
        let life = pass.expires.saturating_sub(pass.issued).max(1) as f32;
        let age = (visitor.arrived.as_secs() as u32).saturating_sub(pass.issued) as f32;
        let points = f32::from(self.weights.of(Signal::PassToken)) * (1.0 - 0.5 * (age / life).min(1.0));
        let points = points as u8;
        if points > 0 {
            fired.push(Fired { signal: Signal::PassToken, points });
        }
        PassState { fresh, credit: Some(points) }
    }
}
