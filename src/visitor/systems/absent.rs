//! The database of a build without feature `asn`: there never is one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{System, SystemsError};

/// A database that is open.
#[derive(Debug)]
pub(super) enum Database {}

impl Database {
    pub(super) fn open(_: &str) -> Result<Self, SystemsError> {
        Err(SystemsError::Feature)
    }

    pub(super) fn number(&self, _: IpAddr) -> Option<u32> {
        match *self {}
    }

    pub(super) fn of(&self, _: IpNet) -> Option<System> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Systems;
    use super::*;
    use crate::visitor::Settings;

    #[test]
    fn the_key_says_which_feature_it_needs() {
        assert!(matches!(Database::open("asn.mmdb"), Err(SystemsError::Feature)));
        let settings = Settings { asn_db: Some("asn.mmdb".to_owned()), ..Settings::default() };
        let error = Systems::configured(&settings).unwrap_err().to_string();
        assert_eq!(error, "`visitor.asn_db`: needs feature `asn`");
        assert!(Systems::configured(&Settings::default()).is_ok());
    }
}
