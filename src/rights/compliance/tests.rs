//! The vectors of the table of verdicts, and more of its corners.

use super::*;

/// `d1 11:50` or `d1 11:50:20`.
fn at(text: &str) -> Duration {
    let (day, time) = text.split_once(' ').unwrap();
    let day: u64 = day.strip_prefix('d').unwrap().parse().unwrap();
    let parts: Vec<u64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    Duration::from_secs(100 * 86_400 + day * 86_400 + parts[0] * 3_600 + parts[1] * 60 + parts.get(2).unwrap_or(&0))
}

const V1: &str = "User-agent: *\nDisallow: /never\n";
const V2: &str = "User-agent: *\nDisallow: /never\nDisallow: /a\n";

fn served(what: &str) -> Served {
    match what.parse() {
        Ok(status) => Served::of(status, b""),
        Err(_) => Served::of(200, what.as_bytes()),
    }
}

/// Fetches are `time` or `time=status`.
fn verdict(versions: &[(&str, &str)], fetches: &[&str], agent: &str, path: &str, time: &str) -> &'static str {
    let family = Family::claiming(agent);
    let mut history = History::default();
    for (from, what) in versions {
        history.serve(at(from), served(what));
    }
    for fetch in fetches {
        let (time, status) = fetch.split_once('=').unwrap_or((*fetch, "200"));
        if let Some(answer) = Answer::of(status.parse().unwrap()) {
            history.fetch(&family, at(time), answer);
        }
    }
    history.judge(&family, path, at(time)).code()
}

const CHANGE: &[(&str, &str)] = &[("d0 00:00", V1), ("d1 12:00", V2)];

#[test]
fn the_vectors_of_the_table() {
    let cases: [(&[&str], &str, &str); 8] = [
        (&["d1 11:50"], "d1 13:00", "stale"),
        (&["d1 11:50"], "d2 11:49", "stale"),
        (&["d1 11:50"], "d2 12:01", "never_asked"),
        (&["d1 11:50", "d1 12:30"], "d1 12:30:20", "stale"),
        (&["d1 11:50", "d1 12:30"], "d1 13:00", "read_then_ignored"),
        (&[], "d1 13:00", "stale"),
        (&[], "d2 12:01", "never_asked"),
        (&["d1 12:30=304"], "d1 13:00", "read_then_ignored"),
    ];
    for (fetches, time, expected) in cases {
        assert_eq!(verdict(CHANGE, fetches, "FooBot", "/a", time), expected, "{fetches:?} {time}");
    }
}

#[test]
fn a_file_that_flaps_is_held_against_nobody() {
    let times: Vec<String> = (0..48).map(|hour| format!("d{} {:02}:00", hour / 24, hour % 24)).collect();
    let versions: Vec<(&str, &str)> =
        times.iter().enumerate().map(|(hour, time)| (time.as_str(), if hour % 2 == 0 { V1 } else { V2 })).collect();
    let cases: [&[&str]; 3] = [&[], &["d1 12:10"], &["d1 02:10", "d1 11:30"]];
    for fetches in cases {
        assert_eq!(verdict(&versions, fetches, "FooBot", "/a", "d1 13:30"), "stale", "{fetches:?}");
    }
}

#[test]
fn a_fake_does_not_ask_for_the_family() {
    let (google, news) = (Family::verified("Google", "Googlebot"), Family::verified("Google", "Googlebot-News"));
    let judged = |who: &Family| {
        let mut history = History::default();
        for (from, what) in CHANGE {
            history.serve(at(from), served(what));
        }
        history.fetch(who, at("d1 12:30"), Answer::Text);
        history.judge(&google, "/a", at("d1 13:00"))
    };
    assert_eq!(judged(&Family::fake("Googlebot")), Verdict::Stale);
    assert_eq!(judged(&Family::claiming("Googlebot")), Verdict::Stale);
    assert_eq!(judged(&news), Verdict::ReadThenIgnored, "a sibling does");
}

#[test]
fn under_a_text_that_is_gone_nobody_knows() {
    let judge = |served: &[(&str, Served)], time: &str| {
        let mut history = History::default();
        for (from, served) in served {
            history.serve(at(from), served.clone());
        }
        history.judge(&Family::claiming("FooBot"), "/a", at(time)).code()
    };
    let gone = [("d0 00:00", served(V2)), ("d3 00:00", Served::Unknown), ("d6 00:00", served(V2))];
    assert_eq!(judge(&gone, "d2 12:00"), "never_asked");
    assert_eq!(judge(&gone, "d4 12:00"), "unknown");
    assert_eq!(judge(&gone, "d6 12:00"), "unknown", "it may have allowed it, within the last day");
    assert_eq!(judge(&gone, "d7 12:00"), "never_asked");
}

#[test]
fn some_are_not_judged() {
    let mut history = History::default();
    history.serve(at("d0 00:00"), served(V2));
    let judge = |family: &Family, path: &str| history.judge(family, path, at("d5 00:00")).code();
    assert_eq!(judge(&Family::undeclared(), "/a"), "unknown");
    assert_eq!(judge(&Family::claiming("ChatGPT-User").acting_for_people(), "/a"), "user_triggered");
    assert_eq!(judge(&Family::verified("Google", "google-extended"), "/a"), "not_observable");
    assert_eq!(judge(&Family::undeclared(), "/robots.txt"), "obeyed");
    assert_eq!(History::default().judge(&Family::claiming("a"), "/a", at("d5 00:00")), Verdict::Unknown);
    assert_eq!(Verdict::ALL.iter().filter(|verdict| verdict.is_violation()).count(), 2);
}

