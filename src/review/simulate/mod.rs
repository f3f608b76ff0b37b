//! What deckle would have done with another policy: the requests of a log, decided again in the order of their arrival.
//!
//! A log of another program is judged from nothing, by the code that judges live requests, on a clock that follows the
//! lines (`foreign.rs`). deckle's own log says what was observed of each request; that is taken as it stands, priced
//! anew, and decided under the policy of its time and under the new one (`own.rs`). Where both lead to the same, what the
//! line says was done stands; so the same policy changes nothing.

mod carry;
mod event;
mod foreign;
mod order;
mod own;
mod rules;
mod tally;
#[cfg(test)]
mod tests;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;

use crate::action::{self, ActionError, Mode};
use crate::clock::ManualClock;
use crate::rights;
use crate::suspicion::{self, State, SuspicionError};
use crate::visitor::{self, VisitorError};
use foreign::Foreign;
use order::Order;
use own::Own;
use tally::Outcome;

pub(crate) use event::{Events, PolicyNote};
pub(crate) use tally::{Affected, Tally};

/// Places visitors in the tables, so that each run gives the same answer.
const KEY: [u8; 16] = *b"deckle simulates";
/// The tables are this old when the first line comes: a start is no part of what is simulated.
const BEFORE: Duration = Duration::from_secs(86_400);
/// Silence that leaves nothing behind.
const LONGEST: Duration = Duration::from_secs(40 * 86_400);

/// The policy that is tried: the sections of a `deckle.toml` that a decision hangs on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SimulatedPolicy {
    /// `observe` or `enforce`; what is simulated is what `enforce` does.
    pub mode: Mode,
    /// Who asks.
    pub visitor: visitor::Settings,
    /// How sure.
    pub suspicion: suspicion::Settings,
    /// What is done.
    pub action: action::Settings,
    /// What is declared: whether there is a licence.
    pub rights: rights::Settings,
}

/// Why a policy cannot be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// Section `[visitor]`.
    #[error(transparent)]
    Visitor(#[from] VisitorError),
    /// Section `[suspicion]`.
    #[error(transparent)]
    Suspicion(#[from] SuspicionError),
    /// Section `[action]`.
    #[error(transparent)]
    Action(#[from] ActionError),
}

impl SimulatedPolicy {
    /// A policy of these sections.
    pub fn new(
        mode: Mode,
        visitor: visitor::Settings,
        suspicion: suspicion::Settings,
        action: action::Settings,
        rights: rights::Settings,
    ) -> Self {
        Self { mode, visitor, suspicion, action, rights }
    }

    /// Does all of it hold?
    pub(super) fn check(self: &Arc<Self>) -> Result<(), SimulateError> {
        Replay::new(self).map(|_| ())
    }
}

/// Lines of one round, and a time before which no further line is expected.
struct Round {
    events: Vec<Events>,
    policies: Vec<PolicyNote>,
    border: Option<Duration>,
}

/// Decides beside the threads that read and count.
#[derive(Debug)]
pub(crate) struct Simulator {
    send: SyncSender<Round>,
    done: Receiver<Events>,
    thread: JoinHandle<Tally>,
}

impl Simulator {
    /// `None`: there is no thread to be had.
    pub(crate) fn start(policy: &Arc<SimulatedPolicy>) -> Result<Option<Self>, SimulateError> {
        let replay = Replay::new(policy)?;
        // Whoever reads waits while a round is being decided: there are two in memory, and not more.
        let ((send, receive), (give_back, done)) = (sync_channel(0), channel());
        let spawned = std::thread::Builder::new().name("deckle-simulate".to_owned()).spawn(move || {
            // What is simulated is no news of this site.
            let nobody = tracing::subscriber::NoSubscriber::new();
            tracing::subscriber::with_default(nobody, || replay.run(&receive, &give_back))
        });
        Ok(spawned.ok().map(|thread| Self { send, done, thread }))
    }

    pub(crate) fn feed(&self, events: Vec<Events>, policies: Vec<PolicyNote>, border: Option<Duration>) {
        // If it is gone, `finish` says why.
        let _ = self.send.send(Round { events, policies, border });
    }

    /// Memory of lines that are decided, for others.
    pub(crate) fn spare(&self) -> impl Iterator<Item = Events> {
        self.done.try_iter()
    }

    /// Decides what is left. A simulation that lacks requests would be a lie: its fault is passed on.
    pub(crate) fn finish(self) -> Tally {
        drop(self.send);
        self.thread.join().unwrap_or_else(|fault| resume_unwind(fault))
    }
}

/// The requests of a log on a clock of their own.
struct Replay {
    clock: Arc<ManualClock>,
    /// The time of the newest line.
    at: Option<Duration>,
    order: Order,
    foreign: Foreign,
    own: Own,
    tally: Tally,
}

impl Replay {
    fn new(policy: &Arc<SimulatedPolicy>) -> Result<Self, SimulateError> {
        let clock = ManualClock::at(0);
        let state = State::with_size(clock.clone(), policy.suspicion.state.size).keyed(KEY).without_heat();
        let state = Arc::new(state);
        clock.advance(BEFORE);
        let foreign = Foreign::new(&state, policy)?;
        let own = Own::new(&state, &clock, policy)?;
        Ok(Self { clock, at: None, order: Order::default(), foreign, own, tally: Tally::default() })
    }

    fn run(mut self, receive: &Receiver<Round>, give_back: &Sender<Events>) -> Tally {
        for Round { events, policies, border } in receive {
            self.order.add(events, policies);
            // Without a border what does not find room is decided all the same.
            self.step(Some(border.unwrap_or_default()));
            // Whoever reads may be gone.
            self.order.spare().for_each(|events| _ = give_back.send(events));
        }
        self.step(None);
        self.tally.changed_policies = self.own.changed_policies();
        self.tally
    }

    /// Decides what arrived before the border; `None`: everything.
    fn step(&mut self, border: Option<Duration>) {
        let due = self.order.before(border);
        for place in &due {
            while let Some(note) = self.order.policy_before(place.time(), |writer| self.own.knows(writer)) {
                self.own.follow(&note);
            }
            self.advance(place.time());
            let Some(event) = self.order.event(*place) else { continue };
            let outcome = match event.own {
                Some(line) => self.own.decide(&event, line),
                None => self.foreign.decide(&event),
            };
            match outcome {
                Some(outcome) => self.tally.add(&event, &outcome),
                None if event.counted => self.tally.undecided += event.weight,
                None => {}
            }
        }
        self.order.release(&due);
    }

    /// The clock never goes back.
    fn advance(&mut self, time: Duration) {
        let at = self.at.unwrap_or(time);
        match time.checked_sub(at) {
            // Logs count in seconds, and many lines come in one.
            Some(gap) if gap.is_zero() => {}
            Some(gap) => self.clock.advance(gap.min(LONGEST)),
            None => self.tally.late += 1,
        }
        self.at = Some(at.max(time));
    }
}
