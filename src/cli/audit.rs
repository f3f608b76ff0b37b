//! `deckle audit`: care of the log.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use ipnet::IpNet;

use super::output::{self, Exit};
use super::table::{self, DdlArgs, PushArgs};
use crate::audit::forget::{Forget, forget};
use crate::audit::signing::SigningKey;

#[derive(clap::Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(clap::Subcommand)]
enum AuditCommand {
    /// Make a key that signs the log, and print its public half.
    Keygen(KeygenArgs),
    /// Erase what the log holds about somebody; the log stays verifiable.
    Forget(ForgetArgs),
    /// Print the statement that makes a table of ClickHouse for the log.
    Ddl(DdlArgs),
    /// Send logs into that table: older segments, and the logs of other programs.
    Push(Box<PushArgs>),
}

#[derive(clap::Args)]
struct KeygenArgs {
    /// Where to; the public half goes beside it.
    #[arg(value_name = "FILE", default_value = "deckle-log/audit.ed25519")]
    file: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Lines become placeholders that keep their hash and, where that can be, their length:
`deckle review --verify` then says how many were erased, and is content. The open segment is left alone: send SIGHUP to
the proxy first.

Exit codes: 0 lines were erased; 1 none; 2 usage.

Examples:
  deckle audit forget --visitor q7k2mpd5zt4wuxvlc3na
  deckle audit forget --address 203.0.113.9 --log-dir deckle-log --yes")]
struct ForgetArgs {
    /// One visitor, by the id of the log.
    #[arg(long, value_name = "ID", required_unless_present = "address", conflicts_with = "address")]
    visitor: Option<String>,
    /// One address or network; lines that name a wider network stay.
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
    /// Directory of the log.
    #[arg(long, value_name = "DIR", default_value = "deckle-log")]
    log_dir: PathBuf,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &AuditArgs) -> anyhow::Result<Exit> {
    match &args.command {
        AuditCommand::Keygen(args) => keygen(args),
        AuditCommand::Forget(args) => erase(args),
        AuditCommand::Ddl(args) => table::print_ddl(args),
        #[cfg(feature = "clickhouse")]
        AuditCommand::Push(args) => super::push::run(args),
        #[cfg(not(feature = "clickhouse"))]
        AuditCommand::Push(_) => bail!("`deckle audit push` needs feature `clickhouse`"),
    }
}

fn keygen(args: &KeygenArgs) -> anyhow::Result<Exit> {
    if args.file.exists() {
        bail!("{} is there already: what it has signed could not be checked any more", args.file.display());
    }
    if let Some(dir) = args.file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let key = SigningKey::make(&args.file)?.public();
    output::print(&format!("{} (id {})\n", key.to_hex(), key.id()))?;
    Ok(Exit::Done)
}

fn erase(args: &ForgetArgs) -> anyhow::Result<Exit> {
    let of = match (&args.visitor, &args.address) {
        (Some(visitor), _) => Forget::Visitor(visitor.clone()),
        (None, Some(address)) => Forget::Address(network(address)?),
        (None, None) => bail!("--visitor or --address is needed"),
    };
    if !args.yes && !confirm(args)? {
        return Ok(Exit::NothingFound);
    }
    let done = forget(&args.log_dir, &of)?;
    let mut text = format!("{} lines erased", done.lines);
    for (segment, lines) in &done.segments {
        text.push_str(&format!("\n  {segment}: {lines}"));
    }
    for (segment, why) in &done.skipped {
        text.push_str(&format!("\n  {segment}: left alone, {why}"));
    }
    if done.wider > 0 {
        text.push_str(&format!("\n{} lines name a wider network only, and stay", done.wider));
    }
    output::print(&(text + "\n"))?;
    Ok(if done.lines == 0 { Exit::NothingFound } else { Exit::Done })
}

fn network(text: &str) -> anyhow::Result<IpNet> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).with_context(|| format!("`{text}` is neither an address nor a network"))
}

fn confirm(args: &ForgetArgs) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask: --yes erases without asking");
    }
    let whom = args.visitor.as_deref().or(args.address.as_deref()).unwrap_or_default();
    write!(
        std::io::stderr().lock(),
        "Erase all lines about {} in {}? [y/N] ",
        output::clean(whom),
        args.log_dir.display()
    )?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
