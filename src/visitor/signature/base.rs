//! The signature base (RFC 9421 §2.5): the text that was signed, built again out of the request that has arrived.
//!
//! A value that could be read in two ways is an error, never a guess: a signature must not hold for a request that its
//! maker has not seen.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Method};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, List, ListEntry, ListSerializer, Parameters, Parser};

/// Most components that one signature may cover.
const MAX_COMPONENTS: usize = 32;
/// Longest base, in bytes. A field may be covered once for each of its members, so the head is no bound.
const MAX_BASE: usize = 64 << 10;
/// Most bytes that are read to find members and parameters; a field may be covered once for each of its members.
const MAX_READ: usize = 64 << 10;

/// What a request is made to, as its client saw it: behind a proxy that is the public name, not the inner one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'r> {
    /// The method.
    pub(crate) method: &'r Method,
    /// `https` or `http`.
    pub(crate) scheme: &'r str,
    /// `Host` or `:authority`.
    pub(crate) authority: &'r str,
    /// The request target in origin form, byte for byte.
    pub(crate) path_and_query: &'r str,
}

impl Target<'_> {
    /// Lower case, without the port that the scheme has anyway (RFC 9421 §2.2.3, RFC 9110 §4.2.3).
    fn normal_authority(&self) -> String {
        let mut authority = self.authority.to_ascii_lowercase();
        let known = match &*self.scheme.to_ascii_lowercase() {
            "https" => ":443",
            "http" => ":80",
            _ => ":",
        };
        let bare = authority.strip_suffix(known).or_else(|| authority.strip_suffix(':')).map(str::len);
        authority.truncate(bare.unwrap_or(authority.len()));
        authority
    }

    /// Never empty (RFC 9421 §2.2.6). The target of `OPTIONS *` has no path.
    fn path(&self) -> &str {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        if path.starts_with('/') { path } else { "/" }
    }

    fn query(&self) -> &str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }

    fn uri(&self) -> String {
        let scheme = self.scheme.to_ascii_lowercase();
        let rest = if self.path_and_query.starts_with('/') { self.path_and_query } else { "" };
        format!("{scheme}://{}{rest}", self.normal_authority())
    }
}

/// Why there is no base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseError {
    /// What is wrong.
    pub(crate) fault: Fault,
    /// The identifier of the component, with its parameters; empty if it is none of them in particular.
    pub(crate) component: String,
}

/// What is wrong with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Covered twice.
    Duplicate,
    /// Covered, and not in the request.
    Missing,
    /// A parameter that stands more than once in the query (RFC 9421 §2.2.8).
    Ambiguous,
    /// Its value is not of the kind that its parameters ask for, or no text.
    Malformed,
    /// A name or a parameter that is not known here, or that a request does not have.
    Unsupported,
    /// Too many components, or too long.
    TooLong,
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Duplicate => "is covered twice",
            Fault::Missing => "is covered, but not in the request",
            Fault::Ambiguous => "is more than once in the query",
            Fault::Malformed => "has a value that cannot be covered like this",
            Fault::Unsupported => "is nothing that can be covered here",
            Fault::TooLong => return f.write_str("more is covered than is looked at"),
        };
        write!(f, "{} {fault}", self.component)
    }
}

impl std::error::Error for BaseError {}

