//! Lines in the order of arrival: they are written when the answer is over.

use std::time::Duration;

use super::event::{Event, Events, PolicyNote};

/// So much later than the first request after a start its policy may have been written down.
const BEGINNING: Duration = Duration::from_secs(2);
/// Lines that wait for earlier ones, at most.
const MOST: usize = 1 << 19;
/// Fewer lines than this have no part of their own for long.
const FEW: usize = 1 << 10;

/// Where a line is kept, and when its request came. These are put in order; what is kept stays where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Nanoseconds since 1970.
    time: u64,
    chunk: u32,
    part: u32,
    at: u32,
}

impl Place {
    pub(super) fn time(self) -> Duration {
        Duration::from_nanos(self.time)
    }
}

/// What one thread has read in a round, as long as any of it waits.
#[derive(Debug, Default)]
struct Part {
    events: Events,
    /// So many wait.
    left: usize,
    /// Of the last round.
    is_new: bool,
}

impl Part {
    /// Something of an earlier round waits.
    fn is_old(&self) -> bool {
        !self.is_new && self.left > 0
    }

    /// Most of it is done with, and kept.
    fn is_sparse(&self) -> bool {
        self.is_old() && self.left * 2 < self.events.len()
    }

    fn is_to_be_gathered(&self) -> bool {
        self.is_sparse() || (self.is_old() && self.left < FEW)
    }
}

/// Lines that are not decided yet.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// In the order of arrival.
    waiting: Vec<Place>,
    parts: Vec<Part>,
    policies: Vec<PolicyNote>,
    /// Memory of lines that are done with.
    spare: Vec<Events>,
}

impl Order {
    pub(super) fn add(&mut self, round: Vec<Events>, policies: Vec<PolicyNote>) {
        self.parts.iter_mut().for_each(|part| part.is_new = false);
        let before = self.waiting.len();
        for events in round.into_iter().filter(|events| !events.is_empty()) {
            let part = self.room();
            let places =
                events.places().zip(0..).map(|((time, chunk), at)| Place { time: nanos(time), chunk, part, at });
            self.waiting.extend(places);
            self.keep(part, events, true);
        }
        if let Some(new) = self.waiting.get_mut(before..) {
            // The lines of a chunk are all in one part.
            new.sort_by_key(|place| (place.time, place.chunk, place.at));
        }
        // Two runs, of which a stable sort makes use; what came in earlier rounds stays in front.
        self.waiting.sort_by_key(|place| place.time);
        self.policies.extend(policies);
        // The last one first.
        self.policies.sort_by_key(|note| std::cmp::Reverse(note.time));
    }

    /// What arrived before the border, `None`: all; and what does not find room any longer. It is kept until
    /// [`release`](Self::release).
    pub(super) fn before(&mut self, border: Option<Duration>) -> Vec<Place> {
        let early = |border: u64| self.waiting.partition_point(|place| place.time < border);
        let due = border.map_or(self.waiting.len(), |border| early(nanos(border)));
        let due = due.max(self.waiting.len().saturating_sub(MOST));
        let later = self.waiting.split_off(due);
        std::mem::replace(&mut self.waiting, later)
    }

    /// The line of a place.
    pub(super) fn event(&self, place: Place) -> Option<Event<'_>> {
        self.parts.get(place.part as usize)?.events.get(place.at as usize)
    }

    /// These are decided.
    pub(super) fn release(&mut self, decided: &[Place]) {
        for place in decided {
            if let Some(part) = self.parts.get_mut(place.part as usize) {
                part.left = part.left.saturating_sub(1);
            }
        }
        self.let_go(|part| part.left == 0);
        if self.parts.iter().any(Part::is_sparse) {
            self.gather();
        }
    }

    /// Lines that wait for long are put together: they would keep in memory what came with them.
    fn gather(&mut self) {
        let mut gathered = Events::default();
        let room = self.room();
        for place in &mut self.waiting {
            let part = self.parts.get_mut(place.part as usize).filter(|part| part.is_to_be_gathered());
            if let Some(part) = part {
                place.at = gathered.take(&mut part.events, place.at as usize) as u32;
                place.part = room;
            }
        }
        self.let_go(Part::is_to_be_gathered);
        self.keep(room, gathered, false);
    }

    /// Nothing waits in these any more.
    fn let_go(&mut self, is_over: impl Fn(&Part) -> bool) {
        for part in self.parts.iter_mut().filter(|part| is_over(part)) {
            let Part { events, .. } = std::mem::take(part);
            if !events.is_empty() {
                self.spare.push(events.emptied());
            }
        }
    }

    /// Memory for other lines.
    pub(super) fn spare(&mut self) -> impl Iterator<Item = Events> {
        self.spare.drain(..)
    }

    /// Number of a part that is free.
    fn room(&mut self) -> u32 {
        let free = self.parts.iter().position(|part| part.left == 0);
        let room = free.unwrap_or_else(|| {
            self.parts.push(Part::default());
            self.parts.len() - 1
        });
        room as u32
    }

    fn keep(&mut self, part: u32, events: Events, is_new: bool) {
        if let Some(place) = self.parts.get_mut(part as usize) {
            *place = Part { left: events.len(), events, is_new };
        }
    }

    /// The next policy that was in force at this time.
    pub(super) fn policy_before(&mut self, time: Duration, is_known: impl Fn(&str) -> bool) -> Option<PolicyNote> {
        self.policies.pop_if(|note| {
            let early = if is_known(&note.instance) { Duration::ZERO } else { BEGINNING };
            note.time <= time + early
        })
    }
}

