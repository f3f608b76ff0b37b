//! Who does what in a round. Any thread parses the next group of lines; each lane counts its part of the visitors, group by
//! group in their order, so it does not matter who has parsed them. Nobody waits while there is something to do.

use std::sync::{Condvar, Mutex, PoisonError};

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// The lines of this group.
    Parse(usize),
    /// What a lane has in this group.
    Count { lane: usize, group: usize },
    /// The rows of this slot are done, and no others come into it.
    Clear(usize),
}

/// All that is to be done. Each group lies in a slot, from when it is parsed until all lanes have counted it.
#[derive(Debug)]
pub(super) struct Schedule {
    groups: usize,
    slots: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Groups that somebody parses or has parsed.
    begun: usize,
    /// By group.
    parsed: Vec<bool>,
    /// By lane: groups that it has counted.
    counted: Vec<usize>,
    /// Slots that are to be cleared.
    over: Vec<usize>,
    /// Threads that wait.
    waiting: usize,
}

impl Schedule {
    /// So many groups, for so many lanes, of which as many as there are slots are on the way at once.
    pub(super) fn new(groups: usize, lanes: usize, slots: usize) -> Self {
        let parsed = vec![false; groups];
        let state = State { begun: 0, parsed, counted: vec![0; lanes], over: Vec::new(), waiting: 0 };
        Self { groups, slots, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Where a group lies.
    pub(super) fn slot(&self, group: usize) -> usize {
        group % self.slots
    }

    /// What comes next for the thread that has these lanes, and has done another task; `None`: it has done everything.
    pub(super) fn next(&self, done: Option<Task>, lanes: impl Iterator<Item = usize> + Clone) -> Option<Task> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = done {
            self.note(&mut state, task);
            if state.waiting > 0 {
                self.changed.notify_all();
            }
        }
        loop {
            if let Some(task) = self.choose(&mut state, lanes.clone()) {
                return Some(task);
            }
            if lanes.clone().all(|lane| state.counted.get(lane).is_none_or(|counted| *counted == self.groups)) {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn note(&self, state: &mut State, done: Task) {
        match done {
            Task::Parse(group) => {
                if let Some(is_parsed) = state.parsed.get_mut(group) {
                    *is_parsed = true;
                }
            }
            Task::Count { lane, group } => {
                if let Some(counted) = state.counted.get_mut(lane) {
                    *counted = group + 1;
                }
                let is_last = group + self.slots >= self.groups;
                if is_last && state.counted.iter().all(|counted| *counted > group) {
                    state.over.push(self.slot(group));
                }
            }
            Task::Clear(_) => {}
        }
    }

    /// What has been parsed is counted first: it is still in the cache of some processor.
    fn choose(&self, state: &mut State, lanes: impl Iterator<Item = usize>) -> Option<Task> {
        if let Some(slot) = state.over.pop() {
            return Some(Task::Clear(slot));
        }
        // No lane is behind a group that is not parsed: if the last one has nothing to count, none has.
        let groups = lanes.filter_map(|lane| Some((*state.counted.get(lane)?, lane)));
        if let Some((group, lane)) = groups.min()
            && state.parsed.get(group).is_some_and(|is_parsed| *is_parsed)
        {
            return Some(Task::Count { lane, group });
        }
        let free = state.counted.iter().min().copied().unwrap_or(0) + self.slots;
        if state.begun < self.groups.min(free) {
            state.begun += 1;
            return Some(Task::Parse(state.begun - 1));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does everything with so many threads, and tells what was done in which order.
    fn run(groups: usize, lanes: usize, slots: usize, workers: usize) -> Vec<Task> {
        let (schedule, all) = (Schedule::new(groups, lanes, slots), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (schedule, all) = (&schedule, &all);
                scope.spawn(move || {
                    let mut done = None;
                    while let Some(task) = schedule.next(done, (worker..lanes).step_by(workers)) {
                        all.lock().unwrap().push(task);
                        done = Some(task);
                    }
                });
            }
        });
        all.into_inner().unwrap()
    }

    #[test]
    fn everything_is_done_once_and_in_order() {
        for (groups, lanes, slots, workers) in
            [(1, 1, 1, 1), (9, 1, 1, 1), (40, 2, 4, 2), (3, 2, 4, 2), (40, 3, 6, 2), (17, 4, 1, 4), (5, 7, 14, 7)]
        {
            let what = format!("{groups} groups, {lanes} lanes, {slots} slots, {workers} threads");
            let all = run(groups, lanes, slots, workers);
            let place = |task: Task| {
                assert_eq!(all.iter().filter(|done| **done == task).count(), 1, "{task:?}: {what}");
                all.iter().position(|done| *done == task).unwrap()
            };
            let count = |lane: usize, group: usize| place(Task::Count { lane, group });
            for group in 0..groups {
                let parse = place(Task::Parse(group));
                for lane in 0..lanes {
                    assert!(parse < count(lane, group), "{what}");
                    assert!(group == 0 || count(lane, group - 1) < count(lane, group), "{what}");
                    assert!(group < slots || count(lane, group - slots) < parse, "its slot is free: {what}");
                }
            }
            for slot in 0..slots.min(groups) {
                let last = (0..groups).rfind(|group| group % slots == slot).unwrap();
                assert!((0..lanes).all(|lane| count(lane, last) < place(Task::Clear(slot))), "{what}");
            }
            assert_eq!(all.len(), groups * (1 + lanes) + slots.min(groups), "{what}");
        }
    }

    #[test]
    fn who_is_ahead_parses_for_the_others() {
        let schedule = Schedule::new(6, 2, 4);
        let slow = schedule.next(None, 0..1);
        assert_eq!(slow, Some(Task::Parse(0)));
        let mut done = None;
        for group in 1..4 {
            done = schedule.next(done, 1..2);
            assert_eq!(done, Some(Task::Parse(group)), "there is a slot for it");
        }
        assert_eq!(schedule.next(slow, 0..1), Some(Task::Count { lane: 0, group: 0 }));
        assert_eq!(schedule.next(done, 1..2), Some(Task::Count { lane: 1, group: 0 }));
    }
}
