//! The program `deckle`.
pub(crate) mod reference;
#[doc(hidden)]
pub fn reference_main() -> anyhow::Result<()> {
    let mut a = std::env::args().skip(2);
    let (k, d) = (a.next().unwrap(), a.next().unwrap());
    let t = if k == "agents" { reference::agents(d.as_ref(), &std::fs::read_to_string("tests/vectors/clean_agents.txt")?)? } else { reference::ranges(d.as_ref(), "cloudflare")? };
    print!("{t}"); Ok(())
}
