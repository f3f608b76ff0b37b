//! The reverse proxy: in front of the embedded demo site, or of any site with `-- --upstream URL`.

fn main() -> std::process::ExitCode {
    let arguments = ["deckle", "proxy"].map(Into::into).into_iter().chain(std::env::args_os().skip(1));
    deckle::cli::run(arguments)
}
