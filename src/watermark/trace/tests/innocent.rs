//! Nobody is named who has not had the copy.

use super::*;

/// Marks that are searched: with optimisation as many as a large log has; `benches/trace.rs` does a million.
const SEARCHED: u64 = if cfg!(debug_assertions) { 1_500 } else { 100_000 };

/// The gaps of a text, one after the other.
fn with_gaps(text: &str, mut gap: impl FnMut(usize) -> char) -> String {
    let mut place = 0;
    let mut next = |c: char| {
        place += usize::from(c == ' ');
        if c == ' ' { gap(place) } else { c }
    };
    text.chars().map(&mut next).collect()
}

fn wrapped(text: &str, width: usize) -> String {
    let mut line = 0;
    let mut out = String::new();
    for word in text.split(' ') {
        let breaks = line + 1 + word.len() > width;
        line = if breaks || out.is_empty() { word.len() } else { line + 1 + word.len() };
        if !out.is_empty() {
            out.push(if breaks { '\n' } else { ' ' });
        }
        out.push_str(word);
    }
    out
}

/// Marked, but by another site.
fn foreign(text: &str, keys: &Keys) -> String {
    let bits = bits_of(keys, Class::White, 5);
    with_gaps(text, |place| if bits[place] { '\n' } else { ' ' })
}

#[test]
fn thirty_unmarked_texts_name_nobody() {
    let log: Candidates = marks(SEARCHED).into_iter().collect();
    let mut random = fastrand::Rng::with_seed(3);
    for seed in 0..5u64 {
        let text = article(2 * seed, 500);
        let mut words: Vec<String> = marked(&text, Mark { kid: 1, id: 0xFFFF_FFFF_FFF0 + seed })
            .split_inclusive([' ', '\n'])
            .map(str::to_owned)
            .collect();
        random.shuffle(&mut words);
        let copies = [
            ("one line", text.clone()),
            ("one word a line", text.replace(' ', "\n")),
            ("in turns", with_gaps(&text, |place| if place.is_multiple_of(2) { '\n' } else { ' ' })),
            ("wrapped", wrapped(&text, 72)),
            ("at random", with_gaps(&text, |_| if random.bool() { '\n' } else { ' ' })),
            ("of another site", foreign(&text, &keys_of(1, 9))),
            ("in another order", words.concat()),
        ];
        for (what, copy) in copies {
            let trace = tracer().trace(&copy, &log);
            assert_ne!(trace.verdict, Verdict::Traced, "{what}: {trace:?}");
            let only_close = trace.hits.iter().all(|hit| hit.adjusted > TRACED && hit.adjusted <= INCONCLUSIVE);
            assert!(only_close && trace.hits.len() <= SHORTLIST, "{what}: {trace:?}");
            if matches!(what, "one line" | "wrapped") {
                assert!(trace.hits.is_empty(), "nothing was compared");
            }
        }
    }
}

/// The chance that is printed is the chance that it is.
#[test]
fn chances_are_calibrated() {
    let text = article(7, 500);
    let all = marks(4_000);
    let own = all[0];
    for copy in [
        marked(&text, own),
        with_gaps(&text, |place| if (place * place + 3 * place / 7) % 11 < 3 { '\n' } else { ' ' }),
    ] {
        let seen = [observe(&copy)];
        let joint = Joint::new(&seen, &[keys()]);
        let scorer = &joint.scorers[0];
        let mut chances: Vec<f64> = scorer.ln_ps(all[1..].iter().map(|mark| mark.id));
        for ln_p in &mut chances {
            *ln_p = ln_p.exp();
        }
        let below = |limit: f64| chances.iter().filter(|p| **p < limit).count();
        // Of 4,000: the expected number and three standard deviations.
        assert!(below(0.01) <= 40 + 19 && below(0.001) <= 4 + 6, "{} {}", below(0.01), below(0.001));
        assert!((1_700..2_200).contains(&below(0.5)), "{}", below(0.5));
    }
}
