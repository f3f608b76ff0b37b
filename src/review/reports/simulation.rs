//! What another policy would have done, and to whom.

use super::{Everybody, title, visitor};
use crate::action::{Action, Mode};
use crate::review::engine::Facts;
use crate::review::findings::{findings, human_evidence};
use crate::review::report::{AffectedClass, AffectedRow, AffectedVisitors, MatrixCell, Simulation, UnavailableRow};
use crate::review::simulate::{Affected, SimulatedPolicy, Tally};
use crate::suspicion::{Signal, is_unlogged};
use crate::visitor::{Category, Verification};

/// Visitors of each class that are named.
const NAMED: usize = 20;
/// Evidence that makes somebody a reader.
const EVIDENCE: usize = 2;

/// `None`: nothing was simulated.
pub(super) fn simulation(everybody: &Everybody<'_>, policy: &SimulatedPolicy) -> Option<Simulation> {
    let tally = everybody.counts.simulation.as_ref()?;
    let matrix = matrix(tally);
    let same = matrix.iter().filter(|cell| cell.current == cell.simulated);
    let (affected, missing) = affected(everybody, tally);
    Some(Simulation {
        mode: match policy.mode {
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        },
        requests: matrix.iter().map(|cell| cell.requests).sum(),
        unchanged: same.map(|cell| cell.requests).sum(),
        undecided: tally.undecided.count(),
        own: tally.own.count(),
        reproduced: tally.reproduced.count(),
        matrix,
        affected,
        bytes_saved: tally.saved.count(),
        unavailable: unavailable(tally, policy),
        notes: notes(tally, policy, missing),
    })
}

fn matrix(tally: &Tally) -> Vec<MatrixCell> {
    let rows = Action::ALL.iter().zip(&tally.matrix);
    let cells = rows.flat_map(|(current, row)| {
        Action::ALL.iter().zip(row).map(move |(simulated, requests)| MatrixCell {
            current: current.code(),
            simulated: simulated.code(),
            requests: requests.count(),
        })
    });
    cells.filter(|cell| cell.requests > 0).collect()
}

/// The newly affected, and how many of them were let go for memory.
fn affected(everybody: &Everybody<'_>, tally: &Tally) -> (AffectedVisitors, usize) {
    let mut all = AffectedVisitors::default();
    let mut found = 0;
    for (_, _, facts) in everybody.all() {
        let Some(of) = tally.affected.get(&facts.key) else { continue };
        found += 1;
        let evidence = human_evidence(facts);
        let reads = matches!(facts.category, Category::Browser | Category::Reader);
        let (class, reasons) = if facts.verification == Verification::Verified {
            (&mut all.verified, Vec::new())
        } else if reads && evidence.len() >= EVIDENCE {
            (&mut all.human, evidence)
        } else {
            (&mut all.suspected, findings(facts).into_iter().map(|finding| finding.text).collect())
        };
        class.visitors += 1;
        class.requests += of.requests.count();
        class.rows.push(row(facts, of, reasons));
    }
    for class in [&mut all.verified, &mut all.human, &mut all.suspected] {
        name_the_first(class);
    }
    (all, tally.affected.len().saturating_sub(found))
}

fn row(facts: &Facts, of: &Affected, reasons: Vec<String>) -> AffectedRow {
    AffectedRow {
        visitor: visitor(facts),
        name: title(facts),
        requests: of.requests.count(),
        hits: facts.hits.count(),
        action: of.action.code(),
        rule: of.rule.to_string(),
        bytes_saved: of.saved.count(),
        reasons,
    }
}

fn name_the_first(class: &mut AffectedClass) {
    class.rows.sort_by(|a, b| (b.requests, &a.visitor).cmp(&(a.requests, &b.visitor)));
    class.rows.truncate(NAMED);
}

/// Signals that count something and that no access log can show. deckle's own log shows what fired.
fn unavailable(tally: &Tally, policy: &SimulatedPolicy) -> Vec<UnavailableRow> {
    let trap = &policy.suspicion.trap;
    let is_off = |signal: Signal| match signal {
        Signal::HoneyLink => !trap.links,
        Signal::RobotsCanary => !trap.canary,
        Signal::TrapRepeat => !trap.links && !trap.canary,
        _ => false,
    };
    let points = |signal: Signal| policy.suspicion.score.signals.get(&signal).copied().unwrap_or(signal.weight());
    let signals = Signal::ALL.iter().copied().filter(|signal| is_unlogged(*signal) && !is_off(*signal));
    let rows = signals.map(|signal| UnavailableRow {
        signal: signal.code(),
        group: signal.group().code(),
        points: points(signal),
    });
    rows.filter(|row| row.points > 0 && tally.foreign.count() > 0).collect()
}

fn notes(tally: &Tally, policy: &SimulatedPolicy, missing: usize) -> Vec<String> {
    let mut notes = vec![
        "Nobody behaves otherwise in a simulation: whoever is refused asks on as the log says, and nobody passes a \
         challenge that was not issued then."
            .to_owned(),
    ];
    let mut note = |holds: bool, text: String| notes.extend(holds.then_some(text));
    note(
        policy.mode == Mode::Observe,
        "The file says mode `observe`: deckle would do none of this yet, and write down all of it.".to_owned(),
    );
    note(
        tally.foreign.count() > 0,
        "Lines of other programs count as served (`allow`). Request headers are not in them, so scores are lower \
         bounds; robots are checked by the address lists that ship with deckle."
            .to_owned(),
    );
    note(
        tally.own.count() > 0 && tally.changed_policies == 0,
        "The log does not hold the policy of its time (a `policy` line, in the first segment after a start): scores \
         are taken as they stand, and a line that may follow from the new policy counts as unchanged."
            .to_owned(),
    );
    for (count, what) in [
        (
            tally.unaddressed.count(),
            "requests have no whole address and no pseudonym: judged without history and quotas",
        ),
        (tally.late, "lines came too late for their place in time and were decided when they came"),
        (tally.crowded_out.count(), "affected requests are of visitors for whom there was no room in the lists"),
        (missing as u64, "affected visitors were let go for memory and stand in no list"),
    ] {
        note(count > 0, format!("{} {what}.", crate::unit::grouped(count, ',')));
    }
    notes
}
