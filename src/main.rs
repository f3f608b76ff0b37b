//! The program `deckle`.

/// Pages come and go in pieces of all sizes beside plans that stay: glibc's allocator keeps most of what they leave
/// (docs/scale.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    deckle::cli::run(std::env::args_os())
}
