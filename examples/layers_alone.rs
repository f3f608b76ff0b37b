//! Each of the five layers by itself, and two of them together.

#![allow(clippy::print_stdout)] // An example talks to the person who runs it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use deckle::action::{self, Decision, EnforceLayer, Mode};
use deckle::audit::{AuditLayer, AuditRecord};
use deckle::clock::SystemClock;
use deckle::page::{self, ProtectLayer};
use deckle::suspicion::{AssessLayer, Assessment, State};
use deckle::visitor::{self, IdentifyLayer, Visitor};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

/// Prints what it is given.
struct Printer;

impl deckle::audit::Sink for Printer {
    fn record(&self, record: Box<AuditRecord>) {
        println!("audit     {} {} complete={}", record.method, record.path, record.complete);
    }
}

async fn site(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(visitor) = request.extensions().get::<Visitor>() {
        println!("identify  {}", visitor.agent.category);
    }
    if let Some(assessment) = request.extensions().get::<Assessment>() {
        println!("assess    score {}", assessment.score);
    }
    let page = Full::new(Bytes::from("<!doctype html><title>t</title><p>Hello</p>"));
    Ok(Response::builder().header("content-type", "text/html").body(page).unwrap_or_default())
}

fn wget() -> Request<()> {
    Request::builder().uri("/article").header("user-agent", "Wget/1.21").body(()).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = action::Settings::default();
    let state = Arc::new(State::new(SystemClock::shared()));
    let identify = IdentifyLayer::new(&visitor::Settings::default())?;
    let assess = AssessLayer::new(state.clone(), &deckle::suspicion::Settings::default(), settings.limits.soft())?;
    let enforce = EnforceLayer::new(state, &settings, &deckle::rights::LicenseSettings::default(), Mode::Enforce)?;
    let protect = ProtectLayer::new(&page::Settings::default(), &deckle::rights::Settings::default(), "/.deckle")?;

    // Alone, each does its own work, and what it does not find it does without.
    identify.layer(tower::service_fn(site)).oneshot(wget()).await?;
    assess.layer(tower::service_fn(site)).oneshot(wget()).await?;
    let untouched = enforce.layer(tower::service_fn(site)).oneshot(wget()).await?;
    println!("enforce   {}", untouched.status());
    let page = protect.layer(tower::service_fn(site)).oneshot(wget()).await?.into_body().collect().await?.to_bytes();
    println!("protect   {}", String::from_utf8_lossy(&page).contains("data-deckle=\"guard\""));
    drop(AuditLayer::new(Printer).layer(tower::service_fn(site)).oneshot(wget()).await?);

    // Behind each other they see what came before.
    let three = identify.layer(assess.layer(enforce.layer(tower::service_fn(site)))).oneshot(wget()).await?;
    println!("decision  {:?}", three.extensions().get::<Decision>().map(|d| d.action));
    Ok(())
}
