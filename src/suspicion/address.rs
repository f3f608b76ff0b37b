//! What an address has seen: who else is there, and how many names it goes by.

use super::cells::CellKey;
use super::judge::Judge;
use super::state::{Keys, Record, Tick, distinct, flag};
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
        self.state.with_record_at(keys.address, now, |record, known| {
            record.flags |= flag::ADDRESS;
            // The window of an address begins with its first request and is counted in seconds.
            if now.seconds().saturating_sub(record.last_number) >= ROTATION_WINDOW {
                record.last_number = now.seconds();
                record.distinct[0] = 0;
            }
            if now.seconds_since(record.first_seen) >= DAY {
                record.first_seen = now;
                record.distinct[1] = 0;
                record.gaps = [0; 8];
            }
            if page {
                distinct::mark(&mut record.distinct[..1], keys.own.0);
            }
            if proven {
                distinct::mark(&mut record.distinct[1..], keys.own.0);
                name(&mut record.gaps, keys.own);
            }
            let others = others(record, keys.own);
            let names = record.distinct[0].count_ones();
            Address {
                others,
                width: Width::of(record.distinct[1].count_ones().max(named(&record.gaps))),
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

/// Two bytes of a key, none of which are nought.
fn short(key: CellKey) -> u16 {
    ((key.0 >> 48) as u16).max(1)
}

/// Takes down a proven sub-identity, while there is room.
fn name(names: &mut [u16; 8], key: CellKey) {
    let short = short(key);
    if let Some(place) = names.iter_mut().find(|name| **name == 0 || **name == short) {
        *place = short;
    }
}

fn named(names: &[u16; 8]) -> u32 {
    names.iter().map(|name| u32::from(*name != 0)).sum()
}

/// Proven sub-identities besides this one. Of 64 bits two browsers may have the same; the first eight have names.
fn others(record: &Record, own: CellKey) -> u32 {
    if named(&record.gaps) < 8 {
        return record.gaps.iter().map(|name| u32::from(*name != 0 && *name != short(own))).sum();
    }
    (record.distinct[1] & !(1 << (own.0 % 64))).count_ones()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their bits are the same, their names are not.
    fn key(number: u64) -> CellKey {
        CellKey(number << 48)
    }

    #[test]
    fn a_few_browsers_are_told_apart_and_many_are_counted() {
        let mut record = Record::default();
        let prove = |record: &mut Record, key: CellKey| {
            distinct::mark(&mut record.distinct[1..], key.0);
            name(&mut record.gaps, key);
        };
        assert_eq!(others(&record, key(1)), 0);
        prove(&mut record, key(1));
        assert_eq!(
            (others(&record, key(1)), others(&record, key(2))),
            (0, 1),
            "a newcomer is not the one who is there"
        );
        prove(&mut record, key(2));
        prove(&mut record, key(2));
        assert_eq!((others(&record, key(1)), others(&record, key(3)), named(&record.gaps)), (1, 2, 2));
        (0..20).for_each(|number| prove(&mut record, CellKey(number | (number + 1) << 48)));
        assert_eq!(named(&record.gaps), 8);
        assert_eq!((others(&record, CellKey(3)), others(&record, CellKey(63))), (19, 20));
    }
}
