//! What shapes a page besides its source, and where the page is.

use super::ask::Ask;
use super::wish::Wish;
use crate::page::marks::Variants;
use crate::slot::FormKinds;

/// All that shapes a page but its source: two pages with one shape and one source get the same edits.
#[derive(Hash)]
pub(super) struct Shape<'a> {
    pub(super) version: u32,
    pub(super) host: &'a str,
    pub(super) address: Address<'a>,
    pub(super) year: i16,
    pub(super) wish: &'a Wish,
    pub(super) charset: &'a str,
    pub(super) declared: bool,
    pub(super) room: usize,
    pub(super) no_slots: Option<&'static str>,
    pub(super) body_is_root: bool,
    pub(super) links: bool,
    pub(super) forms: FormKinds,
    pub(super) variants: Variants,
    pub(super) tokens: bool,
    /// What style sheets say of places.
    pub(super) style: u64,
}

/// The address of a page, as far as it tells one page from another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Address<'a> {
    /// In its normal form.
    path: &'a str,
    /// The path up to its last slash as it was asked for: of `/story` and `/story/` a sheet `s.css` is not the same one.
    directory: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn of(ask: &'a Ask) -> Self {
        let raw = ask.target.split('?').next().unwrap_or_default();
        let directory = raw.rfind('/').and_then(|at| raw.get(..=at)).unwrap_or_default();
        Self { path: &ask.path, directory }
    }
}
