//! Is a signature what it claims? The checks of [the module](super), one error for each.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ipnet::IpNet;
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, Parameters, Parser};

use super::SignatureError;
use super::base::{Target, base, joined};
use super::directory::{AddressFault, Directories, Directory, Key, WELL_KNOWN, origin};
use crate::visitor::bare_host;

const TAG: &str = "web-bot-auth";
/// Longest of each of the three fields, in bytes.
const MAX_FIELD: usize = 8 << 10;
/// Most signatures of one request: its sender's, and those of hops on the way.
const MAX_SIGNATURES: usize = 4;
/// How far the signer's clock may be ahead, in seconds.
const MAX_SKEW: i64 = 60;
/// Most seconds since a signature was made, and most for which it may be made.
const DAY: i64 = 86_400;

/// A request whose signatures are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'r> {
    /// What it is made to.
    pub(crate) target: Target<'r>,
    /// Its fields, as they arrived.
    pub(crate) headers: &'r HeaderMap,
    /// The neighbourhood of the client; without one, replays are not looked for.
    pub(crate) network: Option<IpNet>,
}

/// Checks signatures against a list of directories.
#[derive(Debug)]
pub(crate) struct Verifier {
    directories: Arc<Directories>,
    /// Names of the site. A signature that covers the `Host` proves nothing if any `Host` will do.
    hosts: Vec<String>,
    legacy_agent: bool,
    max_lifetime: Option<i64>,
}

/// `Signature-Agent`.
enum Agents {
    Members(Dictionary),
    Legacy(Item),
}

/// One signature with the tag of the profile.
struct Claim<'c> {
    label: &'c str,
    input: &'c InnerList,
    value: Option<&'c ListEntry>,
    agents: &'c Agents,
}

impl Verifier {
    /// `hosts` are the site's own names, without ports.
    pub(crate) fn new(directories: Arc<Directories>, hosts: Vec<String>, legacy_agent: bool) -> Self {
        Self { directories, hosts, legacy_agent, max_lifetime: Some(DAY) }
    }

    /// The host of the directory whose key has signed the request; `None`: nobody claims to. `now` is since 1970.
    ///
    /// # Errors
    /// [`SignatureError`] if no signature holds: that of the one that weighs most.
    pub(crate) fn check(&self, incoming: &Incoming<'_>, now: Duration) -> Result<Option<Arc<str>>, SignatureError> {
        let headers = incoming.headers;
        let Some(inputs) = dictionary(headers, "signature-input")? else { return Ok(None) };
        let tagged: Vec<(&str, &InnerList)> = inputs
            .iter()
            .filter_map(|(label, entry)| match entry {
                ListEntry::InnerList(list) if text(&list.params, "tag") == Some(TAG) => Some((label.as_str(), list)),
                _ => None,
            })
            .collect();
        if tagged.is_empty() {
            // Signatures of other profiles are none of ours, unless an agent is named.
            let named = headers.contains_key("signature-agent");
            return if named { Err(SignatureError::Tag) } else { Ok(None) };
        }
        if tagged.len() > MAX_SIGNATURES {
            return Err(SignatureError::TooLong { field: "signature-input" });
        }
        let values = dictionary(headers, "signature")?.unwrap_or_default();
        let agents = self.agents(headers)?;
        let mut worst: Option<SignatureError> = None;
        for (label, input) in tagged {
            let claim = Claim { label, input, value: values.get(label), agents: &agents };
            match self.judge(&claim, incoming, now) {
                Ok(host) => return Ok(Some(host)),
                Err(error) if worst.as_ref().is_none_or(|worst| worst.outcome() < error.outcome()) => {
                    worst = Some(error);
                }
                Err(_) => {}
            }
        }
        worst.map_or(Ok(None), Err)
    }

    fn agents(&self, headers: &HeaderMap) -> Result<Agents, SignatureError> {
        let field = "signature-agent";
        let all = value(headers, field)?.ok_or(SignatureError::AgentMissing)?;
        let malformed = |_| SignatureError::Malformed { field };
        // A string begins with its quote, and no key of a dictionary does.
        if !all.starts_with('"') {
            return Parser::new(&all).parse().map(Agents::Members).map_err(malformed);
        }
        if !self.legacy_agent {
            return Err(SignatureError::AgentLegacy);
        }
        Parser::new(&all).parse().map(Agents::Legacy).map_err(malformed)
    }

    fn judge(&self, claim: &Claim<'_>, incoming: &Incoming<'_>, now: Duration) -> Result<Arc<str>, SignatureError> {
        let listed = self.directories.find(&claim.origin()?).ok_or(SignatureError::Unlisted)?;
        let directory = listed.keys().ok_or(SignatureError::Pending)?;
        let params = &claim.input.params;
        if params.get("alg").is_some() && text(params, "alg") != Some("ed25519") {
            return Err(SignatureError::Algorithm);
        }
        if !claim.covers_agent() {
            return Err(SignatureError::AgentNotCovered);
        }
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let expires = self.time(params, seconds)?;
        self.host(claim, incoming)?;
        let key = self.key(&directory, params, now)?;
        let signature = claim.signature()?;
        let base = base(&incoming.target, incoming.headers, claim.input)?;
        if !key.verifies(base.as_bytes(), signature) {
            return Err(SignatureError::Invalid);
        }
        // Last: only what verifies is remembered.
        let elsewhere = |network| !self.directories.replays().admit(signature, network, expires, seconds);
        if incoming.network.is_some_and(elsewhere) {
            return Err(SignatureError::Replayed);
        }
        Ok(Arc::clone(listed.host()))
    }

