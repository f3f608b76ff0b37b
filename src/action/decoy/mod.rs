//! Action `decoy`: who is found in a trap gets filler in place of the site. Off unless the operator says that this is what
//! they want: what is collected from here spoils a collection of texts, and not only that of whoever deserves it.
//!
//! 1. Only a score that would block, together with traps, leads here; nobody who may be a search engine, a preview, a
//!    feed reader, an archive, a monitor or a text browser, and nobody whose claim is still being checked.
//! 2. A page is answered with 303 to a path of deckle's own, which robots.txt forbids, which nothing links to, and which
//!    is a 404 for everybody else. So no page of the site ever holds filler.
//! 3. Every page says that it is generated, bears `noindex, nofollow`, and is 4 KiB at most, 16 a second in all; above
//!    that the action is `block`. Nobody is held.

mod page;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::policy::Word;
use super::{Action, ActionError, Settings};
use crate::secret::Secrets;
use crate::suspicion::Assessment;
use crate::visitor::{Category, Standing, Verification, Visitor};
use page::{Filler, is_decoy_path};

const ROBOTS: &str = "x-robots-tag";

/// The bucket of the score, and the points of traps, of who gets filler where that is switched on.
const DECEIVED: (u8, f32) = (5, 60.0);

/// Section `[action.decoy]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecoySettings {
    /// Whether it is used at all.
    pub enabled: bool,
    /// `yes`: the operator knows that it spoils what is collected.
    pub i_have_read: String,
}

impl DecoySettings {
    pub(super) fn check(&self) -> Result<(), ActionError> {
        if self.enabled && self.i_have_read != "yes" { Err(ActionError::Decoy) } else { Ok(()) }
    }
}

/// Is this one of those who get filler? The score says `block`, and traps say why; who may act for a reader or an index,
/// and whose claim is not settled, is never one.
pub(super) fn is_meant(settings: &Settings, visitor: &Visitor, assessment: &Assessment) -> bool {
    use Category::{AiUser, Archive, Feed, Monitor, Preview, Reader, Search};
    if !settings.decoy.enabled {
        return false;
    }
    let spared = matches!(visitor.agent.category, Search | AiUser | Preview | Feed | Archive | Reader | Monitor)
        || matches!(visitor.verification, Verification::Pending | Verification::Error | Verification::Verified);
    let choice = settings.policy.of(&visitor.agent).0;
    choice.word(visitor.verification) == Word::Score
        && choice.cap() >= Action::Decoy
        && visitor.standing == Standing::Ordinary
        && settings.max_action >= Action::Decoy
        && assessment.bucket == DECEIVED.0
        && assessment.points.trap.round() >= DECEIVED.1
        && !spared
}

/// Makes the answers.
#[derive(Debug)]
pub(super) struct Decoy {
    filler: Filler,
    mount: String,
}

impl Decoy {
    pub(super) fn new(secrets: &Secrets, mount: &str) -> Self {
        Self { filler: Filler::new(secrets), mount: mount.to_owned() }
    }

    /// Is this one of its own addresses?
    pub(super) fn is_own(&self, path: &str) -> bool {
        is_decoy_path(path, &self.mount)
    }

    /// Away from a page of the site.
    pub(super) fn lead(&self, path: &str) -> Response<Full<Bytes>> {
        let mut response = answer(StatusCode::SEE_OTHER, Bytes::new());
        if let Ok(entry) = HeaderValue::from_str(&self.filler.entry(path, &self.mount)) {
            response.headers_mut().insert(header::LOCATION, entry);
        }
        response
    }

    pub(super) fn page(&self, path: &str) -> Response<Full<Bytes>> {
        let mut response = answer(StatusCode::OK, self.filler.page(path, &self.mount));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response
    }

    /// For everybody else there is nothing.
    pub(super) fn nothing() -> Response<Full<Bytes>> {
        answer(StatusCode::NOT_FOUND, Bytes::new())
    }
}

fn answer(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ROBOTS, HeaderValue::from_static("noindex, nofollow"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}
