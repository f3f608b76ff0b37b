//! Starts and ends the admin listener, beside the public one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::access::{Access, read_token};
use super::{Admin, Sources, ready, serve};
use crate::config::ProxySettings;
use crate::proxy::ProxyError;

/// The value of `proxy.admin` for none.
const OFF: &str = "off";

/// An admin listener that is bound.
pub(crate) struct AdminListener {
    listener: TcpListener,
    address: SocketAddr,
    admin: Arc<Admin>,
    ready: Arc<AtomicBool>,
}

/// One that serves.
pub(crate) struct RunningAdmin {
    ready: Arc<AtomicBool>,
    watching: JoinHandle<()>,
    serving: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl AdminListener {
    /// `None`: it is off.
    ///
    /// # Errors
    /// [`ProxyError`] for an address that cannot be had, and for a token that cannot be read or is missing.
    pub(crate) async fn bind(settings: &ProxySettings, sources: Sources) -> Result<Option<Self>, ProxyError> {
        if settings.admin == OFF {
            return Ok(None);
        }
        let token = read_token(settings.admin_token_file.as_deref())?;
        let refuse = |source| ProxyError::Listen { address: settings.admin.clone(), source };
        let listener = match TcpListener::bind(&settings.admin).await {
            Ok(listener) => listener,
            // Nobody has asked for it.
            Err(error) if settings.admin == ProxySettings::default().admin => {
                tracing::warn!(target: "deckle", %error, "There is no dashboard: its address cannot be had.");
                return Ok(None);
            }
            Err(error) => return Err(refuse(error)),
        };
        let address = listener.local_addr().map_err(refuse)?;
        let access = Access::new(&settings.admin, address, token)?;
        let ready = Arc::clone(&sources.ready);
        Ok(Some(Self { listener, address, admin: Arc::new(Admin::new(access, sources)), ready }))
    }

    /// The address that is listened on.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `upstream` tells the address of the site, which a reload may change; `None`: the demo site.
    pub(crate) fn start(self, upstream: impl Fn() -> Option<String> + Send + Sync + 'static) -> RunningAdmin {
        let (end, ended) = oneshot::channel();
        let watching = tokio::spawn(ready::watch(upstream, Arc::clone(&self.ready)));
        let ended = async {
            let _ = ended.await;
        };
        let serving = tokio::spawn(serve(self.listener, self.admin, ended));
        RunningAdmin { ready: self.ready, watching, serving, end }
    }
}

impl RunningAdmin {
    /// New requests are no longer wanted: `/readyz` says so, while running responses end.
    pub(crate) async fn stopping(&mut self) {
        self.watching.abort();
        // It could still set what is set here.
        let _ = (&mut self.watching).await;
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Cuts whoever is still connected.
    pub(crate) async fn end(self) {
        self.watching.abort();
        drop(self.end);
        let _ = self.serving.await;
    }
}
