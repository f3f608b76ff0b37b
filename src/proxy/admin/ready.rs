//! Whether the site behind can be reached, for `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;

/// Between two tries.
const EVERY: Duration = Duration::from_secs(5);
/// For one try.
const LIMIT: Duration = Duration::from_secs(3);

/// Keeps `ready` up to date. `upstream` is asked each time, because a reload may change it; `None`: the demo site, which is
/// always there.
pub(super) async fn watch(upstream: impl Fn() -> Option<String> + Send + Sync, ready: Arc<AtomicBool>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let reached = match upstream() {
            Some(address) => is_reached(&address).await,
            None => true,
        };
        if ready.swap(reached, Ordering::Relaxed) != reached {
            tracing::info!(target: "deckle", reached, "Whether the site can be reached has changed.");
        }
    }
}

/// Does anything accept connections there? No request is made: the site shall not find them in its log.
async fn is_reached(upstream: &str) -> bool {
    let Some((host, port)) = place(upstream) else { return false };
    matches!(tokio::time::timeout(LIMIT, TcpStream::connect((host.as_str(), port))).await, Ok(Ok(_)))
}

fn place(upstream: &str) -> Option<(String, u16)> {
    let uri: Uri = upstream.parse().ok()?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), uri.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_place() {
        let of = |text: &str| place(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(of("http://site.example").as_deref(), Some("site.example 80"));
        assert_eq!(of("https://site.example/base").as_deref(), Some("site.example 443"));
        assert_eq!(of("http://[::1]:9000").as_deref(), Some("::1 9000"));
        assert_eq!(of("/nowhere"), None);
    }

    #[tokio::test]
    async fn a_site_that_is_down_is_not_ready() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        assert!(is_reached(&address).await);
        drop(listener);
        assert!(!is_reached(&address).await);
    }
}
