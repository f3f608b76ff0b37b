//! What a request carries or walks into: passes and traps.

use super::judge::Judge;
use super::state::{Keys, Record, Tick, distinct};
use super::{Fired, Signal};
use crate::visitor::{Trap, Verification, Visitor};

/// Networks of one pass within the hour.
const PASS_NETWORKS: u32 = 8;

impl Judge {
    pub(super) fn traps(&self, visitor: &Visitor, record: &Record, fired: &mut Vec<Fired>) {
        let spared = visitor.prefetch || visitor.verification == Verification::Verified;
        let Some(trap) = visitor.trap.filter(|_| !spared) else { return };
        let (bit, signal) = match trap {
            Trap::HoneyLink => (1, Signal::HoneyLink),
            Trap::RobotsCanary => (2, Signal::RobotsCanary),
        };
        match record.traps {
            0 => self.fire(fired, signal, 1),
            traps if traps & bit == 0 => {
                self.fire(fired, signal, 1);
                self.fire(fired, Signal::TrapRepeat, 1);
            }
            _ => self.fire(fired, Signal::TrapRepeat, 1),
        }
    }

    /// The credit of a pass; `true`: it went around, and is worth nothing.
    pub(super) fn pass(&self, visitor: &Visitor, keys: &Keys, now: Tick, fired: &mut Vec<Fired>) -> bool {
        let (Some(pass), Some(key)) = (visitor.pass, keys.pass) else { return false };
        let networks = self.state.with_record(key, |record, _| {
            if now.hour() != record.last_seen.hour() {
                record.distinct = [0; 2];
            }
            distinct::mark(&mut record.distinct, keys.net.0.0);
            record.distinct.iter().map(|word| word.count_ones()).sum::<u32>()
        });
        if networks.is_some_and(|networks| networks >= PASS_NETWORKS) {
            self.fire(fired, Signal::TokenNetworks, 1);
            return true;
        }
        // Half of it is left at the end of its life.
        let life = f32::from(u16::MAX).min(pass.expires.saturating_sub(pass.issued).max(1) as f32);
        let age = (visitor.arrived.as_secs() as u32).saturating_sub(pass.issued) as f32;
        let points = f32::from(self.weights.of(Signal::PassToken)) * (1.0 - 0.5 * (age / life).min(1.0));
        if points >= 1.0 {
            fired.push(Fired { signal: Signal::PassToken, points: points as u8 });
        }
        false
    }
}
