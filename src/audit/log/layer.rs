use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::Audit;
use crate::action::{self, ActionError, Answers};
use crate::audit::{Settings, Sink};
use crate::clock::{SharedClock, SystemClock};

/// Layer that writes one record a response.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use deckle::audit::{AuditLayer, AuditRecord, Sink};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{Layer, ServiceExt};
///
/// #[derive(Default)]
/// struct Memory(Mutex<Vec<AuditRecord>>);
/// impl Sink for Memory {
///     fn record(&self, record: Box<AuditRecord>) {
///         self.0.lock().unwrap().push(*record);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let memory = Arc::new(Memory::default());
/// let service = AuditLayer::new(memory.clone()).layer(tower::service_fn(|_: Request<()>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::new(bytes::Bytes::from("ten bytes!"))))
/// }));
/// let response = service.clone().oneshot(Request::new(())).await.unwrap();
/// response.into_body().collect().await.unwrap();
/// // A response that is dropped before its end is written down, too, as incomplete.
/// drop(service.oneshot(Request::new(())).await.unwrap());
/// let records = memory.0.lock().unwrap();
/// assert_eq!((records[0].body_size, records[0].complete), (10, true));
/// assert_eq!((records[1].body_size, records[1].complete), (0, false));
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct AuditLayer {
    shared: Arc<Shared>,
}

/// What is the same for all requests.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) clock: SharedClock,
    pub(super) server_timing: bool,
    pub(super) refusing: Option<Arc<Answers>>,
    pub(super) settings: Arc<Settings>,
}

impl AuditLayer {
    /// Hands records to `sink`.
    pub fn new(sink: impl Sink) -> Self {
        Self::with_clock(sink, SystemClock::shared())
    }

    /// The same on another clock.
    pub fn with_clock(sink: impl Sink, clock: SharedClock) -> Self {
        let settings = Arc::new(Settings::default());
        let shared = Shared { sink: Arc::new(sink), clock, server_timing: false, refusing: None, settings };
        Self { shared: Arc::new(shared) }
    }

    /// Whether each answer says in `Server-Timing` what judging took, and the id of its record.
    pub fn server_timing(mut self, on: bool) -> Self {
        Arc::make_mut(&mut self.shared).server_timing = on;
        self
    }

    /// By which settings paths and queries are redacted that are too long to be kept as they were sent: those of the sink. By
    /// default, the defaults.
    pub fn redacting(mut self, settings: &Settings) -> Self {
        Arc::make_mut(&mut self.shared).settings = Arc::new(settings.clone());
        self
    }

    /// Answers 503 while the sink loses records ([`Sink::is_losing`]), on a page of these settings. Requests that are under way
    /// are answered; their records are lost and counted. For sites that would rather be down than without proof.
    ///
    /// # Errors
    /// [`ActionError::Page`] for a page of the site's own that does not hold.
    pub fn refusing(mut self, pages: &action::Settings) -> Result<Self, ActionError> {
        let answers = Answers::new(pages.contact.clone(), pages.templates.as_deref())?;
        Arc::make_mut(&mut self.shared).refusing = Some(Arc::new(answers));
        Ok(self)
    }
}

impl fmt::Debug for AuditLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Audit::new(inner, Arc::clone(&self.shared))
    }
}
