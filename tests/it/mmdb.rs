//! Writes small databases in the form of MaxMind DB, version 2 (<https://maxmind.github.io/MaxMind-DB/>): a search tree, the
//! entries of its networks, and what is said of both.

use ipnet::IpNet;

/// A value of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Text(&'static str),
    Number(u32),
}

/// Where a bit of an address leads.
#[derive(Clone, Copy)]
enum Branch {
    Nowhere,
    Node(usize),
    Entry(usize),
}

/// Bytes between the tree and the entries.
const SEPARATOR: usize = 16;

// Types of values; those from 8 on have a byte of their own.
const TEXT: u8 = 2;
const NUMBER_16: u8 = 5;
const NUMBER_32: u8 = 6;
const MAP: u8 = 7;
const NUMBER_64: u8 = 9;
const LIST: u8 = 11;

/// A database of these networks, none of which lies in another one.
pub(crate) fn database(networks: &[(IpNet, &[(&str, Value)])]) -> Vec<u8> {
    let (mut nodes, mut entries) = (vec![[Branch::Nowhere; 2]], Vec::new());
    for (net, entry) in networks {
        let at = entries.len();
        head(&mut entries, MAP, entry.len());
        for (key, value) in *entry {
            text(&mut entries, key);
            match value {
                Value::Text(value) => text(&mut entries, value),
                Value::Number(value) => number(&mut entries, NUMBER_32, &value.to_be_bytes()),
            }
        }
        grow(&mut nodes, *net, at);
    }
    let count = nodes.len();
    let mut out = Vec::new();
    for branch in nodes.into_iter().flatten() {
        let record = match branch {
            Branch::Nowhere => count,
            Branch::Node(node) => node,
            Branch::Entry(at) => count + SEPARATOR + at,
        };
        // Records of 24 bits.
        out.extend_from_slice(&(record as u32).to_be_bytes()[1..]);
    }
    out.resize(out.len() + SEPARATOR, 0);
    out.append(&mut entries);
    out.extend_from_slice(b"\xAB\xCD\xEFMaxMind.com");
    describe(&mut out, count as u32);
    out
}

/// The way to an entry. IPv4 stands below 96 bits of zero.
fn grow(nodes: &mut Vec<[Branch; 2]>, net: IpNet, entry: usize) {
    let (bits, length) = match net {
        IpNet::V4(net) => (u128::from(u32::from(net.network())), 96 + net.prefix_len()),
        IpNet::V6(net) => (u128::from(net.network()), net.prefix_len()),
    };
    let mut node = 0;
    for depth in 0..length {
        let bit = usize::from((bits >> (127 - depth)) & 1 == 1);
        let next = match nodes[node][bit] {
            Branch::Node(next) => next,
            _ => nodes.len(),
        };
        if depth + 1 == length {
            nodes[node][bit] = Branch::Entry(entry);
        } else if next == nodes.len() {
            nodes.push([Branch::Nowhere; 2]);
            nodes[node][bit] = Branch::Node(next);
        }
        node = next;
    }
}

fn describe(out: &mut Vec<u8>, nodes: u32) {
    head(out, MAP, 9);
    for (key, value) in [
        ("binary_format_major_version", 2u16),
        ("binary_format_minor_version", 0),
        ("ip_version", 6),
        ("record_size", 24),
    ] {
        text(out, key);
        number(out, NUMBER_16, &value.to_be_bytes());
    }
    text(out, "node_count");
    number(out, NUMBER_32, &nodes.to_be_bytes());
    text(out, "build_epoch");
    number(out, NUMBER_64, &1_795_000_000u64.to_be_bytes());
    text(out, "database_type");
    text(out, "Example-ASN");
    text(out, "languages");
    head(out, LIST, 0);
    text(out, "description");
    head(out, MAP, 1);
    text(out, "en");
    text(out, "An example");
}

/// Type and size of a value; a size of 29 and more goes on in a byte of its own.
fn head(out: &mut Vec<u8>, kind: u8, size: usize) {
    let short = size.min(29) as u8;
    match kind {
        8.. => out.extend_from_slice(&[short, kind - 7]),
        _ => out.push(kind << 5 | short),
    }
    if size >= 29 {
        out.push((size - 29) as u8);
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len());
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    head(out, kind, value.len());
    out.extend_from_slice(value);
}
