//! The program `deckle`.

fn main() -> std::process::ExitCode {
    deckle::cli::run(std::env::args_os())
}
