//! Looking ahead: what is known of the next requests is read for all of them at once.
//!
//! The tables are larger than what a processor keeps near itself, so a look-up waits for memory, and a request makes a
//! dozen of them one after the other. Whoever knows the next requests, as a replay does, can read what belongs to all of
//! them before the first one is judged: reads that do not hang on one another wait together.
//!
//! It is only read, so that nothing is judged otherwise. It is for tables that nobody else uses: several sets are locked at
//! once, and whoever asked for one of them meanwhile would be judged without history.

use super::{Keys, Record, State};
use crate::suspicion::cells::CellKey;

impl State {
    /// Reads the records of these visitors and of their networks. The places of those whose sub-identity is known and of
    /// this kind, as far as is easily seen.
    pub(crate) fn look_ahead<'k>(
        &self,
        all: impl Iterator<Item = &'k Keys> + Clone,
        is_sought: impl Fn(&Record) -> bool,
    ) -> Vec<usize> {
        let networks = all.clone().flat_map(|keys| std::iter::once(keys.net.0).chain(keys.wide));
        let addresses = all.clone().map(|keys| keys.address);
        let own = all.map(|keys| keys.own);
        self.records.touch_heads(addresses.clone());
        self.records.touch_heads(own.clone());
        self.networks.touch_heads(networks.clone());
        self.records.touch(addresses, |_| false);
        self.networks.touch(networks);
        self.records.touch(own, is_sought)
    }

    /// Reads these cells.
    pub(crate) fn look_ahead_at_cells(&self, cells: impl Iterator<Item = CellKey>) {
        self.cells.touch(cells);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::suspicion::state::{Crowd, StateSize, flag};

    fn keys(number: u64) -> Keys {
        let key = |salt: u64| CellKey((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt << 56);
        let own = key(2);
        let net = (key(3), Crowd::V4);
        Keys { address: key(1), own, sub: own, pass: None, net, wide: None, make: None, shared: None }
    }

    #[test]
    fn it_finds_who_is_known_and_changes_nothing() {
        let clock = ManualClock::at(0);
        let state = State::with_size(clock.clone(), StateSize::Small);
        let all: Vec<Keys> = (0..40).map(keys).collect();
        for (at, keys) in all.iter().enumerate().take(20) {
            state.with_record(keys.own, |record, _| {
                record.pages = at as u16;
                record.flags |= if at % 2 == 0 { flag::LATE } else { 0 };
            });
        }
        clock.advance(Duration::from_secs(7_200));
        // Twice the same ones: of two that stand in one set, one is enough.
        let twice = || all.iter().chain(&all);
        let late = state.look_ahead(twice(), |record| record.flags & flag::LATE != 0);
        assert_eq!(late, (0..20).step_by(2).collect::<Vec<_>>());
        state.look_ahead_at_cells(all.iter().map(|keys| keys.address));
        assert_eq!(state.cells().evictions(), 0);
        for (at, keys) in all.iter().enumerate() {
            let (seen, known) =
                state.with_record(keys.own, |record, known| (record.first_seen, known)).expect("no set is busy now");
            let since = if at < 20 { 0 } else { 7_200 };
            assert_eq!((known, seen.seconds()), (at < 20, since), "{at}");
            let page = state.with_record(keys.address, |_, known| known);
            assert_eq!(page, Some(false), "nobody has come by to be looked ahead for");
        }
    }
}