/// The base of the signature whose `Signature-Input` member is `input`.
///
/// # Errors
/// [`BaseError`] names the first component that has no value.
pub(crate) fn base(target: &Target<'_>, headers: &HeaderMap, input: &InnerList) -> Result<String, BaseError> {
    let too_long = || BaseError { fault: Fault::TooLong, component: String::new() };
    if input.items.len() > MAX_COMPONENTS {
        return Err(too_long());
    }
    let (mut base, mut left) = (String::new(), MAX_READ);
    for (index, item) in input.items.iter().enumerate() {
        let component = item.serialize();
        // The order of parameters makes no other identifier (RFC 9421 §2), and none to their equality either.
        let twice = input.items.iter().take(index).any(|earlier| earlier == item);
        let value = if twice { Err(Fault::Duplicate) } else { value(target, headers, item, &mut left) };
        match value.and_then(checked) {
            Ok(value) => base.extend([&*component, ": ", &*value, "\n"]),
            Err(fault) => return Err(BaseError { fault, component }),
        }
        if base.len() > MAX_BASE {
            return Err(too_long());
        }
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(&serialize(input));
    Ok(base)
}

/// A base is ASCII on lines of its own (RFC 9421 §2.5).
fn checked(value: Cow<'_, str>) -> Result<Cow<'_, str>, Fault> {
    let plain = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if plain { Ok(value) } else { Err(Fault::Malformed) }
}

fn value<'v>(
    target: &Target<'v>,
    headers: &'v HeaderMap,
    item: &Item,
    left: &mut usize,
) -> Result<Cow<'v, str>, Fault> {
    let name = item.bare_item.as_string().ok_or(Fault::Unsupported)?.as_str();
    match name.strip_prefix('@') {
        Some("query-param") => {
            spend(left, target.query().len())?;
            query_param(target, &item.params).map(Cow::Owned)
        }
        Some(derived) if item.params.is_empty() => self::derived(target, derived),
        Some(_) => Err(Fault::Unsupported),
        None => field(headers, name, &item.params, left),
    }
}

/// Reading costs; there is so much of it for one signature.
fn spend(left: &mut usize, bytes: usize) -> Result<(), Fault> {
    *left = left.checked_sub(bytes).ok_or(Fault::TooLong)?;
    Ok(())
}

/// A derived component without parameters (RFC 9421 §2.2).
fn derived<'v>(target: &Target<'v>, name: &str) -> Result<Cow<'v, str>, Fault> {
    Ok(match name {
        "method" => target.method.as_str().into(),
        "target-uri" => target.uri().into(),
        "authority" => target.normal_authority().into(),
        "scheme" => target.scheme.to_ascii_lowercase().into(),
        "request-target" => target.path_and_query.into(),
        "path" => target.path().to_owned().into(),
        // A request without a query has the question mark alone (RFC 9421 §2.2.7).
        "query" => format!("?{}", target.query()).into(),
        _ => return Err(Fault::Unsupported),
    })
}

/// One parameter of the query, read as a form and written again (RFC 9421 §2.2.8).
fn query_param(target: &Target<'_>, params: &Parameters) -> Result<String, Fault> {
    let mut params = params.iter();
    let (Some((key, BareItem::String(wanted))), None) = (params.next(), params.next()) else {
        return Err(Fault::Unsupported);
    };
    if key.as_str() != "name" {
        return Err(Fault::Unsupported);
    }
    let mut found = target.query().split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && form_encoded(name) == wanted.as_str()).then_some(value)
    });
    let value = found.next().ok_or(Fault::Missing)?;
    if found.next().is_some() { Err(Fault::Ambiguous) } else { Ok(form_encoded(value)) }
}

/// A name or value of a form: decoded, then encoded in the one way that the base has.
fn form_encoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = if *first == b'%' { hex(tail) } else { None };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        let digits = if escaped.is_some() { 2 } else { 0 };
        rest = tail.get(digits..).unwrap_or_default();
    }
    let mut out = String::with_capacity(bytes.len());
    for byte in String::from_utf8_lossy(&bytes).bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hex(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// How the value of a field gets into the base.
enum Form<'p> {
    /// As it is (RFC 9421 §2.1).
    Plain,
    /// Parsed and written again (§2.1.1).
    Strict,
    /// One member of a dictionary (§2.1.2).
    Member(&'p str),
    /// Each line in base64 (§2.1.3).
    Bytes,
}

fn form(params: &Parameters) -> Result<Form<'_>, Fault> {
    let (mut strict, mut bytes, mut member) = (false, false, None);
    for (key, value) in params {
        match (key.as_str(), value) {
            ("sf", BareItem::Boolean(true)) => strict = true,
            ("bs", BareItem::Boolean(true)) => bytes = true,
            ("key", BareItem::String(key)) => member = Some(key.as_str()),
            // Among them `tr` and `req`: trailers come after the answer was decided, and a request answers nothing.
            _ => return Err(Fault::Unsupported),
        }
    }
    match (bytes, member, strict) {
        (true, None, false) => Ok(Form::Bytes),
        // Of parameters that exclude each other there is no base (RFC 9421 §2.5).
        (true, ..) => Err(Fault::Unsupported),
        (false, Some(key), _) => Ok(Form::Member(key)),
        (false, None, true) => Ok(Form::Strict),
        (false, None, false) => Ok(Form::Plain),
    }
}

