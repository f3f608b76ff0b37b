//! What a request asks for, and what the future has to do.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, header};
use http_body_util::Full;

use super::future::Instead;
use super::share::Ask;

/// What the future has to do.
pub(super) enum Plan {
    Forward,
    /// On, for the head of the page; else this.
    Card(Instead),
    Wait(Duration),
    /// On, if the other processes agree.
    Ask(Box<Ask>),
    Answer(Box<Response<Full<Bytes>>>),
}

/// The head of a request, as far as acting goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'h> {
    pub(super) method: &'h Method,
    pub(super) uri: &'h Uri,
    pub(super) headers: &'h HeaderMap,
}

impl Head<'_> {
    /// What is asked for, and returned to.
    pub(super) fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    pub(super) fn language(&self) -> Option<&str> {
        self.headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()
    }
}
