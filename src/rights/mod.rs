//! **What we declare**: holder and licence, stated once.
//!
//! ```
//! use deckle::rights::Settings;
//! let rights: Settings = toml::from_str("holder = \"The Post\"")?;
//! assert_eq!(rights.holder, "The Post");
//! assert!(toml::from_str::<Settings>("owner = \"x\"").is_err());
//! # Ok::<(), toml::de::Error>(())
//! ```

use serde::{Deserialize, Serialize};

/// Section `[rights]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who holds the rights.
    pub holder: String,
    /// The licence.
    pub license: LicenseSettings,
}

/// Section `[rights.license]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenseSettings {
    /// Its name, as people read it.
    pub name: String,
    /// The page for people; https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// Why the settings of `[rights]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RightsError {
    /// Not an absolute https address.
    #[error("`rights.license.page` is `{value}`; it must be an absolute https address")]
    LicensePage {
        /// The value.
        value: String,
    },
}

impl Settings {
    /// # Errors
    /// [`RightsError`] for a licence page that is no https address.
    pub fn check(&self) -> Result<(), RightsError> {
        match &self.license.page {
            Some(page) if !page.starts_with("https://") || page.parse::<http::Uri>().is_err() => {
                Err(RightsError::LicensePage { value: page.clone() })
            }
            _ => Ok(()),
        }
    }
}