#[test]
fn corners() {
    const ONE_GROUP: &str = "User-agent: GPTBot\nAllow: /\n\nUser-agent: *\nDisallow: /\n";
    const PATTERNS: &str = "User-agent: *\nDisallow: /*.pdf$\nDisallow: /*/print\nDisallow: /f\nAllow: /f/x\nDisallow: /t\nAllow: /t\nDisallow: /*?s=\n";
    const ENCODED: &str = "User-agent: *\nDisallow: /%7Ejoe\nDisallow: /b\n";
    let since = "d0 00:00";
    let (patterns, group, encoded) = ([(since, PATTERNS)], [(since, ONE_GROUP)], [(since, ENCODED)]);
    let error = [("d0 00:00", V1), ("d1 00:00", "503")];
    let none = [(since, "404")];
    let later = [(since, "404"), ("d5 10:00", V2)];
    let young = [("d5 10:00", V2)];
    let v2 = [(since, V2)];
    let noon = "d5 12:00";
    #[rustfmt::skip]
    let cases: &[(&str, &[(&str, &str)], &[&str], &str, &str, &str, &str)] = &[
        ("changed at this moment", CHANGE, &[], "FooBot", "/a", "d1 12:00", "stale"),
        ("a second before", CHANGE, &["d1 11:00"], "FooBot", "/a", "d1 11:59:59", "obeyed"),
        ("a copy of just a day", CHANGE, &["d1 11:00"], "FooBot", "/a", "d2 11:00", "stale"),
        ("a copy that is too old", CHANGE, &["d1 11:00"], "FooBot", "/a", "d2 12:00:01", "never_asked"),
        ("$", &patterns, &[], "FooBot", "/a.pdf", noon, "never_asked"),
        ("$ and a query", &patterns, &[], "FooBot", "/a.pdf?x=1", noon, "obeyed"),
        ("*", &patterns, &[], "FooBot", "/a/b/print", noon, "never_asked"),
        ("* needs its slashes", &patterns, &[], "FooBot", "/print", noon, "obeyed"),
        ("a query", &patterns, &["d5 11:00"], "FooBot", "/search?s=x", noon, "read_then_ignored"),
        ("the longest", &patterns, &[], "FooBot", "/f/x/1", noon, "obeyed"),
        ("the shorter", &patterns, &[], "FooBot", "/f/y", noon, "never_asked"),
        ("a tie", &patterns, &[], "FooBot", "/t", noon, "obeyed"),
        ("its own group", &group, &[], "GPTBot", "/a", noon, "obeyed"),
        ("whoever has none", &group, &[], "CCBot", "/a", noon, "never_asked"),
        ("a version behind the name", &group, &[], "GPTBot/1.2", "/a", noon, "obeyed"),
        ("an error that it got", &error, &["d5 10:00=503"], "FooBot", "/b", noon, "read_then_ignored"),
        ("an error that it did not get", &error, &[], "FooBot", "/b", noon, "obeyed"),
        ("an error that it got later", &error, &["d5 13:00=503"], "FooBot", "/b", noon, "obeyed"),
        ("an error that has just begun", &error, &["d1 01:00=500"], "FooBot", "/b", "d1 02:00", "stale"),
        ("404", &none, &["d5 11:00=404"], "FooBot", "/a", noon, "obeyed"),
        ("404 until two hours ago", &later, &["d5 09:00=404"], "FooBot", "/a", noon, "stale"),
        ("429 is no file", &[(since, "429")], &[], "FooBot", "/a", noon, "obeyed"),
        ("a redirect that leads nowhere", &[(since, "301")], &[], "FooBot", "/a", noon, "obeyed"),
        ("a refusal is no file for who got it", &v2, &["d5 11:00=403"], "FooBot", "/a", noon, "stale"),
        ("a refusal of yesterday", &v2, &["d4 11:00=403"], "FooBot", "/a", noon, "never_asked"),
        ("a refusal before a copy", &v2, &["d5 10:00=403", "d5 11:00"], "FooBot", "/a", noon, "read_then_ignored"),
        ("a redirect is no answer", &v2, &["d5 11:00=301"], "FooBot", "/a", noon, "never_asked"),
        ("two readings", &encoded, &[], "FooBot", "/~joe", noon, "unknown"),
        ("two readings of the path", &v2, &[], "FooBot", "/%61", noon, "unknown"),
        ("asked a moment ago", &v2, &["d5 11:59:40"], "FooBot", "/a", noon, "unknown"),
        ("asked a minute ago", &v2, &["d5 11:59"], "FooBot", "/a", noon, "read_then_ignored"),
        ("nobody knows what was before", &young, &[], "FooBot", "/a", noon, "unknown"),
        ("and what was read is known", &young, &["d5 10:30"], "FooBot", "/a", noon, "read_then_ignored"),
        ("robots.txt itself", &[(since, "User-agent: *\nDisallow: /\n")], &[], "FooBot", "/robots.txt", noon, "obeyed"),
    ];
    for (name, versions, fetches, agent, path, time, expected) in cases {
        assert_eq!(verdict(versions, fetches, agent, path, time), *expected, "{name}");
    }
}
