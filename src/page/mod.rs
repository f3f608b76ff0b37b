//! page
mod ambiguity;
mod article;
mod charset;
mod csp;
mod decode;
pub mod encoding;
mod head;
mod learn;
mod rewrite;
mod scan;
mod tail;
mod text;
mod window;
pub use learn::{Finding, Findings};
