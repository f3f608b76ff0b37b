//! What a page costs that was seen before: CPU time against a bare axum proxy that passes the same page on, as a ratio.
//!
//! - the same proxy behind deckle's page stage: known page, guard, notice and a visitor's own marks;
//! - `deckle proxy` with everything on: identify, assess, page, audit to disk.
//!
//! All are processes of their own with one worker thread, in front of the same upstream; they take turns.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod client;
mod servers;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use client::Client;

const ROUNDS: usize = 7;
const REQUESTS: usize = 1_500;
const CLIENTS: usize = 8;
/// Until the site is learned, its plan is made and all buffers have their size.
const WARM_UP: usize = 400;

fn main() {
    let argument = |flag: &str| std::env::args().skip_while(|a| a != flag).nth(1);
    if let Some(upstream) = argument("--bare-proxy") {
        return servers::serve(servers::proxy(upstream));
    }
    if let Some(upstream) = argument("--page-stage") {
        return servers::serve(servers::protect(servers::proxy(upstream), Arc::default()));
    }
    if !Path::new("/proc/self/schedstat").exists() {
        println!("skipped: CPU time of other processes is read from /proc");
        return;
    }
    let page = page();
    println!(
        "\na known page of {} bytes through the proxy, CPU of the whole process, {REQUESTS} requests a round",
        page.len()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = upstream(&runtime, page);
    let dir = std::env::temp_dir().join(format!("deckle-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let own = |flag: &str| Server::start(Command::new(std::env::current_exe().unwrap()).arg(flag).arg(&upstream));
    let mut bare = own("--bare-proxy");
    let mut stage = own("--page-stage");
    let listen = ["proxy", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--log-dir"];
    let mut deckle = Server::start(Command::new(env!("CARGO_BIN_EXE_deckle")).args(listen).arg(&dir));
    for server in [&bare, &stage, &deckle] {
        server.serve(WARM_UP);
    }
    let mut ratios = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [without, page, all] = [&bare, &stage, &deckle].map(|server| server.serve(REQUESTS));
        ratios.0.push(page.as_secs_f64() / without.as_secs_f64());
        ratios.1.push(all.as_secs_f64() / without.as_secs_f64());
        println!("bare proxy {without:>9.1?} a request, with the page stage {page:>9.1?}, deckle proxy {all:>9.1?}");
    }
    for (name, mut ratios) in [("page stage (at most 1.4× wanted)", ratios.0), ("everything on", ratios.1)] {
        ratios.sort_by(f64::total_cmp);
        println!("known page, identity, {name}: {:.2}× a bare proxy (median)", ratios[ROUNDS / 2]);
    }
    for server in [&mut bare, &mut stage, &mut deckle] {
        server.0.kill().unwrap();
        server.0.wait().unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// The page in the middle by size.
fn page() -> Bytes {
    let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
    let files = std::fs::read_dir(format!("{dir}/pages")).into_iter().flatten().flatten();
    let html = files.filter(|e| e.path().extension().is_some_and(|x| x == "html"));
    let mut pages: Vec<Vec<u8>> = html.map(|e| std::fs::read(e.path()).unwrap()).collect();
    pages.sort_by_key(Vec::len);
    if pages.is_empty() {
        println!("no pages at {dir}: one made article is measured (set DECKLE_CORPUS)");
        let words = "<p>The committee said on Monday that it would not publish the full report.</p>\n".repeat(2_300);
        return format!(
            "<!doctype html><html><head><title>t</title></head><body><article>{words}</article></body></html>"
        )
        .into();
    }
    pages.swap_remove(pages.len() / 2).into()
}

fn upstream(runtime: &tokio::runtime::Runtime, page: Bytes) -> String {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(move || {
        let page = page.clone();
        async move { ([("content-type", "text/html; charset=utf-8")], page) }
    });
    runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

struct Server(Child, SocketAddr);

impl Server {
    /// Waits until it says where it listens.
    fn start(command: &mut Command) -> Self {
        let command = command.env("TOKIO_WORKER_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, SocketAddr::from(([127, 0, 0, 1], address.unwrap())))
    }

    /// CPU time of all its threads.
    fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap().flatten();
        let each = tasks.filter_map(|task| {
            let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(each.sum())
    }

    /// CPU time of one request.
    fn serve(&self, requests: usize) -> Duration {
        let before = self.cpu();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let stream = TcpStream::connect(self.1).unwrap();
                    let mut client = Client::new(stream, "/an-article", "identity");
                    (0..requests / CLIENTS).for_each(|_| _ = client.get());
                });
            }
        });
        self.cpu().saturating_sub(before) / (requests / CLIENTS * CLIENTS) as u32
    }
}
