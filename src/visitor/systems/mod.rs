//! Which autonomous system an address belongs to: by a database that the operator of the site supplies (`visitor.asn_db`,
//! feature `asn`). deckle ships none.
//!
//! The number goes into the log and into reports. No decision hangs on it.

#[cfg(not(feature = "asn"))]
mod absent;
#[cfg(feature = "asn")]
mod database;
#[cfg(all(test, feature = "asn"))]
#[path = "../../../tests/it/mmdb.rs"]
mod mmdb;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

#[cfg(not(feature = "asn"))]
use absent::Database;
#[cfg(feature = "asn")]
use database::Database;

use super::{Settings, VisitorError};

/// A database of autonomous systems, or none: then no address belongs to one. Clones share what was read.
#[derive(Debug, Clone, Default)]
pub struct Systems(Option<Arc<Database>>);

/// An autonomous system (RFC 1930).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct System {
    /// Its number, never 0 (RFC 7607).
    pub number: u32,
    /// Who runs it, as the database has it.
    pub organisation: Option<String>,
}

/// Why a database was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemsError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {message}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        message: String,
    },
    /// It is broken, or tells of something else.
    #[error("`{path}` is no database of autonomous systems: {message}")]
    Database {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// This build reads no database.
    #[error("needs feature `asn`")]
    Feature,
}

impl Systems {
    /// Reads a whole file into memory: a database in the form of MaxMind DB, version 2
    /// (<https://maxmind.github.io/MaxMind-DB/>). Its entries hold `autonomous_system_number` and
    /// `autonomous_system_organization`, or `asn` (`AS64500`) and `as_name` or `name`.
    ///
    /// # Errors
    /// [`SystemsError`] names the file; [`SystemsError::Feature`] in a build without feature `asn`.
    pub fn open(path: &str) -> Result<Self, SystemsError> {
        Database::open(path).map(|database| Self(Some(Arc::new(database))))
    }

    /// The database that `visitor.asn_db` names, if it names one.
    pub(crate) fn configured(settings: &Settings) -> Result<Self, VisitorError> {
        let opened = settings.asn_db.as_deref().map(Self::open).transpose();
        opened.map(Option::unwrap_or_default).map_err(|error| VisitorError::Systems { message: error.to_string() })
    }

    /// The number of the system of an address. A fault of the database is no number.
    pub fn number(&self, ip: IpAddr) -> Option<u32> {
        self.0.as_ref()?.number(ip.to_canonical())
    }

    /// The system of a whole network; `None`, too, where the database tells parts of it apart.
    pub fn of(&self, net: IpNet) -> Option<System> {
        self.0.as_ref()?.of(net)
    }
}
