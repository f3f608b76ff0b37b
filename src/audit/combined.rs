//! A record as a line of the Combined format of Apache's httpd, which nginx writes, too, and every log analyser reads.
//!
//! Bytes are escaped as httpd does (`mod_log_config`), so that nothing in a line ends a field or reaches a terminal:
//! `"` and `\` get a backslash, all but printable ASCII becomes `\xhh`.

use std::time::Duration;

use super::cut::{MAX_METHOD, Notes, cut};
use super::privacy::{Pseudonyms, render_address};
use super::record::AuditRecord;
use super::{AddressMode, Settings};

/// The status of a request whose client left before there was an answer; nginx's own code for it.
const CLIENT_LEFT: u16 = 499;

impl AuditRecord {
    /// Appends the line; with `more`, one field behind the usual ones:
    /// `"category/verification/score/action/mark"`.
    pub(super) fn write_combined(
        &self,
        out: &mut Vec<u8>,
        more: bool,
        settings: &Settings,
        pseudonyms: &mut Pseudonyms,
    ) {
        // What was cut or replaced has no place in this format.
        let mut notes = Notes::default();
        push(out, &self.client_text(settings, pseudonyms));
        push(out, &format!(" - - [{}] ", render_clf(self.time)));
        let mut target = self.path_text(&mut notes, settings);
        if let Some(query) = self.query_text(&mut notes, settings) {
            target = format!("{target}?{query}").into();
        }
        // Others write the number of the protocol with a dot, too.
        let protocol = match self.protocol {
            "2" => "2.0",
            "3" => "3.0",
            other => other,
        };
        push_quoted(out, &format!("{} {target} HTTP/{protocol}", cut(&self.method, MAX_METHOD)));
        push(out, &format!(" {} {} ", self.status.unwrap_or(CLIENT_LEFT), self.body_size));
        push_quoted(out, or_hyphen(self.referer_text(&mut notes, settings).as_deref()));
        out.push(b' ');
        push_quoted(out, or_hyphen(self.user_agent_text(&mut notes).as_deref()));
        if more {
            out.push(b' ');
            push_quoted(out, &self.judgment_text());
        }
        out.push(b'\n');
    }

    /// A prefix has no place where a host is read; its first address has. A pseudonym stands in for the host's name.
    fn client_text(&self, settings: &Settings, pseudonyms: &mut Pseudonyms) -> String {
        let full = self.escalates(settings.address_escalate);
        let shown = self.address().and_then(|ip| render_address(ip, settings, full));
        match shown {
            Some(address) => address.split('/').next().unwrap_or_default().to_owned(),
            None if settings.address == AddressMode::Pseudonym => {
                self.visitor_id(settings, pseudonyms).unwrap_or_else(|| "-".to_owned())
            }
            None => "-".to_owned(),
        }
    }

    fn judgment_text(&self) -> String {
        let visitor = self.visitor.as_ref();
        let score = self.assessment.as_ref().map(|assessment| assessment.score.to_string());
        [
            visitor.map(|visitor| visitor.agent.category.code()),
            visitor.map(|visitor| visitor.verification.code()),
            score.as_deref(),
            self.decision.as_ref().map(|decision| decision.action.code()),
            self.page.as_ref().and_then(|page| page.mark.as_deref()),
        ]
        .map(or_hyphen)
        .join("/")
    }
}

