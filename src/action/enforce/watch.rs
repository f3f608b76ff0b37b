//! What the safety valve is told.

use super::layer::Shared;
use crate::action::Action;
use crate::action::policy::{Draft, Rule};
use crate::suspicion::{Assessment, Opened, Tick};

/// Points of headers from which somebody is no plain browser.
const ODD: f32 = 8.0;

impl Shared {
    /// Notes what a reader gets, as far as the score has decided it. In mode `observe`, too: what would be done is what has
    /// to be known before it is done.
    pub(super) fn watch(&self, draft: &Draft, of: &Assessment, now: Tick) {
        let points = &of.points;
        let reader = of.standing && points.claim < 1.0 && points.trap < 1.0 && points.headers < ODD;
        let Some(keys) = of.keys.filter(|_| reader && of.counts_as_page) else { return };
        let disturbed = draft.action >= Action::Slow && draft.rule == Rule::Score;
        let allowed = self.settings.safety.max_disturbed.0;
        match self.state.valve.note(keys.net.0.0, disturbed, &of.signals, allowed, now) {
            Some(Opened::Muted(signals)) => {
                let signals: Vec<&str> = signals.iter().map(|signal| signal.code()).collect();
                tracing::error!(target: "deckle", event = "valve_open", ?signals,
                    "Too many readers are disturbed; what did it counts no more for ten minutes.");
            }
            Some(Opened::Wide) => tracing::error!(target: "deckle", event = "valve_open",
                "Too many readers are disturbed still; for ten minutes the score leads to nothing."),
            None => {}
        }
    }
}
