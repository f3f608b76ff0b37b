//! The configuration as the log keeps it: what was in force when, without what is secret.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Keys whose values are secrets, or hold them.
const SECRET: [&str; 6] = ["secret_file", "url", "admin_token_file", "anchor", "key", "endpoint"];

/// A policy, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// TOML.
    pub text: String,
    /// The first twelve digits of its SHA-256.
    pub digest: String,
}

impl PolicyText {
    /// Of a whole configuration; secrets and addresses that may hold one are left out.
    pub fn new(mut config: toml::Table) -> Self {
        strip(&mut config);
        let text = config.to_string();
        let digest = HEXLOWER.encode(Sha256::digest(text.as_bytes()).get(..6).unwrap_or_default());
        Self { text, digest }
    }
}

fn strip(table: &mut toml::Table) {
    table.retain(|key, value| !SECRET.contains(&key) || value.is_table());
    for (key, value) in table.iter_mut() {
        // What is said of rights is published, the address of a licence, too.
        if let (toml::Value::Table(inner), true) = (value, key != "rights") {
            strip(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out() {
        let config: toml::Table =
            "mode = 'observe'\nsecret_file = 'x'\n[shared]\nurl = 'redis://user:word@h/'\n[audit]\nsite = 'news'\n\
             [rights.license]\nurl = 'https://news.example/license'\n"
                .parse()
                .unwrap();
        let policy = PolicyText::new(config.clone());
        assert!(policy.text.contains("observe") && policy.text.contains("news"), "{}", policy.text);
        assert!(policy.text.contains("https://news.example/license"), "{}", policy.text);
        assert!(!policy.text.contains("word") && !policy.text.contains("secret_file"), "{}", policy.text);
        assert_eq!(policy.digest.len(), 12);
        assert_eq!(PolicyText::new(config).digest, policy.digest);
    }
}
