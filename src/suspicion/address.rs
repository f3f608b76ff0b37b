//! What an address has seen: who else is there, and how many names it goes by.

use super::judge::Judge;
use super::state::{Keys, Tick, distinct, flag};
use super::width::Width;

/// Sub-identities of one address within ten minutes.
const ROTATION: u32 = 8;
const ROTATION_WINDOW: u32 = 600;
/// So many names for each that is proven are more than people have.
const ROTATION_SHARE: u32 = 4;
const DAY: u32 = 86_400;

/// What the record of an address says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    /// Proven sub-identities besides this one.
    pub(super) others: u32,
    pub(super) width: Width,
    pub(super) rotates: bool,
    pub(super) network: f32,
    pub(super) rate: f32,
    pub(super) decay_at: Tick,
    pub(super) last_score: u8,
    pub(super) known: bool,
}

impl Judge {
    /// What the address has seen, and who else is there.
    pub(super) fn address(&self, keys: &Keys, proven: bool, page: bool, now: Tick) -> Option<Address> {
        self.state.with_record(keys.address, |record, known| {
            record.flags |= flag::ADDRESS;
            // The window of an address begins with its first request and is counted in seconds.
            if now.seconds().saturating_sub(record.last_number) >= ROTATION_WINDOW {
                record.last_number = now.seconds();
                record.distinct[0] = 0;
            }
            if now.seconds_since(record.first_seen) >= DAY {
                record.first_seen = now;
                record.distinct[1] = 0;
            }
            if page {
                distinct::mark(&mut record.distinct[..1], keys.own.0);
            }
            if proven {
                distinct::mark(&mut record.distinct[1..], keys.own.0);
            }
            let others = (record.distinct[1] & !(1 << (keys.own.0 % 64))).count_ones();
            let names = record.distinct[0].count_ones();
            Address {
                others,
                width: Width::of(record.distinct[1].count_ones()),
                rotates: names >= ROTATION && names > ROTATION_SHARE * others,
                network: record.network,
                rate: record.rate,
                decay_at: record.decay_at,
                last_score: record.last_score,
                known,
            }
        })
    }
}
