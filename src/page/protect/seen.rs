//! The mark of a copy in the address of a request: the site hears nothing of it, the log does.

use http::Uri;

use crate::watermark::{Incoming, Mark};

/// Takes the tokens that verify out of the query; anything else there is the site's own.
pub(super) fn take_mark(uri: &mut Uri, incoming: &Incoming) -> Option<Mark> {
    let query = uri.query().filter(|query| query.contains("k="))?;
    let (mut mark, mut rest) = (None, Vec::new());
    for pair in query.split('&') {
        match pair.strip_prefix("k=").and_then(|value| incoming.read(value)) {
            Some(seen) => mark = mark.or(Some(seen)),
            None => rest.push(pair),
        }
    }
    mark?;
    let target = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Secret, Secrets};

    #[test]
    fn only_tokens_that_verify_are_taken() {
        let incoming = Incoming::new(&Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap()));
        for (target, rest, seen) in [
            ("/a?k=easgrlhrgvt2q5s", "/a", true),
            ("/a?b=1&k=easgrlhrgvt2q5s&c", "/a?b=1&c", true),
            ("/a?k=easgrlhrgvt2q5s&k=easgrlhrgwfjli4", "/a", true),
            ("http://news.example/?k=easgrlhrgvt2q5s&b=%20", "http://news.example/?b=%20", true),
            ("/a?k=easgrlhrgvt2q5t", "/a?k=easgrlhrgvt2q5t", false),
            ("/a?k=1&k", "/a?k=1&k", false),
            ("/a?kk=easgrlhrgvt2q5s", "/a?kk=easgrlhrgvt2q5s", false),
            ("/k=easgrlhrgvt2q5s", "/k=easgrlhrgvt2q5s", false),
            ("*", "*", false),
        ] {
            let mut uri: Uri = target.parse().unwrap();
            let mark = take_mark(&mut uri, &incoming);
            assert_eq!((uri.to_string().as_str(), mark.is_some()), (rest, seen), "{target}");
            assert!(mark.is_none_or(|mark| mark.to_string() == "k1-0123456789ab"), "{target}");
        }
    }
}
