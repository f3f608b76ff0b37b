//! An axum site that gains deckle by one `.layer`.
//!
//! `cargo run --release --features axum --example axum_site`, then open the printed address and look at its source.

#![allow(clippy::print_stdout)] // An example talks to the person who runs it.

use std::net::SocketAddr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use deckle::DeckleLayer;
use deckle::config::Config;
use deckle::secret::Secrets;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_toml("[rights]\nholder = \"The Post\"\n")?;
    let deckle = DeckleLayer::builder().config(config).secret(Secrets::random()?).build()?;
    let app = Router::new().route("/", get(article)).layer(deckle);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn article() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>An article</title></head><body><article>\
         <p>The committee said on Monday that it would not publish the full report before the end of June, because its \
         members cannot agree on the wording of three chapters.</p></article></body></html>",
    )
}
