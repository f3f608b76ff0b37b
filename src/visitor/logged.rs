//! The facts of a request that a log tells of. What its head held besides is not known: nothing follows from that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use uuid::Uuid;

use super::route::{self, normalise};
use super::{AddressSource, Agent, Category, ClientAddress, Facts, RouteClass, Verification, Visitor, VisitorKey};

/// What a path asks for, as far as no header says more. It is the same for all who ask.
#[derive(Debug, Clone)]
pub(crate) struct LoggedPath {
    pub(crate) route: RouteClass,
    pub(crate) navigation: bool,
    asset: bool,
    normal: Arc<str>,
}

/// Who asks, as far as a log says it.
#[derive(Debug)]
pub(crate) struct LoggedHead {
    pub(crate) host: Arc<str>,
    pub(crate) agent: Agent,
    pub(crate) verification: Verification,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) key: VisitorKey,
    pub(crate) arrived: Duration,
}

impl LoggedPath {
    /// The path in its normal form.
    pub(crate) fn normal(&self) -> &str {
        &self.normal
    }
}

impl Facts {
    /// The class of a path.
    pub(crate) fn logged_path(&self, method: &Method, path: &str) -> LoggedPath {
        let (unknown, normal) = (HeaderMap::new(), normalise(path));
        let asset = self.routes.is_asset_path(&normal);
        let route = self.routes.classify(method, path, &normal, asset, &unknown);
        LoggedPath { route, navigation: route::is_navigation(method, route, &unknown), asset, normal: normal.into() }
    }

    /// Identifies who asked for it.
    pub(crate) fn visitor_of_log(&self, head: LoggedHead, path: &LoggedPath) -> Visitor {
        let source = if head.ip.is_some() { AddressSource::Peer } else { AddressSource::None };
        let address = ClientAddress { ip: head.ip, source, ..ClientAddress::UNKNOWN };
        // Of programs that say so it does not matter.
        let rents = head.agent.category == Category::Browser && head.ip.is_some_and(|ip| self.clouds.holds(ip));
        Visitor {
            pass: None,
            trap: None,
            beacon: false,
            traps: None,
            prefetch: false,
            foreign_hello: false,
            asn: None,
            cloud: rents,
            host: head.host,
            host_networks: 0,
            key: head.key,
            standing: self.standing(&address, path.route, &path.normal),
            navigation: path.navigation,
            asset_path: path.asset,
            secure: false,
            address,
            agent: head.agent,
            verification: head.verification,
            verification_method: None,
            ranges_age: None,
            indexer: false,
            route: path.route,
            path: Arc::clone(&path.normal),
            enforceable: true,
            request_id: Uuid::nil(),
            arrived: head.arrived,
        }
    }

    /// The same visitor asks for something else.
    pub(crate) fn asks_for(&self, visitor: &mut Visitor, path: &LoggedPath, arrived: Duration) {
        if !Arc::ptr_eq(&visitor.path, &path.normal) {
            visitor.path = Arc::clone(&path.normal);
        }
        visitor.standing = self.standing(&visitor.address, path.route, &path.normal);
        (visitor.route, visitor.navigation, visitor.asset_path) = (path.route, path.navigation, path.asset);
        visitor.arrived = arrived;
    }
}
