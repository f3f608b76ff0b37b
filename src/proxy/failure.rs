//! Why the site gave no answer.

use std::io::ErrorKind;

use http_body_util::LengthLimitError;

use super::body::UploadError;

/// Why there is no answer of the site.
#[derive(Debug)]
pub(super) enum Failure {
    /// It took too long.
    Timeout,
    /// No connection came about, or the answer was none.
    Connect,
    /// The connection broke before an answer.
    Lost,
    /// The upload is longer than it may be.
    TooLarge,
    /// The upload paused for too long.
    Idle,
    /// The upload broke off.
    Broken,
}

impl Failure {
    pub(super) fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let mut lost = false;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return Self::TooLarge;
            }
            lost |= is_lost(error);
            match error.downcast_ref() {
                Some(UploadError::Idle(_)) => return Self::Idle,
                Some(UploadError::Broken(_)) => return Self::Broken,
                None => cause = error.source(),
            }
        }
        if lost && !error.is_connect() { Self::Lost } else { Self::Connect }
    }
}

/// The connection ended before the first byte of an answer.
fn is_lost(error: &(dyn std::error::Error + 'static)) -> bool {
    let hyper = error.downcast_ref::<hyper::Error>();
    let reset = |e: &std::io::Error| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    hyper.is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
        || error.downcast_ref().is_some_and(reset)
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
