fn main() { deckle::cli::reference_main().unwrap() }
