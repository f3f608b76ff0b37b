//! What the site wants for one page, and what is declared and inserted in its head.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::ask::Ask;
use super::site::Site;
use crate::page::csp::{self, Policies};
use crate::page::declaration::{self, Declared};
use crate::page::head::HeadFindings;
use crate::page::markup::xml_form;
use crate::page::rewrite::Inserted;
use crate::page::signature;
use crate::page::{Alternate, GuardMode, PagePolicy};
use crate::rights;

/// What the site wants for one page, and what the head of its answer allows.
#[derive(Debug, Clone, Hash)]
pub(super) struct Wish {
    pub(super) guard: GuardMode,
    /// The site has named the mode for this very page.
    pub(super) named: bool,
    pub(super) notice: bool,
    pub(super) rights: bool,
    pub(super) unmarked: bool,
    /// What goes in must be XML.
    pub(super) xhtml: bool,
    /// The address of the page, if it is certain.
    pub(super) canonical: Option<String>,
    /// The fields reserve text and data mining; the address of the policy, or nothing.
    pub(super) reserved: Option<String>,
    /// The first tag of `Content-Language`.
    pub(super) language: Option<String>,
    pub(super) policies: Option<Policies>,
}

impl Site {
    /// What the site wants for one page. The field that says so goes no further.
    pub(super) fn wish(&self, ask: &Ask, head: &mut http::response::Parts) -> Wish {
        let policy = head.extensions.get::<PagePolicy>().copied().unwrap_or_default();
        let named = self.guard_field.as_ref().and_then(|field| head.headers.remove(field));
        let named = named.and_then(|value| {
            let mode = value.to_str().ok().and_then(|code| GuardMode::from_code(code.trim()));
            if mode.is_none() {
                tracing::debug!(target: "deckle", ?value, "The site names a guard mode that there is none of.");
            }
            mode
        });
        let configured = if self.unguarded.is_match(&ask.path) { GuardMode::Off } else { self.settings.guard.mode };
        let language = head.headers.get(header::CONTENT_LANGUAGE).and_then(|v| v.to_str().ok());
        Wish {
            named: policy.guard.or(named).is_some(),
            guard: policy.guard.or(named).unwrap_or(configured),
            notice: policy.notice.unwrap_or(true),
            rights: policy.rights.unwrap_or(true),
            canonical: self.canonical(ask, &head.headers),
            reserved: None,
            unmarked: policy.marks == Some(false),
            xhtml: false,
            language: language.and_then(|list| list.split(',').next()).map(|tag| tag.trim().to_owned()),
            policies: None,
        }
    }

    /// The statement of rights.
    pub(super) fn policy(&self) -> &rights::Policy {
        &self.policy
    }

    /// Declares rights in the head of an answer that shows something of the site.
    pub(super) fn declare(&self, ask: &Ask, wish: &mut Wish, status: StatusCode, headers: &mut HeaderMap) {
        // A signature that covers these fields, and that is kept, would no longer hold.
        let signed = || self.obeys(ask).signatures && signature::covers_a_page(headers);
        if wish.rights && !self.silent && declares(status, headers) && !signed() {
            rights::fields::declare(&self.policy, self.uses(ask), headers);
        }
        let reserved = rights::fields::reserved(headers) == Some(true);
        wish.reserved = reserved.then(|| rights::fields::tdm_policy(headers).unwrap_or_default().to_owned());
    }

    /// What is said about what was asked for: by the path as it came, and as others may write it.
    fn uses(&self, ask: &Ask) -> rights::Uses {
        let mut uses = self.policy.resolve(&ask.target);
        if ask.target == ask.path {
            return uses;
        }
        let other = self.policy.resolve(&ask.path);
        for of in rights::Use::ALL {
            let stricter = uses.get(of).max(other.get(of));
            uses.set(of, stricter);
        }
        uses
    }