    /// When the signature expires, in seconds since 1970.
    fn time(&self, params: &Parameters, now: i64) -> Result<i64, SignatureError> {
        let seconds = |name: &str| params.get(name).and_then(BareItem::as_integer).map(i64::from);
        let (Some(created), Some(expires)) = (seconds("created"), seconds("expires")) else {
            return Err(SignatureError::NoTime);
        };
        if created > now.saturating_add(MAX_SKEW) {
            Err(SignatureError::NotYet)
        } else if created < now.saturating_sub(DAY) {
            Err(SignatureError::TooOld)
        } else if now >= expires {
            Err(SignatureError::Expired)
        } else if self.max_lifetime.is_some_and(|most| expires.saturating_sub(created) > most) {
            Err(SignatureError::Lifetime)
        } else {
            Ok(expires)
        }
    }

    /// A signature for another site can be passed on by that site, with its `Host`.
    fn host(&self, claim: &Claim<'_>, incoming: &Incoming<'_>) -> Result<(), SignatureError> {
        let covers = |name| claim.input.items.iter().any(|item| item.params.is_empty() && is_named(item, name));
        if !covers("@authority") && !covers("@target-uri") {
            return Err(SignatureError::HostNotCovered);
        }
        let host = bare_host(incoming.target.authority);
        let own = self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if own { Ok(()) } else { Err(SignatureError::HostUnknown) }
    }

    /// The key of that directory: by its name alone, one operator could sign for another.
    fn key<'d>(&self, directory: &'d Directory, params: &Parameters, now: Duration) -> Result<&'d Key, SignatureError> {
        let keyid = text(params, "keyid").ok_or(SignatureError::KeyUnknown)?;
        match directory.key(keyid) {
            Some(key) if key.is_current(now) => Ok(key),
            Some(_) => Err(SignatureError::KeyTime),
            None if self.directories.hold(keyid) => Err(SignatureError::KeyForeign),
            None => Err(SignatureError::KeyUnknown),
        }
    }
}

impl<'c> Claim<'c> {
    /// The origin of the directory.
    fn origin(&self) -> Result<String, SignatureError> {
        let item = match self.agents {
            Agents::Legacy(item) => item,
            Agents::Members(members) => match members.get(self.label) {
                Some(ListEntry::Item(item)) => item,
                Some(ListEntry::InnerList(_)) => return Err(SignatureError::AgentAddress),
                None => return Err(SignatureError::AgentMissing),
            },
        };
        let address = item.bare_item.as_string().ok_or(SignatureError::AgentAddress)?.as_str();
        let address = match item.params.get("type") {
            Some(BareItem::Token(kind)) if kind.as_str() == "directory" => address,
            Some(_) => return Err(SignatureError::AgentType),
            // Without a type, older drafts name the origin, and newer ones the address of its keys.
            None => address.strip_suffix(WELL_KNOWN).unwrap_or(address),
        };
        origin(address).map_err(|fault| match fault {
            AddressFault::Plain => SignatureError::AgentPlain,
            AddressFault::Inline => SignatureError::AgentInline,
            AddressFault::NotOrigin => SignatureError::AgentAddress,
        })
    }

    /// Does it cover what it names, and not only another signature's?
    fn covers_agent(&self) -> bool {
        self.input.items.iter().any(|item| {
            let key = text(&item.params, "key");
            let own = match self.agents {
                Agents::Legacy(_) => key.is_none(),
                Agents::Members(_) => key == Some(self.label),
            };
            own && is_named(item, "signature-agent")
        })
    }

    fn signature(&self) -> Result<&'c [u8; 64], SignatureError> {
        let bytes = match self.value {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SignatureError::Malformed { field: "signature" })
    }
}

/// A field as one text; `None`: it is not there.
fn value(headers: &HeaderMap, field: &'static str) -> Result<Option<String>, SignatureError> {
    let lines = headers.get_all(field);
    if lines.iter().next().is_none() {
        return Ok(None);
    }
    if lines.iter().map(|line| line.len() + 2).sum::<usize>() > MAX_FIELD {
        return Err(SignatureError::TooLong { field });
    }
    joined(lines.iter()).map(|text| Some(text.into_owned())).map_err(|_| SignatureError::Malformed { field })
}

fn dictionary(headers: &HeaderMap, field: &'static str) -> Result<Option<Dictionary>, SignatureError> {
    let Some(text) = value(headers, field)? else { return Ok(None) };
    Parser::new(&text).parse().map(Some).map_err(|_| SignatureError::Malformed { field })
}

/// A parameter that is a string.
fn text<'p>(params: &'p Parameters, name: &str) -> Option<&'p str> {
    params.get(name).and_then(BareItem::as_string).map(sfv::StringRef::as_str)
}

