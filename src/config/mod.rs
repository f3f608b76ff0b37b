//! The configuration file: one section a stage, every key optional.
//!
//! ```
//! use deckle::config::Config;
//! let config = Config::from_toml("mode = \"enforce\"\n[page.guard]\nmin_words = 50\n")?;
//! assert_eq!(config.page.guard.min_words, 50);
//! let error = Config::from_toml("[page.guard]\nmin_word = 50\n").unwrap_err().to_string();
//! assert!(error.contains("did you mean `min_words`?"), "{error}");
//! # Ok::<(), deckle::config::LoadError>(())
//! ```

mod load;
mod proxy;

use serde::{Deserialize, Serialize};

pub use load::LoadError;
pub use proxy::{HostMode, ProxySettings, TimeoutSettings, TlsSettings, UpstreamCoding};

use crate::action::Mode;
#[cfg(feature = "html")]
use crate::page;
use crate::{action, audit, rights, suspicion, visitor, watermark};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `observe` or `enforce`.
    pub mode: Mode,
    /// File of the secret, mode 0600, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// Who asks.
    pub visitor: visitor::Settings,
    /// How sure.
    pub suspicion: suspicion::Settings,
    /// What is done.
    pub action: action::Settings,
    /// What changes in a page.
    #[cfg(feature = "html")]
    pub page: page::Settings,
    /// Needs feature `html`.
    #[cfg(not(feature = "html"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<toml::Table>,
    /// What is declared.
    pub rights: rights::Settings,
    /// How copies are marked.
    pub watermark: watermark::Settings,
    /// What is written down.
    pub audit: audit::Settings,
    /// What several processes share.
    pub shared: suspicion::SharedSettings,
    /// The reverse proxy.
    pub proxy: ProxySettings,
}

impl Config {
    /// Names of the site, without ports: `proxy.hosts` and the host of `page.origin`.
    #[cfg(feature = "web-bot-auth")]
    pub(crate) fn hosts(&self) -> Vec<String> {
        let hosts = self.proxy.hosts.iter().map(String::as_str);
        #[cfg(feature = "html")]
        let hosts = hosts.chain(self.page.origin.as_deref().and_then(|origin| origin.split("://").nth(1)));
        hosts.map(|host| visitor::bare_host(host).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "html")]
    fn the_annotated_file_equals_the_defaults() {
        let text = include_str!("../../deckle.toml");
        assert_eq!(Config::from_toml(text).unwrap(), Config::default());
        // Every key stands in the file, if only as a comment.
        let all = toml::Value::try_from(Config::default()).unwrap();
        let mut missing = Vec::new();
        collect(&all, "", &mut |path| {
            // The last part is a line of its own, or stands in an inline table under the part before it.
            let named = path.rsplit('.').take(2).any(|key| {
                text.lines()
                    .any(|l| l.trim_start_matches(['#', ' ']).strip_prefix(key).is_some_and(|r| r.starts_with(" =")))
            });
            if !named {
                missing.push(path.to_owned());
            }
        });
        assert_eq!(missing, Vec::<String>::new());
    }

    #[cfg(feature = "html")]
    fn collect(value: &toml::Value, path: &str, f: &mut dyn FnMut(&str)) {
        if let Some(table) = value.as_table() {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if value.is_table() { collect(value, &path, f) } else { f(&path) }
            }
        }
    }
}
