//! What a process needs before it serves: the secret, and room for connections.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use tokio::net::TcpListener;

use super::ProxyError;
use crate::audit;
use crate::config::{Config, ProxySettings};
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
    // Where none is free, the one that is refused says what to do.
    let secrets = Secrets::random_with(audit::free_key_id(dir).unwrap_or(0))?;
    let draft = dir.join(format!("secret-{}", secrets.active().fingerprint()));
    let written =
        std::fs::create_dir_all(dir).and_then(|()| audit::write_private(&draft, secrets.to_line().as_bytes()));
    let is_first = written.and_then(|()| publish(&draft, &path));
    if !is_first.map_err(|source| ProxyError::File { path: path.display().to_string(), source })? {
        return Ok(Secrets::from_file(path)?);
    }
    tracing::info!(target: "deckle", path = %path.display(), "A secret was made; keep it, or older copies cannot be traced.");
    Ok(secrets)
}

/// Gives a file its name, unless another process that started at the same moment was first: nobody may go on with a secret
/// that is not in the file.
fn publish(draft: &Path, path: &Path) -> std::io::Result<bool> {
    let is_first = match std::fs::hard_link(draft, path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        // Not every file system has links.
        Err(_) => return std::fs::rename(draft, path).map(|()| true),
    };
    std::fs::remove_file(draft).map(|()| is_first)
}

/// Every connection is an open file; the soft limit of most systems is too low for a server.
pub(super) fn raise_open_files() {
    const WANTED: u64 = 65_536;
    if let Err(error) = rlimit::increase_nofile_limit(WANTED) {
        tracing::debug!(target: "deckle", %error, "The limit of open files could not be raised.");
    }
}

/// Says what it means that any name is answered to clients from elsewhere.
pub(super) fn tell_open_hosts(settings: &ProxySettings, listener: &TcpListener) {
    if let Some(address) = listener.local_addr().ok().filter(|address| answers_any_name(settings, address.ip())) {
        tracing::warn!(
            target: "deckle",
            %address,
            "`proxy.hosts` is empty: requests for any name go to the site, and names that clients make up take places where \
             something is remembered by host. With the names of the site there, all others get 421."
        );
    }
}

fn answers_any_name(settings: &ProxySettings, listens: IpAddr) -> bool {
    settings.hosts.is_empty() && !listens.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_to_others_is_told_that_any_name_is_answered() {
        let named = ProxySettings { hosts: vec!["news.example".to_owned()], ..ProxySettings::default() };
        let open = ProxySettings::default();
        for (address, expect) in
            [("0.0.0.0", true), ("::", true), ("192.0.2.1", true), ("127.0.0.1", false), ("::1", false)]
        {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(
                [&open, &named].map(|settings| answers_any_name(settings, address)),
                [expect, false],
                "{address}"
            );
        }
    }

    #[test]
    fn of_two_that_make_a_file_at_once_the_first_one_counts() {
        let dir = std::env::temp_dir().join(format!("deckle-publish-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("secret");
        for (name, is_first) in [("one", true), ("two", false)] {
            let draft = dir.join(name);
            std::fs::write(&draft, name).unwrap();
            assert_eq!(publish(&draft, &path).unwrap(), is_first, "{name}");
            assert!(!draft.exists());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
