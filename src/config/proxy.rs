use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::unit::{Size, Span};

/// Section `[proxy]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxySettings {
    /// `http://` or `https://` address of the site; unset: the embedded demo site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Where to listen; port 0 takes any free one.
    pub listen: String,
    /// Where the dashboard, metrics and probes are; `off`: nowhere. Other than loopback needs a token. Port 0 takes any.
    pub admin: String,
    /// File of the token, mode 0600; `DECKLE_ADMIN_TOKEN` in the environment holds it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<String>,
    /// Certificate and key for TLS.
    pub tls: TlsSettings,
    /// Names that are served; others get 421. Empty: any, and where that is not only loopback the log says so at the start.
    pub hosts: Vec<String>,
    /// Which name the upstream is asked by.
    pub host: HostMode,
    /// Which coding it is asked for, of pages that came in one before.
    pub upstream_coding: UpstreamCoding,
    /// Most connections of clients at the same time.
    pub max_connections: NonZeroU32,
    /// Most of one address (IPv4 /32, IPv6 /64) that is no trusted proxy; unset: a sixteenth of all, and 64 at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<NonZeroU32>,
    /// Most requests that are with the upstream at the same time, each on a connection; tunnels are such, too. A client on a public
    /// address has a sixteenth of them at most, or 256.
    pub max_upstream_connections: NonZeroU32,
    /// Longest request body; unset: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_body: Option<Size>,
    /// Longest request head.
    pub max_header_bytes: Size,
    /// Most header fields.
    pub max_headers: usize,
    /// Longest request target.
    pub max_uri: Size,
    /// How long is waited.
    pub timeouts: TimeoutSettings,
    /// Idle connections to the upstream are closed after this; below its keep-alive.
    pub pool_idle: Span,
    /// How long running responses may go on after a stop is asked for.
    pub drain: Span,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            upstream: None,
            listen: "127.0.0.1:8080".to_owned(),
            admin: "127.0.0.1:0".to_owned(),
            admin_token_file: None,
            tls: TlsSettings::default(),
            hosts: Vec::new(),
            host: HostMode::Preserve,
            upstream_coding: UpstreamCoding::Auto,
            max_connections: NonZeroU32::MIN.saturating_add(9_999),
            max_connections_per_address: None,
            max_upstream_connections: NonZeroU32::MIN.saturating_add(9_999),
            max_request_body: None,
            max_header_bytes: Size(64 << 10),
            max_headers: 100,
            max_uri: Size(16 << 10),
            timeouts: TimeoutSettings::default(),
            pool_idle: Span::seconds(4),
            drain: Span::seconds(30),
        }
    }
}

/// Which `Host` the upstream sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostMode {
    /// The client's.
    Preserve,
    /// The upstream's own.
    Upstream,
}

/// Which coding the upstream is asked for, of pages that came in one before. They leave in that one, whichever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamCoding {
    /// `identity` where its address is loopback or private, else `client`.
    Auto,
    /// None: it need not compress what is taken apart here and compressed again.
    Identity,
    /// Those that the client accepts.
    Client,
}

/// Section `[proxy.tls]`: both files or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// PEM file of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Section `[proxy.timeouts]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// For a request head to arrive: the first one of a connection from its start, others from their first byte.
    pub header_read: Span,
    /// For a client to take something of what is written, on its connection or in one stream of HTTP/2.
    pub write: Span,
    /// Without a request on a connection that is kept open; over HTTP/1.1 the next head must be whole by then.
    pub keep_alive: Span,
    /// For a connection to the upstream, and before that for one to be free (`max_upstream_connections`).
    pub connect: Span,
    /// For the head of its answer.
    pub first_byte: Span,
    /// Between two pieces of its answer; event streams may pause for `upgrade_idle`.
    pub response_idle: Span,
    /// Without any byte on a tunnelled connection.
    pub upgrade_idle: Span,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            header_read: Span::seconds(10),
            write: Span::seconds(60),
            keep_alive: Span::seconds(75),
            connect: Span::seconds(5),
            first_byte: Span::seconds(60),
            response_idle: Span::seconds(60),
            upgrade_idle: Span::seconds(600),
        }
    }
}
