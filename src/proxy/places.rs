//! How many clients may be connected.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::ProxySettings;

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A listener that takes no more connections than there are places. Who comes beyond waits in the queue of the system.
pub(super) struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
    most: usize,
    /// It was told that they are all taken.
    told: bool,
}

impl Entrance {
    pub(super) fn new(listener: TcpListener, settings: &ProxySettings) -> Self {
        let most = most(settings).min(Semaphore::MAX_PERMITS);
        Self { listener, places: Arc::new(Semaphore::new(most)), most, told: false }
    }

    /// The next connection, once there is a place for it. May be dropped at any moment.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr, Place)> {
        if self.places.available_permits() == 0 && !self.told {
            self.told = true;
            tracing::warn!(target: "deckle", connections = self.most, "As many connections as may be are open; more have to wait.");
        }
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        self.told &= self.places.available_permits() < (self.most / 10).max(1);
        let (stream, address) = self.listener.accept().await?;
        Ok((stream, address, Place { _permit: permit }))
    }
}

/// `proxy.max_connections`, or half of the files that may be open: each client may need a connection to the site.
fn most(settings: &ProxySettings) -> usize {
    let wanted = settings.max_connections.get() as usize;
    let files = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let room = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        tracing::warn!(target: "deckle", files, connections = room, "For `proxy.max_connections` more files would have to be open than may be.");
    }
    wanted.min(room)
}