fn field<'v>(headers: &'v HeaderMap, name: &str, params: &Parameters, left: &mut usize) -> Result<Cow<'v, str>, Fault> {
    // Names are in lower case (RFC 9421 §2.1); `HeaderMap` would find the others, too.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::Unsupported);
    }
    let form = form(params)?;
    let lines = headers.get_all(name);
    if lines.iter().next().is_none() {
        return Err(Fault::Missing);
    }
    spend(left, lines.iter().map(HeaderValue::len).sum())?;
    if matches!(form, Form::Bytes) {
        let armoured = lines.iter().map(|line| format!(":{}:", BASE64.encode(line.as_bytes().trim_ascii())));
        return Ok(armoured.collect::<Vec<_>>().join(", ").into());
    }
    let text = joined(lines.iter())?;
    match form {
        Form::Strict => strict(name, &text).map(Cow::Owned),
        Form::Member(key) => member(&text, key).map(Cow::Owned),
        Form::Plain | Form::Bytes => Ok(text),
    }
}

/// The lines of a field as one text (RFC 9421 §2.1).
///
/// # Errors
/// [`Fault::Malformed`] if they are no ASCII.
pub(super) fn joined<'v>(mut lines: impl Iterator<Item = &'v HeaderValue>) -> Result<Cow<'v, str>, Fault> {
    let text = |line: &'v HeaderValue| line.to_str().map(|text| text.trim_matches([' ', '\t']));
    let first = lines.next().map_or(Ok(""), text).map_err(|_| Fault::Malformed)?;
    let mut all = Cow::Borrowed(first);
    for line in lines {
        let all = all.to_mut();
        all.push_str(", ");
        all.push_str(text(line).map_err(|_| Fault::Malformed)?);
    }
    Ok(all)
}

fn member(text: &str, key: &str) -> Result<String, Fault> {
    let dictionary: Dictionary = Parser::new(text).parse().map_err(|_| Fault::Malformed)?;
    match dictionary.get(key).ok_or(Fault::Missing)? {
        ListEntry::Item(item) => Ok(item.serialize()),
        ListEntry::InnerList(list) => Ok(serialize(list)),
    }
}

/// Fields whose structure is known; only these may be covered with `sf`.
#[rustfmt::skip]
const DICTIONARIES: [&str; 10] = [
    "cache-control", "content-digest", "content-usage", "priority", "repr-digest", "signature", "signature-agent",
    "signature-input", "want-content-digest", "want-repr-digest",
];
const LISTS: [&str; 5] = ["accept", "accept-encoding", "accept-language", "sec-ch-ua", "sec-ch-ua-full-version-list"];
#[rustfmt::skip]
const ITEMS: [&str; 8] = [
    "content-length", "content-type", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode",
    "sec-fetch-site", "sec-fetch-user",
];

fn strict(name: &str, text: &str) -> Result<String, Fault> {
    let parser = Parser::new(text);
    let written = if DICTIONARIES.contains(&name) {
        parser.parse::<Dictionary>().map(|value| value.serialize().unwrap_or_default())
    } else if LISTS.contains(&name) {
        parser.parse::<List>().map(|value| value.serialize().unwrap_or_default())
    } else if ITEMS.contains(&name) {
        parser.parse::<Item>().map(|value| value.serialize())
    } else {
        return Err(Fault::Unsupported);
    };
    written.map_err(|_| Fault::Malformed)
}

