//! Drives the public surface: layers by `oneshot`, the program over real sockets with real clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::manual_assert)]

mod admin;
mod architecture;
mod attacks;
mod audit;
mod cards;
mod challenge;
#[cfg(feature = "clickhouse")]
mod clickhouse;
mod clients;
mod connections;
mod corpus;
mod decoys;
mod difference;
mod dom;
mod exchanges;
mod explain;
mod fields;
#[cfg(unix)]
mod follow;
mod hops;
mod html5lib;
mod images;
mod injection;
mod integrity;
mod layers;
mod leaks;
mod memory;
#[cfg(feature = "asn")]
mod mmdb;
mod neighbours;
mod pages;
mod program;
mod proxy;
mod refusals;
mod review;
mod robots;
mod shared;
#[cfg(feature = "web-bot-auth")]
mod signatures;
mod simulate;
mod sinks;
mod streaming;
mod styles;
mod support;
mod survive;
#[cfg(feature = "asn")]
mod systems;
mod trace;
mod traps;
mod undo;
mod versions;
mod waits;
mod ways;
mod wire;
