//! Reads the file and the environment. Precedence: environment over file over default; flags are the program's.

use std::path::Path;

use serde::Deserialize;

use super::Config;

const PREFIX: &str = "DECKLE_";
/// Variables that are no keys: the secrets themselves, and what the tests of the project read.
const NOT_KEYS: [&str; 14] = [
    "DECKLE_SECRET",
    "DECKLE_SECRET_FILE",
    "DECKLE_ADMIN_TOKEN",
    "DECKLE_CLICKHOUSE_PASSWORD",
    "DECKLE_CORPUS",
    "DECKLE_VECTORS",
    "DECKLE_BROWSER",
    "DECKLE_CHDB_PYTHON",
    "DECKLE_ALL",
    "DECKLE_GZIP",
    "DECKLE_LOAD_CLIENTS",
    "DECKLE_LOAD_SECONDS",
    "DECKLE_LONG",
    "DECKLE_MARK_PAGES",
];
/// A name this close to a known one is taken for a slip.
const NEAR: usize = 3;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The text does not parse, or a key or value does not hold.
    #[error("{place}{message}")]
    Toml {
        /// The file and a colon, or nothing.
        place: String,
        /// Line, column and what is wrong.
        message: String,
    },
    /// A variable of the environment names no key or holds no value for it.
    #[error("{name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
}

/// The environment, without what is no text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Config {
    /// Reads a file, and the environment on top of it.
    ///
    /// # Errors
    /// [`LoadError`] names file, line, column and key.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Io { path: name.clone(), source })?;
        let config = Self::read(&text, variables()).map_err(|error| match error {
            LoadError::Toml { message, .. } => LoadError::Toml { place: format!("{name}: "), message },
            other => other,
        })?;
        Ok(config.relative_to(path.parent().unwrap_or(Path::new("."))))
    }

    /// The defaults, and the environment on top of them.
    ///
    /// # Errors
    /// [`LoadError::Environment`].
    pub fn from_env() -> Result<Self, LoadError> {
        Self::read("", variables())
    }

    /// Reads a text, and nothing else.
    ///
    /// # Errors
    /// [`LoadError::Toml`] with line and column.
    pub fn from_toml(text: &str) -> Result<Self, LoadError> {
        Self::read(text, std::iter::empty())
    }

    fn read(text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, LoadError> {
        let refuse =
            |error: toml::de::Error| LoadError::Toml { place: String::new(), message: with_hint(&error.to_string()) };
        let config: Self = toml::from_str(text).map_err(refuse)?;
        let mut table: toml::Table = toml::from_str(text).map_err(refuse)?;
        let mut overridden = None;
        for (name, value) in environment.filter(|(n, _)| n.starts_with(PREFIX) && !NOT_KEYS.contains(&n.as_str())) {
            let mut next = table.clone();
            set(&mut next, &name, &value);
            let read = Self::deserialize(next.clone());
            overridden = Some(read.map_err(|e| LoadError::Environment { name, message: with_hint(&e.to_string()) })?);
            table = next;
        }
        Ok(overridden.unwrap_or(config))
    }

    /// Files that are named in the configuration are found from where it stands.
    fn relative_to(mut self, dir: &Path) -> Self {
        let named = [
            &mut self.secret_file,
            &mut self.proxy.tls.cert,
            &mut self.proxy.tls.key,
            &mut self.proxy.admin_token_file,
            &mut self.visitor.ranges.file,
            &mut self.visitor.asn_db,
            &mut self.action.templates,
        ];
        for file in named.into_iter().flatten() {
            *file = dir.join(&*file).display().to_string();
        }
        self
    }
}

/// `DECKLE_PAGE__GUARD__MODE=off` → `page.guard.mode = "off"`. A value that parses as TOML is taken as such.
fn set(table: &mut toml::Table, name: &str, value: &str) {
    let path = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
    let mut keys: Vec<&str> = path.split("__").collect();
    let Some(last) = keys.pop() else { return };
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| toml::Table::new().into());
        if !next.is_table() {
            *next = toml::Table::new().into();
        }
        match next.as_table_mut() {
            Some(inner) => at = inner,
            None => return,
        }
    }
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
    // Categories are written with `-`.
    let last = if name.contains("__POLICY__") { last.replace('_', "-") } else { last.to_owned() };
    at.insert(last, parsed.unwrap_or_else(|| value.into()));
}