/// `20/Nov/2026:10:14:07 +0000`, always UTC.
fn render_clf(unix: Duration) -> String {
    jiff::Timestamp::from_second(unix.as_secs() as i64)
        .map_or_else(|_| "01/Jan/1970:00:00:00 +0000".to_owned(), |t| t.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
}

fn or_hyphen(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("-")
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => push(out, &format!("\\x{byte:02x}")),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::Escalate;
    use crate::audit::reader::{Format, Line, Reader};
    use crate::audit::record::blank;
    use crate::visitor::{self, ClientAddress, Visitor};

    fn line(record: &AuditRecord, more: bool, settings: &Settings) -> String {
        let mut out = Vec::new();
        record.write_combined(&mut out, more, settings, &mut Pseudonyms::in_memory());
        String::from_utf8(out).unwrap()
    }

    fn visited(address: &str) -> AuditRecord {
        let (head, ()) = http::Request::builder().uri("/").header("user-agent", "x").body(()).unwrap().into_parts();
        let visitor = Visitor::from_head(&head, &visitor::Settings::default(), Duration::ZERO).unwrap();
        let address = ClientAddress { ip: Some(address.parse().unwrap()), ..ClientAddress::UNKNOWN };
        AuditRecord { visitor: Some(Visitor { address, ..visitor }), ..blank() }
    }

    #[test]
    fn a_line_is_what_others_write() {
        let record = AuditRecord {
            query: Some("p=42&token=abc".into()),
            referer: Some(b"https://other.example/x?q=secret".to_vec()),
            user_agent: Some(b"Mozilla/5.0 (X11)".to_vec()),
            ..visited("203.0.113.9")
        };
        let settings = Settings { address_escalate: Escalate::Never, ..Settings::default() };
        let plain = "203.0.113.0 - - [23/Nov/2026:20:45:12 +0000] \"GET /2026/11/20/a-b-c?p=42&token=REDACTED HTTP/1.1\" \
                     200 10 \"https://other.example/\" \"Mozilla/5.0 (X11)\"";
        assert_eq!(line(&record, false, &settings), format!("{plain}\n"));
        let more = line(&record, true, &settings);
        let (before, judged) = more.trim_end().rsplit_once(' ').unwrap();
        assert_eq!(before, plain);
        let parts: Vec<&str> = judged.trim_matches('"').split('/').collect();
        assert_eq!((parts.len(), &parts[2..]), (5, &["-", "-", "-"][..]), "{judged}");
    }

    #[test]
    fn clients_are_as_private_as_elsewhere() {
        let with = |address| Settings { address, address_escalate: Escalate::Never, ..Settings::default() };
        let host =
            |address: &str, mode| line(&visited(address), false, &with(mode)).split(' ').next().unwrap().to_owned();
        assert_eq!(host("203.0.113.9", AddressMode::Truncate), "203.0.113.0");
        assert_eq!(host("2001:db8:1:2::9", AddressMode::Truncate), "2001:db8:1::");
        assert_eq!(host("203.0.113.9", AddressMode::Full), "203.0.113.9");
        assert_eq!(host("203.0.113.9", AddressMode::None), "-");
        let pseudonym = host("203.0.113.9", AddressMode::Pseudonym);
        assert_eq!((pseudonym.len(), pseudonym.contains('.')), (20, false), "{pseudonym}");
    }

    #[test]
    fn a_client_that_left_and_other_protocols() {
        let record = AuditRecord { status: None, protocol: "2", user_agent: Some(Vec::new()), ..blank() };
        let line = line(&record, false, &Settings::default());
        assert!(line.contains(" HTTP/2.0\" 499 10 \"-\" \"-\""), "{line}");
    }

    proptest! {
        #[test]
        fn lines_are_read_back_as_they_were_written(
            agent in proptest::collection::vec(any::<u8>(), 1..600),
            path in r#"/[a-z"\\é\x01%]{0,20}"#,
            query in proptest::option::of(r#"p=[a-z"\\]{1,20}"#),
            status in 100_u16..600,
            size in any::<u32>(),
        ) {
            let mut record = AuditRecord { status: Some(status), body_size: size.into(), ..visited("198.51.100.7") };
            record.user_agent = Some(agent.clone());
            record.time = Duration::from_secs(1_700_000_000);
            record.path = path.into();
            record.query = query;
            let settings = Settings { path_redact: false, ..Settings::default() };
            for more in [false, true] {
                let line = line(&record, more, &settings);
                prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\n'));
                prop_assert_eq!(line.matches('\n').count(), 1);
                let mut reader = Reader::new(Format::Combined);
                let Line::Hit(hit) = reader.read(line.trim_end_matches('\n').as_bytes()) else {
                    return Err(TestCaseError::fail(line.clone()));
                };
                prop_assert_eq!(hit.time.as_secs(), record.time.as_secs());
                prop_assert_eq!((hit.status, hit.bytes), (Some(status), u64::from(size)));
                prop_assert_eq!((hit.method.as_ref(), hit.path.as_ref()), ("GET", &*record.path));
                prop_assert_eq!(hit.query.as_deref(), record.query.as_deref());
                let mut notes = Notes::default();
                let written = record.user_agent_text(&mut notes);
                let written = written.as_deref().filter(|text| !matches!(*text, "" | "-"));
                prop_assert_eq!(hit.user_agent.as_deref(), written);
                let judged = hit.deckle.as_deref().map(|fields| (fields.category.as_ref(), fields.verification.as_ref()));
                let visitor = record.visitor.as_ref().filter(|_| more);
                let expected = visitor.map(|visitor| (visitor.agent.category.code(), visitor.verification.code()));
                prop_assert_eq!(judged, expected);
            }
        }
    }
}
