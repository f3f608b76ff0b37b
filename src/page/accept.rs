//! What a client accepts, and what the site is asked for (`Accept-Encoding`, RFC 9110 §12.5.3).

use http::{HeaderMap, header};

use super::encoding::Coding;

/// The codings that may be asked of the upstream: what the client accepts and deckle can read, weights kept
/// (RFC 9110 §12.5.3). Nothing in common: `identity`.
pub(crate) fn accept_encoding(value: &str) -> String {
    let is_wanted = |item: &&str| {
        let (token, weight) = item.split_once(';').unwrap_or((item, ""));
        !matches!(Coding::from_token(token.trim()), Some(Coding::Identity) | None) && quality(weight) != Some(0.0)
    };
    let mut kept = String::with_capacity(value.len() + 8);
    for item in value.split(',').map(str::trim).filter(is_wanted) {
        if !kept.is_empty() {
            kept.push_str(", ");
        }
        kept.push_str(item);
    }
    if kept.is_empty() { Coding::Identity.code().to_owned() } else { kept }
}

/// The value of `q=`, whose name has no case: 0 to 1 (RFC 9110 §12.4.2). `None`: that is none.
fn quality(weight: &str) -> Option<f32> {
    let (name, value) = weight.trim().split_once('=')?;
    value.parse().ok().filter(|quality| name.eq_ignore_ascii_case("q") && (0.0..=1.0).contains(quality))
}

/// Is no coding asked for, as [`accept_encoding`] says it?
pub(crate) fn asks_for_none(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).is_some_and(|value| value.as_bytes() == b"identity")
}

/// What a client likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The coding that it likes best; of two that it likes as well the denser one.
    pub(crate) preferred: Coding,
    /// It likes none better than gzip.
    pub(crate) gzip: bool,
}

impl Accepted {
    pub(crate) const NONE: Self = Self { preferred: Coding::Identity, gzip: false };
}

/// Reads `Accept-Encoding` (RFC 9110 §12.5.3).
pub(crate) fn accepted(headers: &HeaderMap) -> Accepted {
    let mut ranked = [Coding::Br, Coding::Zstd, Coding::Gzip].map(|coding| (coding, None::<f32>));
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    for item in lines.flat_map(|line| line.split(',')) {
        let (token, weight) = item.split_once(';').unwrap_or((item, ""));
        let Some(coding) = Coding::from_token(token.trim()) else { continue };
        // Of one that is named twice the first weight counts.
        if let Some((_, named @ None)) = ranked.iter_mut().find(|(ranked, _)| *ranked == coding) {
            *named = Some(if weight.trim().is_empty() { 1.0 } else { quality(weight).unwrap_or(0.0) });
        }
    }
    let weights = ranked.map(|(coding, weight)| (coding, weight.unwrap_or(0.0)));
    let best = weights.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let Some((preferred, best)) = best.filter(|(_, weight)| *weight > 0.0) else {
        return Accepted::NONE;
    };
    Accepted { preferred, gzip: weights.contains(&(Coding::Gzip, best)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best() {
        for (lines, best) in [
            (&["gzip, deflate, br, zstd"][..], (Coding::Br, true)),
            (&["gzip, zstd"][..], (Coding::Zstd, true)),
            (&["gzip;q=0.9, zstd"][..], (Coding::Zstd, false)),
            (&["deflate", "GZIP;q=0.5", "br; q=0.4"][..], (Coding::Gzip, true)),
            (&["br;q=0, br", "gzip;q=0.1"][..], (Coding::Gzip, true)),
            (&["gzip;Q=0, br"][..], (Coding::Br, false)),
            (&["gzip; , br;q=nan, zstd;q=1.1"][..], (Coding::Gzip, true)),
            (&["br, deflate"][..], (Coding::Br, false)),
            (&["br;q=x, gzip;q=0"][..], (Coding::Identity, false)),
            (&["zstd;q=0.9, gzip;q=0.9"][..], (Coding::Zstd, true)),
            (&["br;q=x, compress"][..], (Coding::Identity, false)),
            (&["deflate"][..], (Coding::Identity, false)),
            (&[""][..], (Coding::Identity, false)),
            (&["deflate, identity, *"][..], (Coding::Identity, false)),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_ENCODING, line.parse().unwrap());
            }
            let Accepted { preferred, gzip } = accepted(&headers);
            assert_eq!((preferred, gzip), best, "{lines:?}");
        }
        assert_eq!(accepted(&HeaderMap::new()), Accepted::NONE);
    }

    #[test]
    fn only_what_both_can_read_is_asked_for() {
        for (client, upstream) in [
            ("gzip;q=0.5, br, compress", "gzip;q=0.5, br"),
            ("compress", "identity"),
            ("*;q=0", "identity"),
            ("identity;q=0, gzip", "gzip"),
            ("gzip, zstd;q=0.5, foo", "gzip, zstd;q=0.5"),
            ("gzip;q=0", "identity"),
            ("gzip; Q=0, br", "br"),
            ("", "identity"),
        ] {
            assert_eq!(accept_encoding(client), upstream, "{client}");
        }
    }
}
