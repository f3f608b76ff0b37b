//! deckle's page stage in this process, with one page behind it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, request, response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower_layer::Layer;
use tower_service::Service;

use crate::cli::fetch::Document;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::page::encoding::decoded;
use crate::page::{Marking, PageReport, ProtectLayer};
use crate::secret::Secrets;
use crate::unit::Size;
use crate::visitor::Visitor;

/// As much as one read of a socket brings.
const PIECE: usize = 16 * 1024;

/// One page, and what is asked of the stage.
pub(super) struct Stage<'c> {
    config: &'c Config,
    runtime: Runtime,
    request: request::Parts,
    /// Two who ask for it.
    readers: [Visitor; 2],
    response: response::Parts,
    /// The source, without its codings.
    pub(super) source: Bytes,
    /// The same, as it comes from a socket.
    pub(super) pieces: Vec<Bytes>,
}

impl<'c> Stage<'c> {
    pub(super) fn new(config: &'c Config, runtime: Runtime, document: &Document) -> anyhow::Result<Self> {
        let source = decoded(&document.headers, &document.body);
        let mut response = Response::new(()).into_parts().0;
        (response.status, response.headers) = (document.status, document.headers.clone());
        for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            response.headers.remove(name);
        }
        let mut request = Request::new(()).into_parts().0;
        request.uri = document.address.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        if let Some(host) = document.address.authority().and_then(|host| host.as_str().parse().ok()) {
            request.headers.insert(header::HOST, host);
        }
        let now = SystemClock::new().unix();
        let first = Visitor::from_head(&request, &config.visitor, now)?;
        let mut other = request.clone();
        other.headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
        let readers = [first, Visitor::from_head(&other, &config.visitor, now)?];
        let pieces = (0..source.len()).step_by(PIECE).map(|at| source.slice(at..source.len().min(at + PIECE)));
        let pieces = pieces.collect();
        Ok(Self { config, runtime, request, readers, response, source, pieces })
    }

    /// As it is configured, but that what the client accepts decides about the coding. Without `plans` every page is new.
    pub(super) fn layer(&self, plans: bool) -> anyhow::Result<ProtectLayer> {
        let mut page = self.config.page.clone();
        page.compress = true;
        if !plans {
            page.plan_cache = Size(0);
        }
        let layer = ProtectLayer::new(&page, &self.config.rights, &self.config.visitor.routes.mount)?;
        let (secrets, settings) = (Secrets::random()?, self.config.watermark.clone());
        Ok(layer.marking(Marking { secrets, settings, findings: Arc::default(), styles: Arc::default() })?)
    }

    /// `Content-Type` of the page.
    pub(super) fn content_type(&self) -> &str {
        self.response.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// A request that accepts `coding`, and the answer of the site.
    pub(super) fn prepare(&self, coding: &'static str) -> Prepared {
        let [reader, _] = &self.readers;
        self.ask(reader, coding)
    }

    /// The same of the other reader.
    pub(super) fn prepare_other(&self, coding: &'static str) -> Prepared {
        let [_, reader] = &self.readers;
        self.ask(reader, coding)
    }

    fn ask(&self, reader: &Visitor, coding: &'static str) -> Prepared {
        let mut head = self.request.clone();
        head.extensions.insert(reader.clone());
        head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
        let body = Pieces(self.pieces.clone().into_iter());
        let answer = Some(Response::from_parts(self.response.clone(), body));
        Prepared { request: Request::from_parts(head, ()), site: Site { answer } }
    }

    /// The answer goes through `layer` to its end; what leaves goes to `take`.
    pub(super) fn run(
        &self,
        layer: &ProtectLayer,
        prepared: Prepared,
        mut take: impl FnMut(&[u8]),
    ) -> anyhow::Result<PageReport> {
        self.runtime.block_on(async {
            let Ok(response) = layer.layer(prepared.site).call(prepared.request).await;
            let report = response.extensions().get::<PageReport>().cloned();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if let Some(piece) = frame?.data_ref() {
                    take(piece);
                }
            }
            report.context("the page stage reports nothing")
        })
    }
}

/// What one pass takes in.
pub(super) struct Prepared {
    request: Request<()>,
    site: Site,
}

/// Gives the one answer.
struct Site {
    answer: Option<Response<Pieces>>,
}

impl Service<Request<()>> for Site {
    type Response = Response<Pieces>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(self.answer.take().unwrap_or_default()))
    }
}

/// A body in pieces, each of them there at once.
#[derive(Default)]
struct Pieces(std::vec::IntoIter<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}
