//! A proxy as everybody writes it first, and deckle's page stage on it: processes of their own, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::ListenerExt;
use deckle::config::Config;
use deckle::page::{Findings, Marking, PlanCounters, ProtectLayer};
use deckle::secret::Secrets;
use deckle::visitor::IdentifyLayer;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;

/// What everybody writes first.
pub(crate) fn proxy(upstream: String) -> Router {
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build_http();
    Router::new().fallback(move |mut request: Request| {
        let (client, upstream) = (client.clone(), upstream.clone());
        async move {
            *request.uri_mut() = format!("{upstream}{}", request.uri().path()).parse().unwrap();
            let response: Response = client.request(request).await.unwrap().map(Body::new);
            response
        }
    })
}

/// Identity and page stage, marks included; what its plans do is counted. The environment may set `DECKLE_…` as for the program.
pub(crate) fn protect(app: Router, counters: Arc<PlanCounters>) -> Router {
    let config = Config::from_env().unwrap();
    let findings = Arc::new(Findings::default());
    let (secrets, styles) = (Secrets::random().unwrap(), Arc::default());
    let marking = Marking { secrets, settings: config.watermark, findings, styles };
    let layer = ProtectLayer::new(&config.page, &config.rights, "/.deckle").unwrap().marking(marking).unwrap();
    app.layer(layer.plan_counters(counters)).layer(IdentifyLayer::new(&config.visitor).unwrap())
}

/// Serves until it is killed, and says where.
#[tokio::main]
pub(crate) async fn serve(app: Router) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
}