/// Until the year 2554.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::push;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Times and paths of what is due, which is decided with that.
    fn decided(order: &mut Order, border: Option<u64>) -> Vec<(u64, String)> {
        let due = order.before(border.map(seconds));
        let of = |place: &Place| {
            let event = order.event(*place).unwrap();
            assert_eq!(event.time, place.time());
            (event.time.as_secs(), format!("{} {}", event.address(), event.path()))
        };
        let all = due.iter().map(of).collect();
        order.release(&due);
        all
    }

    /// A line of each time; its path says which it is.
    fn lines(name: &str, chunks: &[(u32, &[u64])]) -> Events {
        let mut events = Events::default();
        for (chunk, times) in chunks {
            for (at, time) in times.iter().enumerate() {
                push(&mut events, *chunk, (&format!("192.0.2.{at}"), "Wget/1.21", &format!("/{name}{chunk}")), *time);
            }
        }
        events
    }

    #[test]
    fn lines_of_several_threads_stand_in_the_order_of_time_then_of_arrival() {
        let mut order = Order::default();
        order.add(vec![lines("a", &[(1, &[5, 3]), (2, &[9])]), lines("b", &[(0, &[3, 7]), (3, &[3])])], Vec::new());
        order.add(vec![Events::default(), lines("c", &[(0, &[3, 4])])], Vec::new());
        let expected = [
            (3, "192.0.2.0 /b0"),
            (3, "192.0.2.1 /a1"),
            (3, "192.0.2.0 /b3"),
            (3, "192.0.2.0 /c0"),
            (4, "192.0.2.1 /c0"),
        ];
        assert_eq!(decided(&mut order, Some(5)), expected.map(|(time, text)| (time, text.to_owned())));
        assert!(decided(&mut order, Some(5)).is_empty());
        let rest: Vec<u64> = decided(&mut order, None).into_iter().map(|(time, _)| time).collect();
        assert_eq!((rest, order.parts.iter().map(|part| part.left).sum::<usize>()), (vec![5, 7, 9], 0));
    }

    #[test]
    fn what_waits_for_long_does_not_keep_what_came_with_it() {
        let mut order = Order::default();
        for round in 0..50u64 {
            let mut times = vec![round; 100];
            times.extend([1_000 + round; 2]);
            order.add(vec![lines("a", &[(round as u32, &times)])], Vec::new());
            assert_eq!(decided(&mut order, Some(round + 1)).len(), 100);
            let (waiting, parts) = (order.waiting.len(), order.parts.len());
            let kept: usize = order.parts.iter().map(|part| part.events.len()).sum();
            assert!(waiting == 2 * (round as usize + 1) && kept <= waiting + 2 * 102 && parts < 5, "{kept} in {parts}");
        }
        let rest = decided(&mut order, None);
        let expected = |at: u64| (1_000 + at / 2, format!("192.0.2.{} /a{}", 100 + at % 2, at / 2));
        assert_eq!(rest, (0..100).map(expected).collect::<Vec<_>>());
        assert!(order.parts.iter().all(|part| part.events.is_empty()));
    }

    #[test]
    fn memory_of_what_is_decided_serves_other_lines() {
        let mut order = Order::default();
        order.add(vec![lines("a", &[(0, &[1, 2])]), lines("b", &[(1, &[9])])], Vec::new());
        assert_eq!(decided(&mut order, Some(5)).len(), 2);
        let mut spare: Vec<Events> = order.spare().collect();
        assert!(spare.len() == 1 && spare[0].is_empty() && order.spare().next().is_none());
        let mut events = spare.remove(0);
        push(&mut events, 3, ("192.0.2.7", "Wget/1.21", "/c"), 4);
        assert_eq!((events.first_of(0), events.first_of(3)), (None, Some(seconds(4))));
        order.add(vec![events], Vec::new());
        let expected = [(4, "192.0.2.7 /c"), (9, "192.0.2.0 /b1")];
        assert_eq!(decided(&mut order, None), expected.map(|(time, text)| (time, text.to_owned())));
    }

    #[test]
    fn what_finds_no_room_does_not_wait() {
        let mut order = Order::default();
        let place = |at: u32| Place { time: at.into(), chunk: 0, part: 0, at };
        order.waiting = (0..MOST as u32 + 7).map(place).collect();
        assert_eq!(order.before(Some(Duration::ZERO)).len(), 7);
        assert_eq!(order.waiting.len(), MOST);
    }
}
