//! Connections to the site that are one visitor's: `NTLM` and `Negotiate` sign in a connection, not a request (RFC 4559 §6), and
//! whoever came after on it would be that visitor.

use std::future::{Future, poll_fn};
use std::pin::pin;

use http::{HeaderMap, Request, header};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

/// The connection of a request that signs it in.
pub(super) struct Personal(Option<CaptureConnection>);

impl Personal {
    /// Asked before it is sent.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        Self(signs_in(request.headers()).then(|| capture_connection(request)))
    }

    /// The answer, before which nobody else can have got the connection.
    pub(super) async fn until<F: Future>(&self, answer: F) -> F::Output {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            let polled = answer.as_mut().poll(cx);
            self.leave();
            polled
        })
        .await
    }

    /// Nothing else is asked over the connection that the request has got, if any.
    fn leave(&self) {
        let Some(captured) = &self.0 else { return };
        if let Some(connection) = captured.connection_metadata().as_ref() {
            connection.poison();
        }
    }
}

fn signs_in(headers: &HeaderMap) -> bool {
    let is_of_connection = |value: &[u8]| {
        let scheme = value.split(|b| *b == b' ').next().unwrap_or_default();
        [b"NTLM".as_slice(), b"Negotiate"].iter().any(|of| scheme.eq_ignore_ascii_case(of))
    };
    headers.get_all(header::AUTHORIZATION).iter().any(|value| is_of_connection(value.as_bytes()))
}
