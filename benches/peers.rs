//! The servers that `scripts/bench --goals` measures beside `deckle proxy`, and the clients that load them:
//!
//! ```text
//! peers site PAGE          the page from memory, as a bare axum application does it
//! peers governed PAGE      the same behind one keyed check of governor a request
//! peers proxy UPSTREAM     a bare proxy
//! peers page UPSTREAM      the same behind deckle's page stage
//! peers load ADDRESS PATH CODING SECONDS [EVERY]
//! ```
//!
//! A server says where it listens, and `page` tells at `/metrics` what its plans do, as `deckle proxy` does on a socket of its
//! own. `load` prints one line of JSON; with `EVERY` each client asks every so many microseconds, else as soon as it is answered.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // Benches are the place that measures real time.

mod client;
mod servers;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use client::Client;
use deckle::page::PlanCounters;
use flate2::Compression;
use flate2::write::GzEncoder;
use governor::{Quota, RateLimiter};
use socket2::{Domain, Socket, Type};

/// As many connections as the load of `docs/performance.md` has.
const CLIENTS: u8 = 32;
const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
const TAG: (&str, &str) = ("etag", "\"an-article-1\"");

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["site", page] => servers::serve(site(page)),
        ["governed", page] => servers::serve(governed(site(page))),
        ["proxy", upstream] => servers::serve(servers::proxy((*upstream).to_owned())),
        ["page", upstream] => servers::serve(page(servers::proxy((*upstream).to_owned()))),
        ["load", address, path, coding, seconds, every @ ..] => {
            let every = every.first().map_or(Duration::ZERO, |every| Duration::from_micros(every.parse().unwrap()));
            load(address.parse().unwrap(), path, coding, Duration::from_secs_f64(seconds.parse().unwrap()), every);
        }
        other => return Err(format!("{other:?}: see the head of benches/peers.rs")),
    }
    Ok(())
}

/// One page in five ways: as it is, at many addresses, coded, with a validator, and as if it were a picture.
fn site(page: &str) -> Router {
    let page = Bytes::from(std::fs::read(page).unwrap());
    let mut coded = GzEncoder::new(Vec::new(), Compression::new(6));
    coded.write_all(&page).unwrap();
    let coded = Bytes::from(coded.finish().unwrap());
    let (plain, many, validated, picture) = (page.clone(), page.clone(), page.clone(), page);
    Router::new()
        .route("/article", get(move || std::future::ready(([HTML], plain.clone()))))
        .route("/many/{number}", get(move || std::future::ready(([HTML], many.clone()))))
        .route("/coded/article", get(move || std::future::ready(([HTML, ("content-encoding", "gzip")], coded.clone()))))
        .route(
            "/validated/article",
            get(move |headers: HeaderMap| {
                let known = headers.get("if-none-match").is_some_and(|tag| tag == TAG.1);
                std::future::ready(if known {
                    (StatusCode::NOT_MODIFIED, [TAG]).into_response()
                } else {
                    ([HTML, TAG], validated.clone()).into_response()
                })
            }),
        )
        .route("/picture.jpg", get(move || std::future::ready(([("content-type", "image/jpeg")], picture.clone()))))
}

/// deckle's page stage around `app`, and beside it what its plans do.
fn page(app: Router) -> Router {
    let counters = Arc::<PlanCounters>::default();
    let tell = move |counters: &PlanCounters| {
        let counts = counters.counts();
        let packed = [("quick", counts.packed_quick), ("full", counts.packed_full)];
        let packed = packed.map(|(effort, count)| format!("deckle_plan_packed_total{{effort=\"{effort}\"}} {count}\n"));
        format!("{}deckle_packed_answers_total {}\n", packed.concat(), counts.packed_answers)
    };
    let app = servers::protect(app, Arc::clone(&counters));
    app.route("/metrics", get(move || std::future::ready(tell(&counters))))
}

/// What a layer of governor does: one check a request, by the address. Nobody is refused.
fn governed(site: Router) -> Router {
    let limiter = Arc::new(RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000_000).unwrap())));
    site.layer(from_fn(move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next| {
        let limiter = Arc::clone(&limiter);
        async move {
            if limiter.check_key(&peer.ip()).is_err() {
                return StatusCode::TOO_MANY_REQUESTS.into_response();
            }
            next.run(request).await
        }
    }))
}

/// Clients that ask every so often, or as fast as they are answered; each from a network of its own, that is as another reader.
fn load(server: SocketAddr, path: &str, coding: &str, time: Duration, every: Duration) {
    let start = Instant::now();
    let ask = |number: u8| {
        let mut client = Client::new(connect(Ipv4Addr::new(127, 0, number, 1), server), path, coding);
        let mut answers = Vec::new();
        // They take turns.
        let mut due = every * u32::from(number) / u32::from(CLIENTS);
        while start.elapsed() < time {
            let now = start.elapsed();
            std::thread::sleep(due.saturating_sub(now));
            let (took, bytes) = client.get();
            // Who was answered too late to ask in time has waited since then.
            let late = if every.is_zero() { every } else { now.saturating_sub(due) };
            answers.push((took + late, bytes));
            due += every;
        }
        answers
    };
    let answers: Vec<(Duration, u64)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS).map(|number| scope.spawn(move || ask(number))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut times: Vec<u128> = answers.iter().map(|(time, _)| time.as_micros()).collect();
    times.sort_unstable();
    let bytes: u64 = answers.iter().map(|(_, bytes)| bytes).sum();
    let figures = serde_json::json!({
        "requests": times.len(), "seconds": seconds, "bytes": bytes,
        "p50_us": times[times.len() / 2] as u64, "p99_us": times[times.len() * 99 / 100] as u64,
    });
    println!("{figures}");
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}