    /// A `Link` of the site's own, else the public origin and the path; never from `Host`.
    fn canonical(&self, ask: &Ask, headers: &HeaderMap) -> Option<String> {
        let link = headers.get_all(header::LINK).iter().filter_map(|v| v.to_str().ok()).find_map(|line| {
            let (target, parameters) = line.trim().strip_prefix('<')?.split_once('>')?;
            let rel = parameters.split(';').find_map(|p| p.trim().strip_prefix("rel="))?;
            (rel.trim_matches('"').eq_ignore_ascii_case("canonical") && target.starts_with("http"))
                .then(|| target.to_owned())
        });
        link.or_else(|| {
            self.settings
                .origin
                .as_ref()
                .filter(|_| !ask.target.contains('?'))
                .map(|origin| format!("{origin}{}", ask.target))
        })
    }

    /// Amends the policies of an answer, for the guard to run.
    pub(super) fn amend_policies(&self, wish: &mut Wish, headers: &mut HeaderMap, not_modified: bool) {
        let Some(target) = self.guard.target(wish.guard, wish.language.as_deref()) else { return };
        let mut policies = Policies::new(target, &self.settings.csp);
        if not_modified {
            csp::keep_stored(headers, &policies);
            return;
        }
        policies.amend_headers(headers);
        if !policies.allow() {
            tracing::debug!(
                target: "deckle",
                "A Content-Security-Policy keeps the copy guard away; `page.origin` would let it be amended."
            );
        }
        wish.policies = Some(policies);
    }

    /// The visible notice, and the head insertion: guard, comment, metas. Before a charset that the page declares further on there are only `room`
    /// bytes.
    pub(super) fn insert(&self, findings: &HeadFindings, wish: &Wish, year: i16, room: usize) -> Inserted {
        let language = findings.lang.as_deref().or(wish.language.as_deref());
        let notice = self.notice.in_language(language, year);
        // XML names its charset elsewhere.
        let charset_seen = findings.charset_seen || wish.xhtml;
        let room = if charset_seen { usize::MAX } else { room };
        let mut out = Vec::new();
        let mut add = |part: &[u8]| {
            if out.len() + part.len() <= room {
                out.extend_from_slice(part);
            }
        };
        if let Some(policies) = findings.policies.as_ref().filter(|p| p.allow() && !findings.amp && !findings.exempt) {
            // A policy that names a script names the one that was chosen before the page was seen.
            let shown = findings.lang.as_deref().filter(|_| !policies.is_bound());
            let language = shown.or(wish.language.as_deref());
            let tag = self.guard.tag(wish.guard, language, policies.nonce(), policies.beacon());
            add(&tag.unwrap_or_default());
        }
        if wish.notice {
            let has_copyright = findings.metas.iter().any(|name| name == "copyright");
            add(notice.head(has_copyright).as_bytes());
        }
        // The longest part only behind the charset: even where the header names one, checkers want to find it early.
        if wish.rights && !findings.amp && charset_seen {
            let notice = notice.text();
            let declared = Declared {
                metas: &findings.metas,
                canonical: wish.canonical.as_deref(),
                notice: notice.as_deref(),
                year,
                reserved: wish.reserved.as_deref(),
            };
            add(declaration::markup(&self.policy, &declared).as_bytes());
        }
        if self.settings.length_jitter {
            let length = fastrand::usize(1..=32);
            let random: String = std::iter::repeat_with(fastrand::lowercase).take(length).collect();
            out.extend_from_slice(format!("<!--{random}-->").as_bytes());
        }
        let form = |markup: Vec<u8>| Bytes::from(if wish.xhtml { xml_form(&markup) } else { markup });
        let footer = notice.footer().filter(|_| wish.notice).map(|footer| form(footer.into_bytes()));
        Inserted { head: form(out), footer }
    }

    /// Is this an article in a form that cannot be marked, and is that to be refused?
    pub(super) fn refuses(&self, head: &http::response::Parts) -> bool {
        if self.settings.alternate != Alternate::Refuse || head.status != StatusCode::OK {
            return false;
        }
        let media = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        ["text/markdown", "text/x-markdown"].iter().any(|refused| media.eq_ignore_ascii_case(refused))
    }
}

/// Pages, PDF, images and feeds, and what confirms that they have not changed.
fn declares(status: StatusCode, headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let shows = media.starts_with("image/")
        || media.ends_with("+xml")
        || matches!(
            media.as_str(),
            "text/html" | "application/pdf" | "text/xml" | "application/xml" | "application/feed+json"
        );
    match status.as_u16() {
        200 | 203 | 206 => shows,
        304 => true,
        _ => false,
    }
}
