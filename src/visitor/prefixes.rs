//! Sets of networks.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;

/// First and last addresses, sorted, apart from each other.
#[derive(Debug)]
pub(super) struct PrefixSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl PrefixSet {
    pub(super) fn new(prefixes: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in IpNet::aggregate(&prefixes.to_vec()) {
            match net {
                IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4, v6 }
    }

    /// The networks of seven providers of rented machines; no VPN and no relay of a browser is in them. Not one that a
    /// reader may not come from: it adds to other evidence.
    pub(super) fn clouds() -> Arc<Self> {
        static CLOUDS: LazyLock<Arc<PrefixSet>> = LazyLock::new(|| {
            let lines = include_str!("../../assets/ranges/clouds.txt").lines();
            // A unit test refuses a line that does not parse.
            let prefixes: Vec<IpNet> = lines.filter_map(|line| line.parse().ok()).collect();
            Arc::new(PrefixSet::new(&prefixes))
        });
        Arc::clone(&CLOUDS)
    }

    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => inside(&self.v4, u32::from(ip)),
            IpAddr::V6(ip) => inside(&self.v6, u128::from(ip)),
        }
    }
}

#[cfg(feature = "proxy")]
impl PrefixSet {
    /// Is any address of this network in it?
    pub(super) fn meets(&self, net: IpNet) -> bool {
        match net {
            IpNet::V4(net) => meets(&self.v4, net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => meets(&self.v6, net.network().into(), net.broadcast().into()),
        }
    }

    /// Are all addresses of this network in it?
    pub(super) fn covers(&self, net: IpNet) -> bool {
        match net {
            IpNet::V4(net) => covers(&self.v4, net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => covers(&self.v6, net.network().into(), net.broadcast().into()),
        }
    }
}

/// Does a range end behind the first address that does not begin behind the last?
#[cfg(feature = "proxy")]
fn meets<T: Ord + Copy>(ranges: &[(T, T)], first: T, last: T) -> bool {
    let at = ranges.partition_point(|(_, end)| *end < first);
    ranges.get(at).is_some_and(|(start, _)| *start <= last)
}

fn inside<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    covers(ranges, address, address)
}

fn covers<T: Ord + Copy>(ranges: &[(T, T)], from: T, to: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= from);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| to <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_a_network_are_in_it() {
        let nets = ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let set = PrefixSet::new(&nets);
        for (ip, is) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("192.0.1.255", false),
            ("::ffff:192.0.2.7", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(set.holds(ip.parse().unwrap()), is, "{ip}");
        }
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn networks_are_in_it_in_part_or_whole() {
        let nets = ["192.0.2.64/27", "198.51.100.0/24", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
        let set = PrefixSet::new(&nets);
        for (net, meets, covers) in [
            ("192.0.2.0/24", true, false),
            ("192.0.2.64/28", true, true),
            ("192.0.2.0/26", false, false),
            ("192.0.2.128/25", false, false),
            ("198.51.100.0/24", true, true),
            ("198.48.0.0/12", true, false),
            ("2001:db8::/32", true, false),
            ("2001:db8:1:2::/64", true, true),
            ("::/0", true, false),
        ] {
            let parsed = net.parse().unwrap();
            assert_eq!((set.meets(parsed), set.covers(parsed)), (meets, covers), "{net}");
        }
    }

    #[test]
    fn the_clouds_are_read_whole() {
        let lines: Vec<&str> = include_str!("../../assets/ranges/clouds.txt").lines().collect();
        assert!(lines.len() > 5_000 && lines.iter().all(|line| line.parse::<IpNet>().is_ok()));
        // One address each of Amazon and of a home.
        assert!(PrefixSet::clouds().holds("3.5.140.1".parse().unwrap()));
        assert!(!PrefixSet::clouds().holds("203.0.113.9".parse().unwrap()));
    }
}
