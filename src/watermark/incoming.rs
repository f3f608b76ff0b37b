//! Marks that requests bring along: somebody follows a link, or shows an image, out of a copy.

use super::code::{Keys, Mark};
use crate::secret::Secrets;

/// Reads tokens of all secrets that are loaded.
#[derive(Debug, Clone)]
pub struct Incoming {
    keys: Vec<Keys>,
}

impl Incoming {
    /// Under these secrets, the retired ones included.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(Keys::new).collect() }
    }

    /// The mark of a token that one of the secrets has signed.
    pub fn read(&self, value: &str) -> Option<Mark> {
        self.keys.iter().find_map(|keys| keys.untoken(value.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_each_secret_are_read_and_of_no_other() {
        let bytes = |first: u8| data_encoding::HEXLOWER.encode(&(first..first + 32).collect::<Vec<u8>>());
        let text = format!("0 {} retired=2026-01-01T00:00:00Z\n1 {}\n", bytes(1), bytes(0));
        let incoming = Incoming::new(&Secrets::parse(&text).unwrap());
        let mark = Mark { kid: 1, id: 0x0123_4567_89ab };
        assert_eq!(incoming.read("easgrlhrgvt2q5s"), Some(mark));
        let retired = Secrets::parse(&text).unwrap();
        let retired = Keys::new(retired.by_kid(0).unwrap());
        let token = String::from_utf8(retired.token(7).to_vec()).unwrap();
        assert_eq!(incoming.read(&token), Some(Mark { kid: 0, id: 7 }));
        for bad in ["", "easgrlhrgvt2q5t", "2", "easgrlhrgvt2q5s2", "ääääääää"] {
            assert_eq!(incoming.read(bad), None, "{bad}");
        }
    }
}
