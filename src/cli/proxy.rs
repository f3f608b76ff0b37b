//! `deckle proxy`.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::args::ProxyArgs;
use super::output::{self, Exit};
use crate::config::{Config, LoadError};
use crate::proxy::Proxy;

pub(super) fn run(args: &ProxyArgs) -> anyhow::Result<Exit> {
    output::start_logging();
    let config = load(args)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(args.clone(), config))
}

async fn serve(args: ProxyArgs, config: Config) -> anyhow::Result<Exit> {
    let scheme = if config.proxy.tls.cert.is_some() { "https" } else { "http" };
    let proxy = Proxy::bind(config).await?;
    let address = proxy.local_addr()?;
    // Signals are caught before anybody can know that we listen.
    let (stop, stopped) = oneshot::channel();
    let (reload, reloads) = mpsc::channel(1);
    watch_signals(stop, reload)?;
    output::print(&format!("deckle: listening on {scheme}://{address}\n"))?;
    let stopped = async {
        let _ = stopped.await;
    };
    if let Some(address) = proxy.admin_addr() {
        tracing::info!(target: "deckle", "The dashboard is at http://{address}/");
    }
    proxy.serve(stopped, reloads, Box::new(move || load(&args))).await;
    Ok(Exit::Done)
}

fn watch_signals(stop: oneshot::Sender<()>, reload: mpsc::Sender<()>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    let _ = reload.try_send(());
                }
            }
        }
        let _ = stop.send(());
    });
    Ok(())
}

/// File and environment, then the flags on top.
fn load(args: &ProxyArgs) -> Result<Config, LoadError> {
    let mut config = match &args.config {
        Some(path) => Config::from_path(path)?,
        None => Config::from_env()?,
    };
    if let Some(upstream) = &args.upstream {
        config.proxy.upstream = Some(upstream.clone());
    }
    if let Some(listen) = &args.listen {
        config.proxy.listen.clone_from(listen);
    }
    if let Some(dir) = &args.log_dir {
        config.audit.dir.clone_from(dir);
    }
    if let Some(mode) = args.mode {
        config.mode = mode;
    }
    Ok(config)
}
