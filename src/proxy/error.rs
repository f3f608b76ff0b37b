//! What is wrong when the proxy does not start.

use crate::audit::SinkError;
use crate::config::LoadError;
use crate::layer::BuildError;
use crate::secret::SecretError;

/// Why the proxy could not start, or could not take a new configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Not an http or https address.
    #[error("`proxy.upstream`: `{value}` is not an http:// or https:// address")]
    Upstream {
        /// The value.
        value: String,
    },
    /// Certificate, key or trust store.
    #[error("TLS: {message}")]
    Tls {
        /// What is wrong.
        message: String,
    },
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] super::AdminError),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A stage.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The log.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file in the log directory.
    #[error("cannot write `{path}`")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}
