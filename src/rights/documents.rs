//! Documents under well-known addresses: TDMRep's file and the RSL licence.

use serde_json::{Value, json};

use super::fields::reservation;
use super::policy::Policy;
use super::robots::{matches, normalise};
use super::uses::{Pref, Use};

/// Where TDMRep looks for its file.
pub const TDMREP_PATH: &str = "/.well-known/tdmrep.json";

/// Where Spawning's ai.txt is.
pub const AI_TXT_PATH: &str = "/ai.txt";

/// The uses that RSL 1.0 has a word for.
const RSL: [(Use, &str); 4] =
    [(Use::Search, "search"), (Use::AiTrain, "ai-train"), (Use::AiInput, "ai-input"), (Use::AiIndex, "ai-index")];

/// `/.well-known/tdmrep.json`: an array, the first rule that matches holds. `None`: nothing is said.
pub fn tdmrep(policy: &Policy) -> Option<String> {
    let rules: Vec<Value> = patterns(policy)
        .filter_map(|pattern| {
            let reserved = reservation(policy.resolve_pattern(pattern, None))?;
            let location =
                if pattern.len() > 1 && pattern.ends_with('/') { format!("{pattern}*") } else { pattern.to_owned() };
            let mut rule = json!({ "location": location, "tdm-reservation": u8::from(reserved) });
            if let (true, Some(url), Some(rule)) = (reserved, &policy.settings().tdm_policy, rule.as_object_mut()) {
                rule.insert("tdm-policy".to_owned(), url.as_str().into());
            }
            Some(rule)
        })
        .collect();
    (!rules.is_empty()).then(|| Value::from(rules).to_string())
}

/// What a `/.well-known/tdmrep.json` says about a path: the first rule that matches holds. `None`: nothing.
pub fn tdm_reserved(file: &[u8], path: &str) -> Option<bool> {
    let rules: Value = serde_json::from_slice(file).ok()?;
    let path = normalise(path);
    let holds = |rule: &&Value| rule["location"].as_str().is_some_and(|pattern| matches(&normalise(pattern), &path));
    match rules.as_array()?.iter().find(holds)?["tdm-reservation"].as_u64()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The RSL 1.0 document. `None`: nothing is said that it has words for.
pub fn rsl(policy: &Policy) -> Option<String> {
    let settings = policy.settings();
    let mut contents = String::new();
    for pattern in patterns(policy) {
        let uses = policy.resolve_pattern(pattern, None);
        let list = |pref: Pref, element: &str| {
            let words: Vec<&str> = RSL.iter().filter(|(of, _)| uses.get(*of) == pref).map(|(_, word)| *word).collect();
            if words.is_empty() {
                String::new()
            } else {
                format!("<{element} type=\"usage\">{}</{element}>", words.join(" "))
            }
        };
        let (permits, prohibits) = (list(Pref::Allow, "permits"), list(Pref::Deny, "prohibits"));
        if permits.is_empty() && prohibits.is_empty() {
            continue;
        }
        let element = |name: &str, text: &str| {
            if text.is_empty() { String::new() } else { format!("<{name}>{}</{name}>", escaped(text)) }
        };
        contents.push_str(&format!(
            "<content url=\"{}\"><license>{permits}{prohibits}</license>{}{}</content>\n",
            escaped(pattern),
            element("copyright", &settings.holder),
            element("terms", settings.license.page.as_deref().unwrap_or_default()),
        ));
    }
    (!contents.is_empty()).then(|| {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rsl xmlns=\"https://rslstandard.org/rsl\">\n{contents}</rsl>\n")
    })
}

/// The policy at `rights.tdm_policy` (TDMRep, an ODRL offer): mining takes the holder's consent. `None`: nothing is reserved.
pub fn tdm_policy(policy: &Policy) -> Option<String> {
    let settings = policy.settings();
    let url = settings.tdm_policy.as_deref()?;
    let reserved = patterns(policy).any(|pattern| reservation(policy.resolve_pattern(pattern, None)) == Some(true));
    let mut assigner = serde_json::Map::new();
    let told = [("vcard:fn", Some(settings.holder.as_str())), ("vcard:hasURL", settings.license.page.as_deref())];
    for (key, value) in told {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            assigner.insert(key.to_owned(), value.into());
        }
    }
    let offer = json!({
        "@context": ["http://www.w3.org/ns/odrl.jsonld", "http://www.w3.org/ns/tdmrep.jsonld"],
        "@type": "Offer",
        "profile": "http://www.w3.org/ns/tdmrep",
        "uid": url,
        "assigner": assigner,
        "permission": [{ "action": "tdm:mine", "duty": [{ "action": "obtainConsent" }] }],
    });
    reserved.then(|| offer.to_string())
}

/// `/ai.txt`: what may be used for training, in lines as those of robots.txt. `None`: it is not wanted, or nothing is said.
pub fn ai_txt(policy: &Policy) -> Option<String> {
    let lines: String = patterns(policy)
        .filter_map(|pattern| match policy.resolve_pattern(pattern, None).ai_train {
            Pref::Unstated => None,
            Pref::Allow => Some(format!("Allow: {pattern}\n")),
            Pref::Deny => Some(format!("Disallow: {pattern}\n")),
        })
        .collect();
    (policy.settings().ai_txt && !lines.is_empty()).then(|| format!("User-Agent: *\n{lines}"))
}

