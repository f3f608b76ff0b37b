//! Preferences as fields: `Content-Usage` (draft-ietf-aipref-attach-05 with draft-ietf-aipref-vocab-08, a dictionary of
//! RFC 9651) and Content-Signal (contentsignals.org).
//!
//! The two spell alike and differently: `train-ai=n` here, `ai-train=no` there. A parser ignores the other's spelling
//! silently, so nothing else writes them.

use sfv::{BareItem, Dictionary, FieldType, Item, KeyRef, ListEntry, Parser, token_ref};

use super::uses::{Pref, Use, Uses};

/// Labels of `Content-Usage`; other uses have none.
const LABELS: [(&str, Use); 2] = [("search", Use::Search), ("train-ai", Use::AiTrain)];
/// Labels of Content-Signal.
const SIGNALS: [(&str, Use); 3] = [("search", Use::Search), ("ai-input", Use::AiInput), ("ai-train", Use::AiTrain)];

/// What a `Content-Usage` says. Malformed, it says nothing: `no`, `"n"` and capitals are no refusals.
pub(crate) fn content_usage(text: &str) -> Vec<(Use, Pref)> {
    let Ok(dictionary) = Parser::new(text).parse::<Dictionary>() else { return Vec::new() };
    LABELS.into_iter().filter_map(|(label, of)| Some((of, dictionary.get(label).and_then(says)?))).collect()
}

/// What a Content-Signal says: `yes` and `no`, anything else nothing.
pub(crate) fn content_signal(text: &str) -> Vec<(Use, Pref)> {
    let says = |part: &str| {
        let (label, value) = part.split_once('=')?;
        let (_, of) = SIGNALS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(label.trim()))?;
        match value.trim() {
            value if value.eq_ignore_ascii_case("yes") => Some((of, Pref::Allow)),
            value if value.eq_ignore_ascii_case("no") => Some((of, Pref::Deny)),
            _ => None,
        }
    };
    text.split(',').filter_map(says).collect()
}

fn says(entry: &ListEntry) -> Option<Pref> {
    let ListEntry::Item(Item { bare_item: BareItem::Token(token), .. }) = entry else { return None };
    match token.as_str() {
        "y" => Some(Pref::Allow),
        "n" => Some(Pref::Deny),
        _ => None,
    }
}

/// The value of `Content-Usage`; `None`: nothing is said.
pub(crate) fn to_content_usage(uses: Uses) -> Option<String> {
    join(&LABELS, uses, ["y", "n"])
}

/// The value of Content-Signal; `None`: nothing is said.
pub(crate) fn to_content_signal(uses: Uses) -> Option<String> {
    join(&SIGNALS, uses, ["yes", "no"])
}

