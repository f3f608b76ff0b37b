//! In which coding a page leaves.

use http::Method;

use super::ask::Ask;
use super::shape::Address;
use super::site::Site;
use crate::page::Finding;
use crate::page::encoding::Coding;
use crate::page::plan::PackedAddress;

/// Pages with one of these are packed together, or not at all.
#[derive(Hash)]
struct Copies<'a> {
    version: u32,
    host: &'a str,
    address: Address<'a>,
    /// What the address leaves out may stand in the page.
    exact: bool,
    no_slots: Option<&'static str>,
}

/// What is decided about the coding of a page.
pub(super) struct Outgoing {
    pub(super) coding: Coding,
    /// Where the page is, if it may leave in gzip because it is packed, whatever coding it came in.
    pub(super) address: Option<PackedAddress>,
}

impl Site {
    /// The coding that a page leaves in: the one it came in, or the one that was asked for. It is gzip where the client likes
    /// nothing better, and copies of the page are packed: they cost a fraction of what another coding does.
    pub(super) fn outgoing(&self, ask: &Ask, codings: &[Coding], finding: Option<Finding>) -> Outgoing {
        let coding = ask.outgoing(codings);
        let reads = matches!(ask.method, Method::GET | Method::HEAD);
        let prefers = matches!(coding, Coding::Br | Coding::Zstd) && reads && ask.likes_gzip;
        let Some(plans) = self.plans.as_ref().filter(|plans| prefers && plans.packs()) else {
            return Outgoing { coding, address: None };
        };
        let (address, no_slots) = (Address::of(ask), self.no_slots(ask, finding));
        let exact = address.is_exact(ask);
        let key = plans.key(&Copies { version: self.version, host: &ask.host, address, exact, no_slots });
        let coding = if plans.addresses().hold(key) { Coding::Gzip } else { coding };
        Outgoing { coding, address: Some(PackedAddress::new(plans, key)) }
    }
}
