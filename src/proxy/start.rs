//! What a process needs before it serves: the secret, and room for connections.

use std::path::Path;

use super::ProxyError;
use crate::audit;
use crate::config::Config;
use crate::secret::Secrets;

/// `DECKLE_SECRET`, `DECKLE_SECRET_FILE`, `secret_file`, or one that is made in the log directory.
pub(super) fn secret(config: &Config, dir: &Path) -> Result<Secrets, ProxyError> {
    if let Ok(value) = std::env::var("DECKLE_SECRET") {
        return Ok(Secrets::parse(&value)?);
    }
    if let Ok(file) = std::env::var("DECKLE_SECRET_FILE") {
        return Ok(Secrets::from_file(file)?);
    }
    if let Some(file) = &config.secret_file {
        return Ok(Secrets::from_file(file)?);
    }
    let path = dir.join("secret");
    if path.exists() {
        return Ok(Secrets::from_file(path)?);
    }
    let secrets = Secrets::random()?;
    let written = std::fs::create_dir_all(dir).and_then(|()| audit::write_private(&path, secrets.to_line().as_bytes()));
    written.map_err(|source| ProxyError::File { path: path.display().to_string(), source })?;
    tracing::info!(target: "deckle", path = %path.display(), "A secret was made; keep it, or older copies cannot be traced.");
    Ok(secrets)
}

/// Every connection is an open file; the soft limit of most systems is too low for a server.
pub(super) fn raise_open_files() {
    const WANTED: u64 = 65_536;
    if let Err(error) = rlimit::increase_nofile_limit(WANTED) {
        tracing::debug!(target: "deckle", %error, "The limit of open files could not be raised.");
    }
}