/// An inner list with its parameters, in canonical form and in the order that was sent.
fn serialize(list: &InnerList) -> String {
    let mut out = ListSerializer::new();
    let mut inner = out.inner_list();
    inner.items(&list.items);
    inner.finish().parameters(&list.params);
    out.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    /// The request of RFC 9421 Appendix B.2.
    fn appendix() -> HeaderMap {
        headers(&[
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-digest", DIGEST),
            ("content-length", "18"),
        ])
    }

    fn input(text: &str) -> InnerList {
        let text = format!("s={text}");
        let dictionary: Dictionary = Parser::new(&text).parse().unwrap();
        match dictionary.get("s") {
            Some(ListEntry::InnerList(list)) => list.clone(),
            _ => panic!("{text}"),
        }
    }

    fn of(headers: &HeaderMap, path_and_query: &str, covered: &str) -> Result<String, Fault> {
        let target = Target { method: &Method::POST, scheme: "https", authority: "example.com", path_and_query };
        base(&target, headers, &input(covered)).map_err(|error| error.fault)
    }

    /// The lines of the components alone.
    fn lines(headers: &HeaderMap, path_and_query: &str, covered: &str) -> Result<Vec<String>, Fault> {
        let all = of(headers, path_and_query, covered)?;
        let mut all: Vec<String> = all.split('\n').map(str::to_owned).collect();
        let params = all.pop().unwrap();
        assert_eq!(params, format!("\"@signature-params\": {covered}"));
        Ok(all)
    }

    #[test]
    fn the_bases_of_the_appendix() {
        let target = "/foo?param=Value&Pet=dog";
        let params = "();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"";
        assert_eq!(of(&appendix(), target, params).unwrap(), format!("\"@signature-params\": {params}"));

        let params = "(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=1618884473;\
                      keyid=\"test-key-rsa-pss\";tag=\"header-example\"";
        let expect = format!(
            "\"@authority\": example.com\n\"content-digest\": {DIGEST}\n\"@query-param\";name=\"Pet\": dog\n\
             \"@signature-params\": {params}"
        );
        assert_eq!(of(&appendix(), target, params).unwrap(), expect);

        let params = "(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \
                      \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"";
        let expect = format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
             \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\"content-type\": application/json\n\
             \"content-digest\": {DIGEST}\n\"content-length\": 18\n\"@signature-params\": {params}"
        );
        assert_eq!(of(&appendix(), target, params).unwrap(), expect);
    }

    #[test]
    fn derived_components() {
        let none = HeaderMap::new();
        #[rustfmt::skip]
        let table = [
            ("/path?param=value", "\"@method\"", "POST"),
            ("/path?param=value", "\"@target-uri\"", "https://example.com/path?param=value"),
            ("/path?param=value", "\"@authority\"", "example.com"),
            ("/path?param=value", "\"@scheme\"", "https"),
            ("/path?param=value", "\"@request-target\"", "/path?param=value"),
            ("/path?param=value", "\"@path\"", "/path"),
            ("/a%2Fb//c?", "\"@path\"", "/a%2Fb//c"),
            ("/path?param=value&foo=bar&baz=bat%2Dman", "\"@query\"", "?param=value&foo=bar&baz=bat%2Dman"),
            ("/path?queryString", "\"@query\"", "?queryString"),
            ("/path?a?b", "\"@query\"", "?a?b"),
            ("/path", "\"@query\"", "?"),
            ("*", "\"@request-target\"", "*"),
            ("*", "\"@path\"", "/"),
            ("*", "\"@target-uri\"", "https://example.com"),
        ];
        for (path, component, expect) in table {
            assert_eq!(
                lines(&none, path, &format!("({component})")),
                Ok(vec![format!("{component}: {expect}")]),
                "{path}"
            );
        }
    }

    #[test]
    fn an_authority_has_one_form() {
        for (scheme, authority, expect) in [
            ("https", "WWW.Example.COM", "www.example.com"),
            ("https", "example.com:443", "example.com"),
            ("HTTPS", "example.com:443", "example.com"),
            ("http", "example.com:80", "example.com"),
            ("http", "example.com:443", "example.com:443"),
            ("https", "example.com:8443", "example.com:8443"),
            ("https", "example.com:", "example.com"),
            ("https", "[2001:db8::443]", "[2001:db8::443]"),
            ("https", "[2001:DB8::1]:443", "[2001:db8::1]"),
        ] {
            let target = Target { method: &Method::GET, scheme, authority, path_and_query: "/" };
            assert_eq!(target.normal_authority(), expect, "{scheme} {authority}");
        }
    }

    #[test]
    fn parameters_of_the_query() {
        let none = HeaderMap::new();
        let query = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&\
                     fa%C3%A7ade%22%3A%20=something&qux=&&twice=1&twice=2&tilde=~!*&bad=%zz%4";
        for (name, expect) in [
            ("var", Ok("this%20is%20a%20big%0Amultiline%20value")),
            ("bar", Ok("with%20plus%20whitespace")),
            ("fa%C3%A7ade%22%3A%20", Ok("something")),
            ("qux", Ok("")),
            ("tilde", Ok("%7E%21*")),
            ("bad", Ok("%25zz%254")),
            ("twice", Err(Fault::Ambiguous)),
            ("missing", Err(Fault::Missing)),
            ("", Err(Fault::Missing)),
        ] {
            let got = lines(&none, query, &format!("(\"@query-param\";name=\"{name}\")"));
            let expect = expect.map(|value| vec![format!("\"@query-param\";name=\"{name}\": {value}")]);
            assert_eq!(got, expect, "{name}");
        }
        let two = lines(&none, "/?a=1&b=2", "(\"@query-param\";name=\"b\" \"@query-param\";name=\"a\")").unwrap();
        assert_eq!(two, ["\"@query-param\";name=\"b\": 2", "\"@query-param\";name=\"a\": 1"]);
    }

    #[test]
    fn fields() {
        let map = headers(&[
            ("x-ows", "  Leading and trailing whitespace.\t "),
            ("x-empty", ""),
            ("cache-control", "max-age=60"),
            ("cache-control", "   must-revalidate"),
            ("example-dict", "  a=1,    b=2;x=1;y=2,   c=(a   b    c), d"),
            ("example-header", "value, with, lots"),
            ("example-header", "of, commas"),
            ("priority", "u=1,   i"),
            ("accept", "text/html;q=0.50 ,  */*"),
            ("sec-fetch-user", "?1"),
        ]);
        #[rustfmt::skip]
        let table = [
            ("\"x-ows\"", "Leading and trailing whitespace."),
            ("\"x-empty\"", ""),
            ("\"x-empty\";bs", "::"),
            ("\"cache-control\"", "max-age=60, must-revalidate"),
            ("\"cache-control\";key=\"max-age\"", "60"),
            ("\"cache-control\";key=\"must-revalidate\"", "?1"),
            ("\"example-dict\"", "a=1,    b=2;x=1;y=2,   c=(a   b    c), d"),
            ("\"example-dict\";key=\"a\"", "1"),
            ("\"example-dict\";key=\"d\"", "?1"),
            ("\"example-dict\";key=\"b\"", "2;x=1;y=2"),
            ("\"example-dict\";key=\"c\"", "(a b c)"),
            ("\"example-dict\";key=\"c\";sf", "(a b c)"),
            ("\"example-header\"", "value, with, lots, of, commas"),
            ("\"example-header\";bs", ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"),
            ("\"priority\";sf", "u=1, i"),
            ("\"accept\";sf", "text/html;q=0.5, */*"),
            ("\"sec-fetch-user\";sf", "?1"),
        ];
        for (component, expect) in table {
            let expect = Ok(vec![format!("{component}: {expect}")]);
            assert_eq!(lines(&map, "/", &format!("({component})")), expect, "{component}");
        }
    }

    #[test]
    fn what_cannot_be_rebuilt_is_no_base() {
        let mut map = headers(&[("x", "1"), ("x-few", "a1=1"), ("x-list", "not a (dictionary"), ("accept", "\"")]);
        map.insert("x-latin", HeaderValue::from_bytes(b"\xe9").unwrap());
        let many = format!("({})", (0..33).map(|n| format!("\"x{n}\" ")).collect::<String>());
        let every = format!("({})", (0..20).map(|n| format!("\"x-long\";key=\"a{n}\" ")).collect::<String>());
        let long: Vec<String> = (0..20).map(|n| format!("a{n}=\"{}\"", "x".repeat(4_000))).collect();
        map.insert("x-long", long.join(", ").parse().unwrap());
        for (covered, fault) in [
            ("(\"@unknown\")", Fault::Unsupported),
            ("(\"@status\")", Fault::Unsupported),
            ("(\"@signature-params\")", Fault::Unsupported),
            ("(\"@query-params\")", Fault::Unsupported),
            ("(\"@query-param\")", Fault::Unsupported),
            ("(\"@query-param\";name=a)", Fault::Unsupported),
            ("(\"@query-param\";name=\"a\";req)", Fault::Unsupported),
            ("(\"@query-param\";key=\"a\")", Fault::Unsupported),
            ("(\"@method\";req)", Fault::Unsupported),
            ("(\"@authority\";sf)", Fault::Unsupported),
            ("(\"x\";tr)", Fault::Unsupported),
            ("(\"x\";req)", Fault::Unsupported),
            ("(\"x\";new)", Fault::Unsupported),
            ("(\"x\";sf)", Fault::Unsupported),
            ("(\"x\";bs=?0)", Fault::Unsupported),
            ("(\"x\";bs;sf)", Fault::Unsupported),
            ("(\"x\";key=\"a\";bs)", Fault::Unsupported),
            ("(\"x\";key=a)", Fault::Unsupported),
            ("(\"X\")", Fault::Unsupported),
            ("(x)", Fault::Unsupported),
            ("(1)", Fault::Unsupported),
            ("(\"missing\")", Fault::Missing),
            ("(\"missing\";bs)", Fault::Missing),
            ("(\"\")", Fault::Missing),
            ("(\"no name\")", Fault::Missing),
            ("(\"x-long\";key=\"b\")", Fault::TooLong),
            ("(\"x-few\";key=\"b\")", Fault::Missing),
            ("(\"x-list\";key=\"a\")", Fault::Malformed),
            ("(\"accept\";sf)", Fault::Malformed),
            ("(\"x-latin\")", Fault::Malformed),
            ("(\"x\" \"x\")", Fault::Duplicate),
            ("(\"@method\" \"x\" \"@method\")", Fault::Duplicate),
            ("(\"x-few\";key=\"a1\";sf \"x-few\";sf;key=\"a1\")", Fault::Duplicate),
            (&*many, Fault::TooLong),
            (&*every, Fault::TooLong),
        ] {
            assert_eq!(of(&map, "/?a=1", covered), Err(fault), "{covered}");
        }
        assert_eq!(lines(&map, "/", "(\"x-latin\";bs)").unwrap(), ["\"x-latin\";bs: :6Q==:"]);
        assert_eq!(of(&map, "/\u{e9}", "(\"@path\")"), Err(Fault::Malformed));
    }

    #[test]
    fn the_line_of_the_parameters_is_canonical_and_in_the_order_sent() {
        let sent = "( \"@method\"   \"@path\" );expires=2;created=01;  keyid=\"a\\\"b\";x;y=?1;z=1.50;expires=3";
        let got = of(&HeaderMap::new(), "/", sent).unwrap();
        let expect = "(\"@method\" \"@path\");expires=3;created=1;keyid=\"a\\\"b\";x;y;z=1.5";
        assert_eq!(got.rsplit('\n').next().unwrap(), format!("\"@signature-params\": {expect}"));
    }

    proptest! {
        #[test]
        fn any_query_has_a_base_of_one_line_each(query in "\\PC{0,60}", name in "[a-z%+]{0,3}") {
            let covered = format!("(\"@query-param\";name=\"{name}\")");
            if let Ok(base) = of(&HeaderMap::new(), &format!("/?{query}"), &covered) {
                prop_assert_eq!(base.split('\n').count(), 2);
            }
        }
    }
}
