//! One document of an operator's, over https and from the open net only.
//!
//! Addresses stand in the configuration or ship with deckle, never in a request. Even so a name may lead to a machine of
//! one's own: the connection goes to the address that was looked at.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower_service::Service;

use crate::unit::with_causes;
use crate::visitor::is_public;

/// For connection, head and body together.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who asks.
pub(in crate::proxy) type Fetcher = Client<HttpsConnector<HttpConnector<OpenNet>>, Empty<Bytes>>;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Wanted {
    /// Its media type; others are refused. `None`: any.
    pub(in crate::proxy) media_type: Option<&'static str>,
    /// Most bytes.
    pub(in crate::proxy) most: usize,
}

/// What came.
#[derive(Debug)]
pub(in crate::proxy) struct Document {
    pub(in crate::proxy) body: Bytes,
    /// How long it says that it is good.
    #[cfg(feature = "web-bot-auth")]
    pub(in crate::proxy) max_age: Option<Duration>,
}

/// # Errors
/// Why TLS cannot be set up.
pub(in crate::proxy) fn fetcher() -> Result<Fetcher, rustls::Error> {
    let mut http = HttpConnector::new_with_resolver(OpenNet);
    http.enforce_http(false);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    // Hours lie between two questions.
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https))
}

/// Fetches one document. Redirects are not followed: what is elsewhere is somebody else's.
///
/// # Errors
/// What went wrong.
pub(in crate::proxy) async fn fetch<C>(
    client: &Client<C, Empty<Bytes>>,
    address: &str,
    wanted: Wanted,
) -> Result<Document, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let address: Uri = address.parse().map_err(|_| "not an address".to_owned())?;
    let late = |_| format!("nothing whole within {PATIENCE:?}");
    tokio::time::timeout(PATIENCE, document(client, address, wanted)).await.map_err(late)?
}

async fn document<C>(client: &Client<C, Empty<Bytes>>, address: Uri, wanted: Wanted) -> Result<Document, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let request = Request::get(address)
        .header(header::USER_AGENT, concat!("deckle/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, wanted.media_type.unwrap_or("application/json"))
        .header(header::ACCEPT_ENCODING, "identity")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let (head, body) = client.request(request).await.map_err(|error| with_causes(&error))?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()));
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err("a coding that was not asked for".to_owned());
    }
    if wanted.media_type.is_some_and(|wanted| media_type(&head.headers) != wanted) {
        return Err(format!("media type `{}`", media_type(&head.headers)));
    }
    let body = Limited::new(body, wanted.most).collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Document {
        body,
        #[cfg(feature = "web-bot-auth")]
        max_age: max_age(&head.headers),
    })
}

/// Without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(feature = "web-bot-auth")]
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Resolves names to addresses of the open net.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct OpenNet;

impl Service<Name> for OpenNet {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let open: Vec<SocketAddr> = all.filter(|address| is_open(address.ip())).collect();
            if open.is_empty() {
                return Err(io::Error::other(format!("`{}` has no address of the open net", name.as_str())));
            }
            Ok(open.into_iter())
        })
    }
}

/// May it be connected to? Stricter than [`is_public`]: none of the networks for special purposes (RFC 6890), and no tunnel
/// to one of them.
fn is_open(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let special = match ip {
        IpAddr::V4(ip) => is_special(ip),
        IpAddr::V6(ip) => match ip.segments() {
            // 6to4 carries an address of IPv4 (RFC 3056 §2).
            [0x2002, high, low, ..] => {
                let [[a, b], [c, d]] = [high, low].map(u16::to_be_bytes);
                let inside = Ipv4Addr::new(a, b, c, d);
                is_special(inside) || !is_public(IpAddr::V4(inside))
            }
            // Teredo (RFC 4380), documentation (RFC 3849), site-local (RFC 3879).
            [0x2001, 0 | 0xdb8, ..] => true,
            [first, ..] => first & 0xffc0 == 0xfec0,
        },
    };
    is_public(ip) && !special
}

fn is_special(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_broadcast() || ip.is_documentation() || a >= 240 || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18)
}

#[cfg(feature = "web-bot-auth")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Response, StatusCode};
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;

    const KEYS: Wanted = Wanted { media_type: Some("application/x-keys+json"), most: 100 };

    /// Serves what the path says, and counts the requests.
    async fn server() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    seen.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, std::convert::Infallible>(answer(request.uri().path())) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (base, count)
    }

    fn answer(path: &str) -> Response<Full<Bytes>> {
        let answer = Response::builder().header("content-type", "Application/X-Keys+JSON; charset=utf-8");
        let answer = match path {
            "/moved" => answer.status(StatusCode::FOUND).header("location", "/good"),
            "/gone" => answer.status(StatusCode::NOT_FOUND),
            "/coded" => answer.header("content-encoding", "gzip"),
            "/aged" => answer.header("cache-control", "public, max-age=600"),
            "/html" => Response::builder().header("content-type", "text/html"),
            _ => answer,
        };
        let length = if path == "/long" { 101 } else { 100 };
        answer.body(Full::new(Bytes::from(vec![b'x'; length]))).unwrap()
    }

    #[tokio::test]
    async fn only_what_was_asked_for_is_taken() {
        let (base, count) = server().await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let get = async |path: &str| fetch(&client, &format!("{base}{path}"), KEYS).await;
        let good = get("/good").await.unwrap();
        assert_eq!((good.body.len(), good.max_age), (100, None));
        assert_eq!(get("/aged").await.unwrap().max_age, Some(Duration::from_secs(600)));
        for (path, says) in [
            ("/moved", "status 302"),
            ("/gone", "status 404"),
            ("/coded", "coding"),
            ("/html", "text/html"),
            ("/long", "length limit exceeded"),
        ] {
            assert!(get(path).await.unwrap_err().contains(says), "{path}");
        }
        assert_eq!(count.load(Ordering::SeqCst), 7, "the redirect was not followed");
        let any = fetch(&client, &format!("{base}/html"), Wanted { media_type: None, ..KEYS }).await;
        assert!(any.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_left() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let client = Client::builder(TokioExecutor::new()).build_http();
        assert!(fetch(&client, &address, KEYS).await.unwrap_err().contains("3s"));
    }

    #[tokio::test]
    async fn nothing_is_fetched_in_the_clear_or_from_ones_own_machines() {
        let (base, count) = server().await;
        let port = base.rsplit(':').next().unwrap();
        let client = fetcher().unwrap();
        let refused = fetch(&client, &format!("https://localhost:{port}/good"), KEYS).await.unwrap_err();
        assert!(refused.contains("no address of the open net"), "{refused}");
        assert!(fetch(&client, &format!("{base}/good"), KEYS).await.is_err());
        assert!(fetch(&client, "good", KEYS).await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn addresses_for_special_purposes_are_not_connected_to() {
        for (ip, open) in [
            ("8.8.8.8", true),
            ("198.17.0.1", true),
            ("2606:4700::1", true),
            ("2002:808:808::1", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("169.254.169.254", false),
            ("192.0.0.1", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::1", false),
            ("2002:a00:1::1", false),
        ] {
            assert_eq!(is_open(ip.parse().unwrap()), open, "{ip}");
        }
    }
}