fn join(labels: &[(&str, Use)], uses: Uses, [yes, no]: [&str; 2]) -> Option<String> {
    let parts: Vec<String> = labels
        .iter()
        .filter_map(|(label, of)| match uses.get(*of) {
            Pref::Unstated => None,
            Pref::Allow => Some(format!("{label}={yes}")),
            Pref::Deny => Some(format!("{label}={no}")),
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The site's own field with ours in it, never looser than either. `None`: it stays as it is.
pub(crate) fn merge_content_usage(own: Option<&str>, uses: Uses) -> Option<String> {
    let ours = to_content_usage(uses)?;
    let Some(own) = own else { return Some(ours) };
    let Ok(mut dictionary) = Parser::new(own).parse::<Dictionary>() else { return Some(ours) };
    let mut changed = false;
    for (label, of) in LABELS {
        let wanted = uses.get(of);
        let (Ok(key), true) = (KeyRef::from_str(label), wanted != Pref::Unstated) else { continue };
        if dictionary.get(label).and_then(says) < Some(wanted) {
            let token = if wanted == Pref::Deny { token_ref("n") } else { token_ref("y") };
            dictionary.insert(key.to_owned(), Item::new(token.to_owned()).into());
            changed = true;
        }
    }
    if changed { dictionary.serialize() } else { None }
}

/// A statement in the words of Content-Signal: `no` wins over `yes`. `None`: it stays as it is.
pub(crate) fn merge_content_signal(own: Option<&str>, uses: Uses) -> Option<String> {
    let ours = to_content_signal(uses)?;
    let Some(own) = own else { return Some(ours) };
    let mut parts: Vec<(String, String)> = own
        .split(',')
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut changed = false;
    for (label, of) in SIGNALS {
        let wanted = match uses.get(of) {
            Pref::Unstated => continue,
            Pref::Allow => "yes",
            Pref::Deny => "no",
        };
        let is_label = |part: &&mut (String, String)| part.0.eq_ignore_ascii_case(label);
        if parts.iter_mut().filter(is_label).any(|(_, value)| value.eq_ignore_ascii_case("no")) {
            continue;
        }
        match parts.iter_mut().find(is_label) {
            Some((_, value)) if value == wanted => {}
            Some((_, value)) => {
                wanted.clone_into(value);
                changed = true;
            }
            None => {
                parts.push((label.to_owned(), wanted.to_owned()));
                changed = true;
            }
        }
    }
    changed.then(|| parts.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(search: Pref, ai_train: Pref) -> Uses {
        Uses { search, ai_train, ..Uses::default() }
    }

    #[test]
    fn only_the_right_spelling_is_a_refusal() {
        assert_eq!(content_usage("train-ai=n, search=y"), [(Use::Search, Pref::Allow), (Use::AiTrain, Pref::Deny)]);
        assert_eq!(content_usage("train-ai=n;x=1, foo=z"), [(Use::AiTrain, Pref::Deny)]);
        for unknown in ["train-ai=\"n\"", "train-ai", "Train-AI=n", "train-ai=no", "ai-train=n", "train-ai=(n)", ""] {
            assert_eq!(content_usage(unknown), [], "{unknown}");
        }
    }

    #[test]
    fn a_signal_says_yes_or_no() {
        let said = [(Use::Search, Pref::Allow), (Use::AiTrain, Pref::Deny)];
        assert_eq!(content_signal("search=yes, ai-train = No, x=yes, ai-input=n"), said);
        for unknown in ["", "train-ai=no", "ai-train", "ai-train=\"no\""] {
            assert_eq!(content_signal(unknown), [], "{unknown}");
        }
    }

    #[test]
    fn each_vocabulary_has_its_own_spelling() {
        let said = Uses { ai_input: Pref::Deny, ..uses(Pref::Allow, Pref::Deny) };
        assert_eq!(to_content_usage(said).unwrap(), "search=y, train-ai=n");
        assert_eq!(to_content_signal(said).unwrap(), "search=yes, ai-input=no, ai-train=no");
        assert_eq!(to_content_usage(Uses::default()), None);
        assert_eq!(to_content_signal(Uses::default()), None);
        assert_eq!(to_content_usage(Uses { tdm: Pref::Deny, ..Uses::default() }), None);
    }

    #[test]
    fn a_merge_is_never_looser() {
        let deny = uses(Pref::Unstated, Pref::Deny);
        let allow = uses(Pref::Allow, Pref::Allow);
        #[rustfmt::skip]
        let table = [
            (None, deny, Some("train-ai=n")),
            (Some("train-ai=n"), deny, None),
            (Some("train-ai=n;x=1,  foo=z"), deny, None),
            (Some("train-ai=y;x=1, foo=z"), deny, Some("train-ai=n, foo=z")),
            (Some("foo=z;a=1"), deny, Some("foo=z;a=1, train-ai=n")),
            (Some("train-ai=no"), deny, Some("train-ai=n")),
            (Some("not a (dictionary"), deny, Some("train-ai=n")),
            (Some("train-ai=n"), allow, Some("train-ai=n, search=y")),
            (Some("search=n, train-ai=n"), allow, None),
            (Some("train-ai=y"), Uses::default(), None),
        ];
        for (own, policy, expected) in table {
            assert_eq!(merge_content_usage(own, policy).as_deref(), expected, "{own:?}");
        }
        assert_eq!(merge_content_signal(Some("ai-train=yes, x=1"), deny).unwrap(), "ai-train=no, x=1");
        assert_eq!(merge_content_signal(Some("ai-train=no"), allow).unwrap(), "ai-train=no, search=yes");
        assert_eq!(merge_content_signal(Some("ai-train=no"), deny), None);
        assert_eq!(merge_content_signal(Some("ai-train=yes, ai-train=No, search=yes"), allow), None);
        assert_eq!(merge_content_signal(None, deny).unwrap(), "ai-train=no");
    }
}
