//! In which coding a page leaves.

use super::ask::Ask;
use super::shape::Address;
use super::site::Site;
use crate::page::Finding;
use crate::page::encoding::Coding;

/// Pages with one of these are packed together, or not at all.
#[derive(Hash)]
struct Copies<'a> {
    version: u32,
    host: &'a str,
    address: Address<'a>,
    no_slots: Option<&'static str>,
}

/// What is decided about the coding of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) coding: Coding,
    /// Its address, if it may leave in gzip because it is packed, whatever coding it came in.
    pub(super) address: Option<u128>,
}

impl Site {
    /// The coding that a page leaves in: the one it came in, or the one that was asked for. It is gzip where the client likes
    /// nothing better, and copies of the page are packed: they cost a fraction of what another coding does.
    pub(super) fn outgoing(&self, ask: &Ask, codings: &[Coding], finding: Option<Finding>) -> Outgoing {
        let coding = ask.outgoing(codings);
        let prefers = matches!(coding, Coding::Br | Coding::Zstd) && self.settings.prefer_packed && ask.likes_gzip;
        let Some(plans) = self.plans.as_ref().filter(|plans| prefers && plans.packs()) else {
            return Outgoing { coding, address: None };
        };
        let address = plans.key(&Copies {
            version: self.version,
            host: &ask.host,
            address: Address::of(ask),
            no_slots: self.no_slots(ask, finding),
        });
        let coding = if plans.addresses().holds(address) { Coding::Gzip } else { coding };
        Outgoing { coding, address: Some(address) }
    }
}
