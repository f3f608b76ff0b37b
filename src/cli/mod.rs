//! The program `deckle`: parses, dispatches, and turns results into exit codes.

mod args;
mod audit;
mod bench;
mod check;
mod doctor;
mod domains;
mod explain;
mod fetch;
mod images;
mod learn;
mod output;
mod proxy;
#[cfg(feature = "clickhouse")]
mod push;
mod ranges;
mod reference;
mod review;
mod table;
mod trace;
mod twins;

use std::ffi::OsString;
use std::process::{ExitCode, Termination};

use clap::Parser;

use args::{Args, Command};
pub use output::Exit;

/// Runs the program with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(trace::joined(arguments)) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.report();
        }
    };
    let result = match args.command {
        Command::Proxy(args) => proxy::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Reference(args) => args.run(),
    };
    match result {
        Ok(exit) => exit.report(),
        Err(error) => {
            output::complain(&error);
            Exit::Usage.report()
        }
    }
}