/// The patterns about which something is said to everybody, the longest first, each once.
fn patterns(policy: &Policy) -> impl Iterator<Item = &str> {
    let all = policy.scopes().iter().filter(|scope| scope.agents.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    all.map(|scope| scope.path.as_str()).filter(move |path| seen.insert(*path))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no other controls.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::new(&toml::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn the_file_of_tdmrep_is_an_array_with_the_longest_first() {
        let text = "tdm_policy = 'https://news.example/policies/tdm.json'\nuses = { ai_train = 'deny' }\n\
            [[scope]]\npath = '/press/'\nuses = { tdm = 'allow', ai_train = 'allow' }\n[[scope]]\nagents = ['X']\nuses = { tdm = 'deny' }";
        assert_eq!(
            tdmrep(&policy(text)).unwrap(),
            r#"[{"location":"/press/*","tdm-reservation":0},{"location":"/","tdm-policy":"https://news.example/policies/tdm.json","tdm-reservation":1}]"#
        );
        assert_eq!(tdmrep(&policy("holder = 'x'")), None);
    }

    #[test]
    fn of_the_file_of_tdmrep_the_first_rule_that_matches_holds() {
        let text =
            "uses = { ai_train = 'deny' }\n[[scope]]\npath = '/press/'\nuses = { tdm = 'allow', ai_train = 'allow' }";
        let file = tdmrep(&policy(text)).unwrap();
        assert_eq!(tdm_reserved(file.as_bytes(), "/press/a.jpg"), Some(false));
        assert_eq!(tdm_reserved(file.as_bytes(), "/a.jpg"), Some(true));
        for nothing in [
            "",
            "404",
            "{\"location\":\"/\",\"tdm-reservation\":1}",
            "[{\"location\":\"/b\",\"tdm-reservation\":1}]",
            "[{\"location\":\"/\",\"tdm-reservation\":\"1\"}]",
            "[1,{\"location\":\"/\",\"tdm-reservation\":2}]",
        ] {
            assert_eq!(tdm_reserved(nothing.as_bytes(), "/a.jpg"), None, "{nothing}");
        }
    }

    #[test]
    fn ai_txt_says_what_may_be_used_for_training_if_it_is_wanted() {
        let text = "uses = { search = 'allow', ai_train = 'deny' }\n[[scope]]\npath = '/press/'\nuses = { ai_train = 'allow' }\n\
            [[scope]]\nagents = ['X']\npath = '/x/'\nuses = { ai_train = 'deny' }";
        assert_eq!(ai_txt(&policy(text)), None);
        let wanted = format!("ai_txt = true\n{text}");
        assert_eq!(ai_txt(&policy(&wanted)).unwrap(), "User-Agent: *\nAllow: /press/\nDisallow: /\n");
        assert_eq!(ai_txt(&policy("ai_txt = true\nuses = { search = 'allow' }")), None);
    }

    #[test]
    fn the_policy_for_mining_asks_for_consent() {
        let text = "holder = 'The Post'\ntdm_policy = 'https://news.example/tdm.json'\nuses = { tdm = 'deny' }\n\
            license = { page = 'https://news.example/rights' }";
        let offer: Value = serde_json::from_str(&tdm_policy(&policy(text)).unwrap()).unwrap();
        assert_eq!((&offer["@type"], &offer["uid"]), (&"Offer".into(), &"https://news.example/tdm.json".into()));
        assert_eq!(offer["assigner"], json!({ "vcard:fn": "The Post", "vcard:hasURL": "https://news.example/rights" }));
        assert_eq!(offer["permission"][0]["duty"][0]["action"], "obtainConsent");
        assert_eq!(tdm_policy(&policy(&text.replace("deny", "allow"))), None, "nothing is reserved");
        assert_eq!(tdm_policy(&policy("uses = { tdm = 'deny' }")), None, "there is no address for it");
    }

    #[test]
    fn the_licence_names_what_is_permitted_and_what_is_not() {
        let text = "holder = 'News & Sons <Ltd>'\nuses = { search = 'allow', ai_input = 'deny', ai_train = 'deny' }\n\
            [[scope]]\npath = '/press/'\nuses = { ai_train = 'allow' }";
        let document = rsl(&policy(text)).unwrap();
        assert!(document.contains(
            "<content url=\"/\"><license><permits type=\"usage\">search</permits><prohibits type=\"usage\">ai-train ai-input</prohibits></license>\
             <copyright>News &amp; Sons &lt;Ltd&gt;</copyright></content>"
        ), "{document}");
        assert!(document.contains(
            "<content url=\"/press/\"><license><permits type=\"usage\">search ai-train</permits><prohibits type=\"usage\">ai-input</prohibits></license>"
        ), "{document}");
        assert_eq!(rsl(&policy("uses = { archive = 'deny' }")), None);
    }
}
