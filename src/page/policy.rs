//! What the site wants for one response.

use super::guard::GuardMode;

/// Put into a response's extensions by the inner service, it overrules the configuration for that page; only
/// `page.enabled = false` is stronger.
///
/// ```
/// use deckle::page::{GuardMode, PagePolicy};
/// let mut response = http::Response::new("<!doctype html>...");
/// // An editor's preview: nothing in the way, and no mark.
/// response.extensions_mut().insert(PagePolicy { guard: Some(GuardMode::Off), marks: Some(false), ..PagePolicy::default() });
/// ```
///
/// A site in another process names the guard's mode in a response field, `page.guard.skip.header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PagePolicy {
    /// Mode of the copy guard.
    pub guard: Option<GuardMode>,
    /// Whether the notice is placed.
    pub notice: Option<bool>,
    /// Whether rights are declared, in fields and in the page.
    pub rights: Option<bool>,
    /// `Some(false)`: this copy carries no mark. Marks cannot be switched on where the configuration has none.
    pub marks: Option<bool>,
}
