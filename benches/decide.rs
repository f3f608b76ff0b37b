//! What deciding about a request and writing it down cost on its path, in time and allocations, beside one keyed check of
//! governor. Prints one line of JSON, times in nanoseconds; `scripts/bench --goal G6` runs it.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // Benches are the place that measures real time.

mod requests;

use std::convert::Infallible;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deckle::audit::{AuditLayer, FileSink};
use governor::{Quota, RateLimiter};
use http::{Request, Response};
use http_body_util::Full;
use requests::{median, request, serve_all};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt};

const ROUNDS: usize = 15;
const REQUESTS: u32 = 5_000;
/// Addresses that governor knows.
const KEYS: u32 = 100_000;
/// Odd, and no factor in common with `KEYS`: every key once, in an order that no cache foresees.
const STRIDE: u32 = 61_803;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = std::env::temp_dir().join(format!("deckle-decide-{}", std::process::id()));
    let settings = deckle::audit::Settings { dir: dir.display().to_string(), ..Default::default() };
    let sink = Arc::new(FileSink::open(&settings).unwrap());
    let bare = tower::service_fn(|request: Request<()>| async move {
        black_box(&request);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let (identify, assess, enforce) = requests::layers();
    let decided = enforce.layer(bare);
    let logged = AuditLayer::new(Arc::clone(&sink)).layer(decided.clone());
    let (decided, logged) = (identify.layer(assess.layer(decided)), identify.layer(assess.layer(logged)));
    let limiter = RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000_000).unwrap()));
    let check = || (0..KEYS).for_each(|i| _ = black_box(limiter.check_key(&address(i))));
    check();
    let mut times: [Vec<Duration>; 4] = Default::default();
    let mut singles: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        check();
        times[0].push(start.elapsed() / KEYS);
        times[1].push(runtime.block_on(serve_all(bare, REQUESTS, &mut singles[0])) / REQUESTS);
        times[2].push(runtime.block_on(serve_all(decided.clone(), REQUESTS, &mut singles[1])) / REQUESTS);
        times[3].push(runtime.block_on(serve_all(logged.clone(), REQUESTS, &mut singles[2])) / REQUESTS);
    }
    let allocations =
        [allocations(&runtime, bare), allocations(&runtime, decided.clone()), allocations(&runtime, logged.clone())];
    let [governor, bare, decided, logged] = times.map(|mut times| nanoseconds(median(&mut times)));
    let [bare_p50, decided_p50, logged_p50] = singles.map(|mut singles| nanoseconds(median(&mut singles)));
    let figures = serde_json::json!({
        "governor_ns": governor,
        "decide_ns": decided - bare, "decide_p50_ns": decided_p50 - bare_p50, "decide_allocations": allocations[1] - allocations[0],
        "audit_ns": logged - decided, "audit_p50_ns": logged_p50 - decided_p50, "audit_allocations": allocations[2] - allocations[1],
    });
    println!("{figures}");
    sink.close();
    std::fs::remove_dir_all(dir).unwrap();
}

/// The same addresses each time, one after another far apart.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0A00_0000 + (u64::from(number) * u64::from(STRIDE) % u64::from(KEYS)) as u32).into()
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// Allocations of one request, once everything has its size.
fn allocations<S, B>(runtime: &Runtime, mut service: S) -> f64
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut all = 0;
    for number in 0..REQUESTS {
        let request = request(number);
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async { drop(service.ready().await.unwrap().call(request).await.unwrap()) });
        });
        all += counted.count_total;
    }
    all as f64 / f64::from(REQUESTS)
}
