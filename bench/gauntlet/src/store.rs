//! A Redis of the rig's own, on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    child: Child,
    port: u16,
    // Its last words would kill it if nobody could read them.
    _log: BufReader<ChildStdout>,
}

impl Store {
    pub(crate) fn can_be_had() -> bool {
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok()
    }

    pub(crate) fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("redis-server")?;
        let mut log = BufReader::new(child.stdout.take().context("redis-server says nothing")?);
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "redis-server did not start");
        }
        Ok(Self { child, port, _log: log })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // If it is gone already there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
