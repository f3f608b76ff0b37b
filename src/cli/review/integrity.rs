//! `deckle review --verify`, `--evidence` and `--verify-evidence`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::ReviewArgs;
use crate::audit::signing::PublicKey;
use crate::cli::output::{self, Exit};
use crate::review::{EvidenceError, verify, verify_evidence, write_pack};

#[derive(clap::Args)]
#[command(next_help_heading = "Integrity")]
pub(super) struct IntegrityArgs {
    /// Is deckle's log as it was written? Blocks, chain, signatures, numbers.
    #[arg(long, conflicts_with_all = ["evidence", "verify_evidence"], group = "proof")]
    verify: bool,
    /// Public key that must have signed it: 64 hexadecimal digits or PEM; may be given again.
    #[arg(long, value_name = "FILE", requires = "proof")]
    key: Vec<PathBuf>,
    /// With --visitor: write what the log has about one visitor, with proofs, into DIR.
    #[arg(long, value_name = "DIR", requires = "visitor", conflicts_with = "verify_evidence")]
    evidence: Option<PathBuf>,
    /// Check what --evidence has written.
    #[arg(long, value_name = "DIR", group = "proof")]
    verify_evidence: Option<PathBuf>,
}

/// `None`: nothing of this was asked for.
pub(super) fn run(args: &ReviewArgs) -> anyhow::Result<Option<Exit>> {
    let integrity = &args.integrity;
    let keys = integrity.key.iter().map(|path| read_key(path)).collect::<anyhow::Result<Vec<PublicKey>>>()?;
    if let Some(dir) = &integrity.verify_evidence {
        return match verify_evidence(dir, &keys) {
            Ok(pack) => {
                let known = if pack.are_keys_given { "given" } else { "of the pack itself" };
                let (signed, unsigned) = (pack.signed, pack.unsigned);
                let subject = match pack.visitor.as_str() {
                    "" => format!("{} requests", pack.requests),
                    visitor => format!("visitor {}", output::clean(visitor)),
                };
                let anchors = pack.anchors.iter().map(|anchor| format!("  sent away, says the log: {anchor}\n"));
                let anchors: String = anchors.collect();
                output::print(&format!(
                    "ok: {subject}, {signed} lines under a signature, {unsigned} under the chain alone; keys ({known}): {}\n{anchors}",
                    pack.keys.join(", ")
                ))?;
                Ok(Some(Exit::Done))
            }
            Err(error) => fault(error).map(Some),
        };
    }
    if integrity.verify {
        let found = verify(&args.paths, &keys);
        output::print(&format!("{found}"))?;
        return Ok(Some(match found.exit_code() {
            0 => Exit::Done,
            4 => Exit::Integrity,
            _ => Exit::Partial,
        }));
    }
    let (Some(out), Some(visitor)) = (&integrity.evidence, args.only.visitor()) else { return Ok(None) };
    let [log] = args.paths.as_slice() else { bail!("--evidence takes one log directory") };
    match write_pack(log, visitor, out) {
        Ok(pack) => {
            output::print(&format!(
                "{}: {} lines under a signature, {} under the chain alone, {} without proof. README.txt says how to check it.\n",
                out.display(),
                pack.signed,
                pack.unsigned,
                pack.unproven
            ))?;
            for unread in &pack.unread {
                output::complain(&anyhow::anyhow!("{unread}: lines of this segment may be missing"));
            }
            Ok(Some(if pack.unread.is_empty() { Exit::Done } else { Exit::Partial }))
        }
        Err(error) => fault(error).map(Some),
    }
}

/// A pack that is not what it says is an answer, and so is that there is nothing; what cannot be read is an error.
fn fault(error: EvidenceError) -> anyhow::Result<Exit> {
    let exit = match (error.is_fault(), error.is_nothing()) {
        (true, _) => Exit::Integrity,
        (_, true) => Exit::NothingFound,
        (false, false) => return Err(error.into()),
    };
    output::complain(&error.into());
    Ok(exit)
}

fn read_key(path: &Path) -> anyhow::Result<PublicKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    PublicKey::from_hex(&text)
        .or_else(|| PublicKey::from_pem(&text))
        .with_context(|| format!("{} holds no public key (64 hexadecimal digits, or PEM)", path.display()))
}
