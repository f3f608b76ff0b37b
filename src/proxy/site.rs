//! What stands behind deckle.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use data_encoding::HEXLOWER;
use http::{Request, Response};
use hyper::body::Incoming;
use tower_service::Service;

use super::{Demo, ProxyError, SiteBody, Upstream, problem, refuse};
use crate::config::{Config, ProxySettings};
use crate::secret::Secrets;

/// The site behind deckle.
#[derive(Clone, Debug)]
pub enum Site {
    /// Another server.
    Upstream(Upstream),
    /// The embedded one, and the limits of requests to it.
    Demo(Demo, Box<ProxySettings>),
}

impl Site {
    /// As the configuration has it: the upstream, or the demo.
    pub(super) fn configured(config: &Config, secrets: &Secrets) -> Result<Self, ProxyError> {
        if config.proxy.upstream.is_none() {
            return Ok(Self::Demo(Demo::shared(), Box::new(config.proxy.clone())));
        }
        let pseudonym = HEXLOWER.encode(&secrets.active().derive("deckle-proxy-1", "via")[..4]);
        Ok(Self::Upstream(Upstream::new(&config.proxy, pseudonym)?))
    }
}

impl Service<Request<Incoming>> for Site {
    type Response = Response<SiteBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self {
            Self::Upstream(upstream) => upstream.call(request),
            Self::Demo(demo, settings) => {
                let response = match refuse::refuse(&request, settings) {
                    Some((status, detail)) => problem::problem(status, detail, request.headers()),
                    None => demo.answer(request.method(), request.uri(), request.headers()),
                };
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}