/// Adds the nearest known name to "unknown field `x`, expected one of `a`, `b`".
fn with_hint(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let is_unknown = message.contains("unknown field") || message.contains("unknown variant");
    let start = names.iter().rposition(|n| {
        message.contains(&format!("unknown field `{n}`")) || message.contains(&format!("unknown variant `{n}`"))
    });
    let (Some(start), true) = (start, is_unknown) else { return message.trim_end().to_owned() };
    let wrong = names.get(start).copied().unwrap_or_default();
    let known = names.get(start + 1..).unwrap_or_default();
    let nearest = known.iter().map(|k| (strsim::levenshtein(wrong, k), *k)).filter(|(d, _)| *d <= NEAR).min();
    let hint = nearest.map(|(_, k)| format!("\ndid you mean `{k}`?")).unwrap_or_default();
    format!("{}{hint}", message.trim_end())
}

#[cfg(test)]
#[cfg(feature = "html")]
mod tests {
    use super::*;
    use crate::action::{Action, Mode};
    use crate::page::guard::GuardMode;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, LoadError> {
        Config::read("mode = \"observe\"", pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_beats_the_file() {
        let config = env(&[
            ("DECKLE_MODE", "enforce"),
            ("DECKLE_PAGE__GUARD__MODE", "off"),
            ("DECKLE_PAGE__GUARD__MIN_WORDS", "50"),
            ("DECKLE_ACTION__POLICY__AI_TRAIN", "block"),
            ("DECKLE_VISITOR__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("DECKLE_SECRET", "not a key"),
            ("DECKLE_CORPUS", "of the tests"),
            ("DECKLE_CLICKHOUSE_PASSWORD", "not a key"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(
            (config.mode, config.page.guard.mode, config.page.guard.min_words),
            (Mode::Enforce, GuardMode::Off, 50)
        );
        assert_eq!(config.visitor.trusted_proxies, ["10.0.0.0/8"]);
        assert!(config.action.policy.categories.contains_key(&crate::visitor::Category::AiTrain));
        let error = env(&[("DECKLE_PAGE__GARD__MODE", "off")]).unwrap_err().to_string();
        assert!(error.contains("DECKLE_PAGE__GARD__MODE") && error.contains("did you mean `guard`?"), "{error}");
    }

    #[test]
    fn errors_name_place_and_way_out() {
        let error = |text: &str| Config::from_toml(text).unwrap_err().to_string();
        let unknown = error("[page]\nenabeld = true\n");
        assert!(unknown.contains("line 2") && unknown.contains("did you mean `enabled`?"), "{unknown}");
        let value = error("[page]\nmax_memory = \"2 bananas\"\n");
        assert!(value.contains("line 2") && value.contains("64KiB"), "{value}");
        let variant = error("mode = \"enforec\"\n");
        assert!(variant.contains("did you mean `enforce`?"), "{variant}");
        assert!(error("[action]\nmax_action = \"explode\"").contains("block"));
        assert_eq!(Config::from_toml("[action]\nmax_action = \"tag\"").unwrap().action.max_action, Action::Tag);
    }

    #[test]
    fn files_are_found_from_the_configuration() {
        let dir = std::env::temp_dir().join(format!("deckle-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("deckle.toml");
        std::fs::write(
            &path,
            "secret_file = \"key\"\n[visitor]\nasn_db = \"a.mmdb\"\n[visitor.ranges]\nfile = \"r.json\"\n",
        )
        .unwrap();
        let config = Config::from_path(&path).unwrap();
        assert_eq!(config.secret_file.as_deref(), Some(dir.join("key").to_str().unwrap()));
        assert_eq!(config.visitor.ranges.file.as_deref(), Some(dir.join("r.json").to_str().unwrap()));
        assert_eq!(config.visitor.asn_db.as_deref(), Some(dir.join("a.mmdb").to_str().unwrap()));
        std::fs::write(&path, "nonsense").unwrap();
        let error = Config::from_path(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        assert!(matches!(Config::from_path(dir.join("none")), Err(LoadError::Io { .. })));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
