//! Which channels are open on one page: known at its first place, when its head has been read.

use std::sync::Arc;

use bytes::Bytes;

use super::judge::{HostStyles, PageSheets};
use crate::page::marks::{Gate, MarkRules};
use crate::slot::{Choose, Fill, Form, PlaceHash, PlaceKind, Slot, What};

/// Does the scan leave out the regions in which style sheets keep white space? Until it does, a host that has some is shut.
const SCAN_LEAVES_REGIONS_OUT: bool = false;

/// The gate of one page on its way. What is known of the host is what was known when the page came, so that a scan and
/// a plan of the same source agree.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageGate {
    styles: Option<Arc<HostStyles>>,
    prove_white: bool,
    gate: Option<Gate>,
}

impl PageGate {
    pub(crate) fn new(rules: &MarkRules) -> Self {
        Self { styles: rules.sheets.clone(), prove_white: rules.prove_white, gate: None }
    }

    /// The gate of a page that has places, and names these sheets.
    pub(crate) fn reach(&mut self, page: &PageSheets) -> Gate {
        let gate = self.gate.unwrap_or_else(|| self.judge(page));
        *self.gate.insert(gate)
    }

    /// As far as it is known.
    pub(crate) fn known(&self) -> Gate {
        self.gate.unwrap_or_default()
    }

    fn judge(&self, page: &PageSheets) -> Gate {
        let Some(styles) = &self.styles else { return Gate::default() };
        let mut gate = styles.judge(page);
        if !SCAN_LEAVES_REGIONS_OUT && styles.has_preserved() {
            gate.white = gate.white.or(Some("w:css_preserves"));
        }
        // Else somebody has looked at the sheets.
        gate.white = gate.white.filter(|_| self.prove_white);
        gate
    }
}

/// Is this a place that a style sheet may spoil?
pub(crate) fn depends_on_style(what: &What) -> bool {
    matches!(what, What::Choice(Slot::Gap { .. } | Slot::Trim | Slot::Seal))
}

/// Chooses, but for the channels that are shut.
pub(crate) struct Gated<'c> {
    inner: &'c mut dyn Choose,
    gate: Gate,
}

impl<'c> Gated<'c> {
    pub(crate) fn new(inner: &'c mut dyn Choose, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

impl Choose for Gated<'_> {
    fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
        self.inner.hash(kind, context)
    }

    fn gap(&mut self, column: u16) -> Option<u8> {
        if self.gate.white.is_some() { None } else { self.inner.gap(column) }
    }

    fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
        self.inner.form(form, column)
    }

    fn variant(&mut self, column: u16) -> usize {
        self.inner.variant(column)
    }

    fn seal(&mut self) -> Option<Bytes> {
        if self.gate.seal.is_some() { None } else { self.inner.seal() }
    }

    fn token(&mut self) -> Option<Bytes> {
        self.inner.token()
    }

    fn fill(&mut self, place: Fill) -> Option<Bytes> {
        self.inner.fill(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks everything.
    struct Everything;

    impl Choose for Everything {
        fn hash(&self, _: PlaceKind, _: &[u8]) -> Option<PlaceHash> {
            Some(PlaceHash(7))
        }
        fn gap(&mut self, _: u16) -> Option<u8> {
            Some(b'\n')
        }
        fn form(&mut self, form: Form, _: u16) -> Option<&'static str> {
            Some(form.written(true))
        }
        fn variant(&mut self, _: u16) -> usize {
            1
        }
        fn seal(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"<seal/>"))
        }
    }

    #[test]
    fn a_shut_channel_leaves_the_source_and_the_others_go_on() {
        let gate = Gate { white: Some("w:css_unknown"), seal: None };
        let (mut all, mut more) = (Everything, Everything);
        let mut gated = Gated::new(&mut all, gate);
        assert_eq!((gated.gap(1), gated.variant(1)), (None, 1));
        assert!(gated.seal().is_some() && gated.form(Form::Dash, 1).is_some());
        assert_eq!(gated.hash(PlaceKind::Space, b""), Some(PlaceHash(7)), "a place is a place");
        let mut gated = Gated::new(&mut more, Gate { white: None, seal: Some("s:css_boxes") });
        assert_eq!((gated.gap(1), gated.seal()), (Some(b'\n'), None));
    }

    #[test]
    fn white_space_needs_a_proof_unless_somebody_has_looked() {
        let mut unknown = PageSheets::default();
        unknown.unread();
        let rules = |prove_white| MarkRules { sheets: Some(Arc::default()), prove_white, ..MarkRules::default() };
        let mut gate = PageGate::new(&rules(true));
        assert_eq!(gate.known(), Gate::default());
        assert_eq!(gate.reach(&unknown).white, Some("w:css_unknown"));
        assert_eq!(gate.reach(&PageSheets::default()).white, Some("w:css_unknown"), "once for all of the page");
        assert_eq!(gate.known().white, Some("w:css_unknown"));
        assert_eq!(PageGate::new(&rules(false)).reach(&unknown), Gate::default());
        assert_eq!(PageGate::default().reach(&unknown), Gate::default(), "a page without marks");
    }
}