fn is_named(item: &Item, name: &str) -> bool {
    item.bare_item.as_string().is_some_and(|text| text.as_str() == name)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use data_encoding::{BASE64, BASE64URL_NOPAD};
    use ed25519_dalek::{Signer, SigningKey};
    use http::{HeaderValue, Method};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::tests::vectors;
    use super::super::{Outcome, SignatureError as E};
    use super::*;

    /// RFC 9421 B.1.4, and its thumbprint.
    const SEED: &str = "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU";
    const X: &str = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs";
    const KEYID: &str = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";
    /// RFC 8037 A.2.
    const OTHER_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const CREATED: i64 = 1_735_689_600;
    const NOW: i64 = CREATED + 60;
    const AGENT: &str = "sig1=\"https://signature-agent.test\"";
    const COVERED: &str = "\"@authority\" \"signature-agent\";key=\"sig1\"";

    fn keys(x: &str, more: &str) -> Directory {
        let text = format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"{more}}}]}}");
        Directory::read(text.as_bytes(), &[]).unwrap()
    }

    /// `signature-agent.test` and `twin.test` have the same key, `other.test` has another one, `late.test` has one for
    /// later, `empty.test` has none yet.
    fn verifier() -> Verifier {
        let list = ["signature-agent", "twin", "other", "late", "empty"].map(|name| format!("https://{name}.test"));
        static SHOWN: LazyLock<Directories> = LazyLock::new(|| Directories::new(&[]).unwrap());
        let directories = Directories::new(&list).unwrap().continuing(&SHOWN);
        for (name, keys) in [
            ("signature-agent", keys(X, "")),
            ("twin", keys(X, "")),
            ("other", keys(OTHER_X, "")),
            ("late", keys(X, ",\"nbf\":2000000000")),
        ] {
            assert!(directories.replace(&format!("https://{name}.test"), keys));
        }
        let hosts = ["example.com", "news.example", "newt.example"].map(str::to_owned).to_vec();
        Verifier::new(Arc::new(directories), hosts, false)
    }

    /// What stands behind the components.
    fn params(created: i64, expires: i64) -> String {
        format!(";created={created};expires={expires};keyid=\"{KEYID}\";alg=\"ed25519\";tag=\"web-bot-auth\"")
    }

    #[derive(Clone)]
    struct Message {
        method: Method,
        scheme: &'static str,
        authority: &'static str,
        path: &'static str,
        headers: HeaderMap,
    }

    impl Message {
        fn new(lines: &[(&'static str, &str)]) -> Self {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            Self { method: Method::GET, scheme: "https", authority: "news.example", path: "/a?q=1", headers }
        }

        /// A vector of Web Bot Auth.
        fn of(case: &Value) -> Self {
            assert_eq!(case["target_url"], "https://example.com/path/to/resource");
            let mut message = Self::new(&[]);
            (message.authority, message.path) = ("example.com", "/path/to/resource");
            for name in ["signature", "signature_input", "signature_agent"] {
                if let Some(value) = case[name].as_str() {
                    message.set(&name.replace('_', "-"), value);
                }
            }
            message
        }

        fn set(&mut self, name: &str, value: &str) {
            self.headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }

        fn target(&self) -> Target<'_> {
            Target { method: &self.method, scheme: self.scheme, authority: self.authority, path_and_query: self.path }
        }

        fn input(&self, label: &str) -> InnerList {
            match dictionary(&self.headers, "signature-input").unwrap().unwrap().get(label) {
                Some(ListEntry::InnerList(list)) => list.clone(),
                other => panic!("{other:?}"),
            }
        }

        /// Signs what is there now.
        fn sign(mut self, label: &str, covered: &str, params: &str) -> Self {
            let member = format!("{label}=({covered}){params}");
            self.headers.append("signature-input", member.parse().unwrap());
            let base = base(&self.target(), &self.headers, &self.input(label)).unwrap();
            let seed: [u8; 32] = BASE64URL_NOPAD.decode(SEED.as_bytes()).unwrap().try_into().unwrap();
            let signature = SigningKey::from_bytes(&seed).sign(base.as_bytes()).to_bytes();
            let member = format!("{label}=:{}:", BASE64.encode(&signature));
            self.headers.append("signature", member.parse().unwrap());
            self
        }

        fn checked(&self, verifier: &Verifier, now: i64) -> Result<Option<Arc<str>>, E> {
            self.checked_from(verifier, now, None)
        }

        fn checked_from(&self, verifier: &Verifier, now: i64, from: Option<&str>) -> Result<Option<Arc<str>>, E> {
            let network = from.map(|net| net.parse().unwrap());
            let incoming = Incoming { target: self.target(), headers: &self.headers, network };
            verifier.check(&incoming, Duration::from_secs(now.try_into().unwrap()))
        }
    }

    /// A message of the usual form.
    fn signed(agent: &str, covered: &str, params: &str) -> Message {
        Message::new(&[("signature-agent", agent)]).sign("sig1", covered, params)
    }

    fn usual() -> Message {
        signed(AGENT, COVERED, &params(CREATED, CREATED + 3_600))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn by(host: &str) -> Result<Option<Arc<str>>, E> {
        Ok(Some(host.into()))
    }

    #[test]
    fn the_signature_of_the_appendix() {
        let mut message = Message::new(&[
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-length", "18"),
            (
                "signature-input",
                "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
                 ;created=1618884473;keyid=\"test-key-ed25519\"",
            ),
        ]);
        (message.method, message.authority, message.path) = (Method::POST, "example.com", "/foo?param=Value&Pet=dog");
        let base = base(&message.target(), &message.headers, &message.input("sig-b26")).unwrap();
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
             \"@authority\": example.com\n\"content-type\": application/json\n\"content-length\": 18\n\
             \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
             \"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
        );
        let signature = b"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
        let signature: [u8; 64] = BASE64.decode(signature).unwrap().try_into().unwrap();
        let directory = keys(X, "");
        assert!(directory.key(KEYID).unwrap().verifies(base.as_bytes(), &signature));
        assert!(!directory.key(KEYID).unwrap().verifies(&base.as_bytes()[1..], &signature));
    }

    #[test]
    fn a_signature_that_holds_names_its_directory() {
        let verifier = verifier();
        assert_eq!(usual().checked(&verifier, NOW), by("signature-agent.test"));
        let params = params(CREATED, CREATED + 86_400);
        for agent in [
            "sig1=\"https://Signature-Agent.test:443/\"",
            "sig1=\"https://signature-agent.test\";type=directory",
            "sig1=\"https://signature-agent.test/.well-known/http-message-signatures-directory\"",
            "other=\"https://other.test\", sig1=\"https://signature-agent.test\";more=1",
        ] {
            assert_eq!(signed(agent, COVERED, &params).checked(&verifier, NOW), by("signature-agent.test"), "{agent}");
        }
        let covered = "\"@target-uri\" \"signature-agent\";key=\"sig1\"";
        assert_eq!(signed(AGENT, covered, &params).checked(&verifier, NOW), by("signature-agent.test"));
        let two = "sig1=\"https://twin.test\"";
        assert_eq!(signed(two, COVERED, &params).checked(&verifier, NOW), by("twin.test"), "two may have one key");
        let no_algorithm = params.replace(";alg=\"ed25519\"", "");
        assert_eq!(signed(AGENT, COVERED, &no_algorithm).checked(&verifier, NOW), by("signature-agent.test"));
    }

    #[test]
    fn nobody_claims_anything() {
        let verifier = verifier();
        let tagged = |tag: &str| params(CREATED, CREATED + 60).replace("web-bot-auth", tag);
        for message in [
            Message::new(&[]),
            Message::new(&[("signature-agent", AGENT)]),
            // The signatures that were before RFC 9421.
            Message::new(&[("signature", "keyId=\"a\",headers=\"date\",signature=\"b\"")]),
            Message::new(&[]).sign("sig1", "\"@authority\"", &tagged("another")),
            Message::new(&[("signature-input", "sig1=1;tag=\"web-bot-auth\"")]),
        ] {
            assert_eq!(message.checked(&verifier, NOW), Ok(None), "{:?}", message.headers);
        }
    }

    /// Each of these would hold but for one thing, and is signed with that thing.
    #[test]
    fn each_check_fails_on_its_own() {
        let verifier = verifier();
        let usual = params(CREATED, CREATED + 3_600);
        let with = |from: &str, to: &str| usual.replace(from, to);
        let agent = |url: &str| format!("sig1=\"{url}\"");
        let of_a = "\"@authority\" \"signature-agent\";key=\"a\"";
        let whole = "\"@authority\" \"signature-agent\"";
        #[rustfmt::skip]
        let table = [
            (AGENT.to_owned(), COVERED, with("web-bot-auth", "other"), E::Tag),
            (AGENT.to_owned(), COVERED, with(";tag=\"web-bot-auth\"", ""), E::Tag),
            (AGENT.to_owned(), COVERED, with("\"web-bot-auth\"", "web-bot-auth"), E::Tag),

            (AGENT.to_owned(), COVERED, with(";created=1735689600", ""), E::NoTime),
            (AGENT.to_owned(), COVERED, with(";expires=1735693200", ""), E::NoTime),
            (AGENT.to_owned(), COVERED, with("=1735689600", "=1735689600.5"), E::NoTime),
            (AGENT.to_owned(), COVERED, params(NOW + 7_200, NOW + 7_260), E::NotYet),
            (AGENT.to_owned(), COVERED, params(NOW + 61, NOW + 3_600), E::NotYet),
            (AGENT.to_owned(), COVERED, params(NOW - 86_401, NOW + 60), E::TooOld),
            (AGENT.to_owned(), COVERED, params(CREATED, NOW), E::Expired),
            (AGENT.to_owned(), COVERED, params(CREATED, CREATED - 1), E::Expired),
            (AGENT.to_owned(), COVERED, params(CREATED, CREATED + 86_401), E::Lifetime),
            (AGENT.to_owned(), COVERED, params(CREATED, 4_889_289_600), E::Lifetime),

            (AGENT.to_owned(), "\"@method\" \"signature-agent\";key=\"sig1\"", usual.clone(), E::HostNotCovered),
            (AGENT.to_owned(), "\"@path\" \"signature-agent\";key=\"sig1\"", usual.clone(), E::HostNotCovered),

            (AGENT.to_owned(), "\"@authority\"", usual.clone(), E::AgentNotCovered),
            (AGENT.to_owned(), whole, usual.clone(), E::AgentNotCovered),
            (format!("{AGENT}, a=\"https://twin.test\""), of_a, usual.clone(), E::AgentNotCovered),
            ("a=\"https://signature-agent.test\"".to_owned(), of_a, usual.clone(), E::AgentMissing),
            ("\"https://signature-agent.test\"".to_owned(), whole, usual.clone(), E::AgentLegacy),
            ("sig1=(\"https://signature-agent.test\")".to_owned(), COVERED, usual.clone(), E::AgentAddress),
            ("sig1=token".to_owned(), COVERED, usual.clone(), E::AgentAddress),
            ("sig1".to_owned(), COVERED, usual.clone(), E::AgentAddress),

            (agent("http://a.test"), COVERED, usual.clone(), E::AgentPlain),
            (agent("http://signature-agent.test"), COVERED, usual.clone(), E::AgentPlain),
            (agent("data:application/json,{}"), COVERED, usual.clone(), E::AgentInline),
            (agent("https://a@signature-agent.test"), COVERED, usual.clone(), E::AgentAddress),
            (agent("https://signature-agent.test:8443"), COVERED, usual.clone(), E::AgentAddress),
            (agent("https://signature-agent.test/jwks.json"), COVERED, usual.clone(), E::AgentAddress),
            (agent(""), COVERED, usual.clone(), E::AgentAddress),
            (format!("{AGENT};type=cimd"), COVERED, usual.clone(), E::AgentType),
            (format!("{AGENT};type=\"directory\""), COVERED, usual.clone(), E::AgentType),

            (agent("https://other.test"), COVERED, usual.clone(), E::KeyForeign),
            (AGENT.to_owned(), COVERED, with(KEYID, "unknown"), E::KeyUnknown),
            (AGENT.to_owned(), COVERED, with(&format!(";keyid=\"{KEYID}\""), ""), E::KeyUnknown),
            (agent("https://late.test"), COVERED, usual.clone(), E::KeyTime),

            (agent("https://elsewhere.test"), COVERED, usual.clone(), E::Unlisted),
            (agent("https://www.signature-agent.test"), COVERED, usual.clone(), E::Unlisted),

            (AGENT.to_owned(), COVERED, with("\"ed25519\"", "\"rsa-pss-sha512\""), E::Algorithm),
            (AGENT.to_owned(), COVERED, with("\"ed25519\"", "ed25519"), E::Algorithm),

            (agent("https://empty.test"), COVERED, usual.clone(), E::Pending),
        ];
        for (agent, covered, params, error) in table {
            let message = signed(&agent, covered, &params);
            assert_eq!(message.checked(&verifier, NOW), Err(error), "{agent} ({covered}){params}");
        }
    }

    #[test]
    fn times_hold_to_the_second() {
        let verifier = verifier();
        for (created, expires) in
            [(NOW + 60, NOW + 61), (NOW - 86_399, NOW + 1), (NOW - 1, NOW + 86_399), (NOW, NOW + 86_400)]
        {
            let message = signed(AGENT, COVERED, &params(created, expires));
            assert_eq!(message.checked(&verifier, NOW), by("signature-agent.test"), "{created} {expires}");
        }
    }

    #[test]
    fn a_host_that_is_not_ours_proves_nothing() {
        let mut verifier = verifier();
        let mut message = Message::new(&[("signature-agent", AGENT)]);
        message.authority = "evil.test";
        let message = message.sign("sig1", COVERED, &params(CREATED, CREATED + 60 * 60));
        assert_eq!(message.checked(&verifier, NOW), Err(E::HostUnknown));
        let mut message = Message::new(&[("signature-agent", AGENT)]);
        message.authority = "News.Example:443";
        let message = message.sign("sig1", COVERED, &params(CREATED, CREATED + 60 * 60));
        assert_eq!(message.checked(&verifier, NOW), by("signature-agent.test"));
        verifier.hosts.clear();
        assert_eq!(message.checked(&verifier, NOW), Err(E::HostUnknown));
    }

    #[test]
    fn a_replay_from_another_network_is_none_of_the_signers() {
        let verifier = verifier();
        let message = usual();
        let from = |net: &str| message.checked_from(&verifier, NOW, Some(net));
        assert_eq!(from("203.0.113.0/24"), by("signature-agent.test"));
        assert_eq!(from("203.0.113.0/24"), by("signature-agent.test"));
        assert_eq!(from("198.51.100.0/24"), Err(E::Replayed));
        assert_eq!(from("2001:db8::/56"), Err(E::Replayed));
        // One that does not verify is not remembered: else anybody could lock a signer out.
        let mut forged = signed(AGENT, COVERED, &params(CREATED, CREATED + 3_599));
        let genuine = forged.clone();
        forged.path = "/b";
        forged.authority = "newt.example";
        assert_eq!(forged.checked_from(&verifier, NOW, Some("198.51.100.0/24")), Err(E::Invalid));
        assert_eq!(genuine.checked_from(&verifier, NOW, Some("203.0.113.0/24")), by("signature-agent.test"));
    }

    #[test]
    fn the_old_form_is_read_where_that_is_set() {
        let verifier = Verifier { legacy_agent: true, ..verifier() };
        let agent = "\"https://signature-agent.test\"";
        let params = params(CREATED, CREATED + 3_600);
        let legacy = |covered: &str| signed(agent, covered, &params).checked(&verifier, NOW);
        assert_eq!(legacy("\"@authority\" \"signature-agent\""), by("signature-agent.test"));
        assert_eq!(legacy("\"@authority\""), Err(E::AgentNotCovered));
        assert_eq!(usual().checked(&verifier, NOW), by("signature-agent.test"));
    }

    #[test]
    fn each_signature_is_judged_alone() {
        let verifier = verifier();
        let both = "sig1=\"https://signature-agent.test\", hop=\"https://twin.test\"";
        let covered = |label: &str| format!("\"@authority\" \"@path\" \"signature-agent\";key=\"{label}\"");
        let usual = params(CREATED, CREATED + 3_600);
        let message = |first: &str, second: &str| {
            let message = Message::new(&[("signature-agent", both)]);
            message.sign("sig1", &covered("sig1"), first).sign("hop", &covered("hop"), second)
        };
        let old = params(CREATED - 90_000, CREATED - 80_000);
        let rsa = usual.replace("ed25519", "rsa-pss-sha512");
        assert_eq!(message(&usual, &usual).checked(&verifier, NOW), by("signature-agent.test"));
        assert_eq!(message(&old, &usual).checked(&verifier, NOW), by("twin.test"));
        assert_eq!(message(&usual, &rsa).checked(&verifier, NOW), by("signature-agent.test"));
        let foreign = usual.replace(KEYID, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(message(&rsa, &foreign).checked(&verifier, NOW), Err(E::KeyForeign), "what weighs most");
        assert_eq!(message(&foreign, &rsa).checked(&verifier, NOW), Err(E::KeyForeign));
        // The outer one covers the inner one.
        let outer = "\"@authority\" \"signature-agent\";key=\"hop\" \"signature-agent\";key=\"sig1\" \
                     \"signature-input\";key=\"sig1\" \"signature\";key=\"sig1\"";
        let message = Message::new(&[("signature-agent", both)]).sign("sig1", &covered("sig1"), &old);
        assert_eq!(message.sign("hop", outer, &usual).checked(&verifier, NOW), by("twin.test"));
        let mut many = Message::new(&[("signature-agent", both)]);
        for label in ["a", "b", "c", "d", "e"] {
            many = many.sign(label, &covered("sig1"), &usual);
        }
        assert_eq!(many.checked(&verifier, NOW), Err(E::TooLong { field: "signature-input" }));
    }

    #[test]
    fn each_covered_component_counts_to_the_byte() {
        let verifier = verifier();
        let rich = || {
            Message::new(&[
                ("signature-agent", AGENT),
                ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
                ("accept", "text/html"),
                ("priority", "u=1, i"),
                ("x-bin", "~a"),
                ("x-lines", "one"),
                ("x-lines", "two"),
            ])
        };
        type Change = fn(&mut Message);
        #[rustfmt::skip]
        let table: [(&str, Change); 13] = [
            ("\"@method\"", |m| m.method = Method::from_bytes(b"GEU").unwrap()),
            ("\"@target-uri\"", |m| m.path = "/b?q=1"),
            ("\"@scheme\"", |m| m.scheme = "httpt"),
            ("\"@request-target\"", |m| m.path = "/a?q=2"),
            ("\"@path\"", |m| m.path = "/b?q=1"),
            ("\"@query\"", |m| m.path = "/a?r=1"),
            ("\"@query-param\";name=\"q\"", |m| m.path = "/a?q=2"),
            ("\"date\"", |m| m.set("date", "Tue, 20 Apr 2021 02:07:56 GMT")),
            ("\"accept\";sf", |m| m.set("accept", "text/htmm")),
            ("\"priority\";key=\"u\"", |m| m.set("priority", "u=2, i")),
            ("\"x-bin\";bs", |m| m.set("x-bin", "~b")),
            ("\"x-lines\"", |m| m.set("x-lines", "one, twn")),
            ("\"x-lines\";bs", |m| m.set("x-lines", "one, two")),
        ];
        let params = params(CREATED, CREATED + 3_600);
        for (component, change) in table {
            let mut message = rich().sign("sig1", &format!("{component} {COVERED}"), &params);
            assert_eq!(message.checked(&verifier, NOW), by("signature-agent.test"), "{component}");
            change(&mut message);
            assert_eq!(message.checked(&verifier, NOW), Err(E::Invalid), "{component}");
            // What is not covered may change.
            let mut message = rich().sign("sig1", COVERED, &params);
            change(&mut message);
            assert_eq!(message.checked(&verifier, NOW), by("signature-agent.test"), "{component}");
        }
        let mut message = rich().sign("sig1", COVERED, &params);
        message.authority = "newt.example";
        assert_eq!(message.checked(&verifier, NOW), Err(E::Invalid));
        let mut message = rich().sign("sig1", COVERED, &params);
        message.set("signature-agent", "sig1=\"https://twin.test\"");
        assert_eq!(message.checked(&verifier, NOW), Err(E::Invalid), "the same key, and not the same name");
        message.headers.remove("signature-agent");
        assert_eq!(message.checked(&verifier, NOW), Err(E::AgentMissing));
        let mut message = rich().sign("sig1", &format!("\"date\" {COVERED}"), &params);
        message.headers.remove("date");
        let error = message.checked(&verifier, NOW).unwrap_err();
        assert_eq!((error.code(), error.outcome()), ("base", Outcome::Failed));
    }

    #[test]
    fn no_bit_of_a_signature_may_change() {
        let verifier = verifier();
        let mut message = usual();
        let text = message.headers["signature"].to_str().unwrap().to_owned();
        let genuine = BASE64.decode(text.trim_start_matches("sig1=:").trim_end_matches(':').as_bytes()).unwrap();
        for bit in 0..512 {
            let mut bytes = genuine.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            message.set("signature", &format!("sig1=:{}:", BASE64.encode(&bytes)));
            assert_eq!(message.checked(&verifier, NOW), Err(E::Invalid), "{bit}");
        }
        for wrong in ["sig1=:AAAA:", "sig1=()", "sig1=\"a\"", "sig1", "sig2=:AAAA:", "sig1=:A:", ""] {
            message.set("signature", wrong);
            assert_eq!(message.checked(&verifier, NOW), Err(E::Malformed { field: "signature" }), "{wrong}");
        }
        message.headers.remove("signature");
        assert_eq!(message.checked(&verifier, NOW), Err(E::Malformed { field: "signature" }));
    }

    #[test]
    fn no_byte_of_what_was_signed_may_change() {
        let verifier = verifier();
        let message = usual();
        let text = message.headers["signature-input"].to_str().unwrap().to_owned();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'x' { b'y' } else { b'x' };
            let mut changed = message.clone();
            changed.set("signature-input", std::str::from_utf8(&bytes).unwrap());
            let got = changed.checked(&verifier, NOW);
            assert!(!matches!(got, Ok(Some(_))), "{index}: {got:?}");
        }
    }

    #[test]
    fn long_fields_are_not_read() {
        let verifier = verifier();
        for field in ["signature-input", "signature-agent", "signature"] {
            let mut message = usual();
            let more = format!("more=\"{}\"", "x".repeat(MAX_FIELD));
            message.headers.append(field, more.parse().unwrap());
            assert_eq!(message.checked(&verifier, NOW), Err(E::TooLong { field }));
            let mut message = usual();
            message.headers.append(field, HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(message.checked(&verifier, NOW), Err(E::Malformed { field }));
        }
    }

    #[test]
    fn only_a_claim_that_is_wrong_is_a_lie() {
        for (error, outcome) in [
            (E::Tag, Outcome::Unverifiable),
            (E::Malformed { field: "signature" }, Outcome::Unverifiable),
            (E::AgentInline, Outcome::Unverifiable),
            (E::Unlisted, Outcome::Unverifiable),
            (E::Algorithm, Outcome::Unverifiable),
            (E::HostUnknown, Outcome::Unverifiable),
            (E::KeyUnknown, Outcome::Unverifiable),
            (E::Pending, Outcome::Unverifiable),
            (E::AgentPlain, Outcome::Unverifiable),
            (E::AgentNotCovered, Outcome::Unverifiable),
            (E::NoTime, Outcome::Unverifiable),
            (E::Expired, Outcome::Unverifiable),
            (E::Lifetime, Outcome::Unverifiable),
            (E::KeyForeign, Outcome::Failed),
            (E::Invalid, Outcome::Failed),
            (E::Replayed, Outcome::Failed),
        ] {
            assert_eq!(error.outcome(), outcome, "{}", error.code());
        }
        assert!(Outcome::Unverifiable < Outcome::Failed);
    }

    /// Does the signature verify, whatever else is wrong with it?
    fn verifies(case: &Value) -> bool {
        let message = Message::of(case);
        let label = case["label"].as_str().unwrap();
        let base = base(&message.target(), &message.headers, &message.input(label)).unwrap();
        let values = dictionary(&message.headers, "signature").unwrap().unwrap();
        let Some(ListEntry::Item(item)) = values.get(label) else { panic!("{label}") };
        let signature = item.bare_item.as_byte_sequence().unwrap();
        let directory = keys(case["key"]["x"].as_str().unwrap(), "");
        directory.key(KEYID).unwrap().verifies(base.as_bytes(), signature.try_into().unwrap())
    }

    #[test]
    fn the_vectors_of_the_first_form() {
        let Some(cases) = vectors("web_bot_auth_architecture_v1.json") else { return };
        let mut verifier = verifier();
        for case in cases.as_array().unwrap() {
            let kind = (case["key"]["kty"].as_str().unwrap(), case["label"].as_str().unwrap());
            let message = Message::of(case);
            verifier.legacy_agent = false;
            let strict = message.checked(&verifier, NOW);
            verifier.legacy_agent = true;
            let (inside, after) = (message.checked(&verifier, NOW), message.checked(&verifier, CREATED + 3_600));
            match kind {
                // No agent is named: a key, and nobody whose key it is.
                (_, "sig1") => assert_eq!((strict, inside), (Err(E::AgentMissing), Err(E::AgentMissing))),
                ("RSA", _) => assert_eq!((strict, inside), (Err(E::AgentLegacy), Err(E::Algorithm))),
                _ => {
                    assert_eq!((strict, inside), (Err(E::AgentLegacy), by("signature-agent.test")));
                    assert_eq!(after, Err(E::Expired));
                }
            }
            assert!(kind.0 == "RSA" || verifies(case), "{kind:?}");
        }
        assert_eq!(cases.as_array().unwrap().len(), 4);
    }

    #[test]
    fn the_vectors_of_the_second_form() {
        let Some(cases) = vectors("web_bot_auth_architecture_v2.json") else { return };
        let strict = verifier();
        let lax = Verifier { max_lifetime: None, ..verifier() };
        for case in cases.as_array().unwrap() {
            let kind = (case["key"]["kty"].as_str().unwrap(), case["label"].as_str().unwrap());
            let mut message = Message::of(case);
            // Without an agent, or with one of another label than the signature's.
            assert_eq!(message.checked(&lax, NOW), Err(E::AgentMissing), "{kind:?}");
            assert!(kind.0 == "RSA" || verifies(case), "{kind:?}");
            let Some(agent) = case["signature_agent_key"].as_str() else { continue };
            // A label is not signed, so that it can be another (RFC 9421 §7.2.5): that of the agent.
            for name in ["signature", "signature-input"] {
                let text = message.headers[name].to_str().unwrap().to_owned();
                message.set(name, &text.replacen(kind.1, agent, 1));
            }
            if kind.0 == "RSA" {
                assert_eq!(message.checked(&lax, NOW), Err(E::Algorithm));
            } else {
                assert_eq!(message.checked(&strict, NOW), Err(E::Lifetime));
                assert_eq!(message.checked(&lax, NOW), by("signature-agent.test"));
            }
        }
        assert_eq!(cases.as_array().unwrap().len(), 4);
    }

    #[test]
    fn the_vectors_of_signature_agent() {
        let Some(cases) = vectors("web_bot_auth_signature_agent_v1.json") else { return };
        let verifier = verifier();
        for case in cases.as_array().unwrap() {
            let [entry] = case["entries"].as_array().unwrap().as_slice() else { panic!("{case}") };
            assert_eq!(entry["label"], "sig1");
            let message = signed(case["header"].as_str().unwrap(), COVERED, &params(CREATED, CREATED + 3_600));
            let expect = if entry["type"] == "directory" { by("signature-agent.test") } else { Err(E::AgentType) };
            assert_eq!(message.checked(&verifier, NOW), expect, "{case}");
        }
        assert_eq!(cases.as_array().unwrap().len(), 3);
    }

    #[rustfmt::skip]
    const WORDS: &[&str] = &[
        "sig1", "=", "(", ")", " ", ";", ",", "\"", "\\", ":", "@", "%", "?1", "-1", "1.5", "999999999999999",
        "\"sig1\"", ";key=\"sig1\"", "\"@authority\"", "\"signature-agent\"", "\"@query-param\";name=\"q\"",
        "\"signature\";sf", ";tag=\"web-bot-auth\"", ";created=1735689600", ";expires=1735693200", ";alg=\"ed25519\"",
        ";keyid=\"poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U\"", ":AAAA:", "sig1=\"https://signature-agent.test\"",
        "sig1=(\"@authority\" \"signature-agent\";key=\"sig1\");tag=\"web-bot-auth\"",
    ];

    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..24);
        prop_oneof![prop::collection::vec(any::<u8>(), 0..120), words.prop_map(|words| words.concat().into_bytes())]
    }

    static VERIFIERS: LazyLock<[Verifier; 2]> =
        LazyLock::new(|| [verifier(), Verifier { legacy_agent: true, max_lifetime: None, ..verifier() }]);

    proptest! {
        #[test]
        fn garbage_is_judged_and_never_believed(
            input in prop::collection::vec(garbage(), 0..3),
            value in prop::collection::vec(garbage(), 0..3),
            agent in prop::collection::vec(garbage(), 0..3),
            now in 0..4_000_000_000_i64,
        ) {
            let mut message = Message::new(&[]);
            for (name, lines) in [("signature-input", input), ("signature", value), ("signature-agent", agent)] {
                for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
                    message.headers.append(name, line);
                }
            }
            for verifier in &*VERIFIERS {
                let got = message.checked_from(verifier, now, Some("203.0.113.0/24"));
                prop_assert!(!matches!(got, Ok(Some(_))), "{:?} {:?}", message.headers, got);
            }
        }

        #[test]
        fn a_genuine_signature_beside_garbage_is_never_a_panic(line in garbage(), which in 0..3_usize) {
            let mut message = usual();
            let name = ["signature-input", "signature", "signature-agent"][which];
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                message.headers.append(name, line);
            }
            let _ = message.checked(&VERIFIERS[0], NOW);
        }
    }
}
