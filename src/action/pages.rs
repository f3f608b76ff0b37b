//! The pages that deckle answers with itself: `assets/pages`, or the site's own (`action.templates`).

use std::path::Path;

use minijinja::{Environment, UndefinedBehavior, Value};

use super::ActionError;

/// Longest page in bytes, as it is sent: a refusal must cost less than what it refuses.
const MOST: usize = 16 << 10;

/// A compiled page.
#[derive(Debug)]
pub(super) struct Page {
    environment: Environment<'static>,
    name: &'static str,
}

impl Page {
    /// `builtin`, or the file `name` in `folder` if it is there.
    ///
    /// # Errors
    /// [`ActionError::Page`] for a file that cannot be read or does not compile.
    pub(super) fn new(folder: Option<&str>, name: &'static str, builtin: &'static str) -> Result<Self, ActionError> {
        if let Some(folder) = folder.filter(|folder| !Path::new(folder).is_dir()) {
            return Err(refuse(folder, "there is no such folder".to_owned()));
        }
        let mut environment = Environment::new();
        // A name that is misspelt is an error at the start, not a gap in front of a reader.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        let text = match folder.map(|folder| Path::new(folder).join(name)).filter(|file| file.exists()) {
            Some(file) => std::fs::read_to_string(file).map_err(|error| refuse(name, error.to_string()))?,
            None => builtin.to_owned(),
        };
        // Names end in `.html`: minijinja escapes by name.
        environment.add_template_owned(name, text).map_err(|error| refuse(name, whole(&error)))?;
        Ok(Self { environment, name })
    }

    pub(super) fn render(&self, values: Value) -> Result<String, minijinja::Error> {
        self.environment.get_template(self.name)?.render(values)
    }

    /// Does a sample of it hold what it must? Each branch needs one.
    ///
    /// # Errors
    /// [`ActionError::Page`] names the file and what is missing.
    pub(super) fn check(&self, sample: Value, must_hold: &[(&str, &str)]) -> Result<(), ActionError> {
        let page = self.render(sample).map_err(|error| refuse(self.name, whole(&error)))?;
        if page.len() > MOST {
            return Err(refuse(self.name, format!("it gets {} bytes long, {MOST} are the most", page.len())));
        }
        match must_hold.iter().find(|(text, _)| !page.contains(text)) {
            Some((_, what)) => Err(refuse(self.name, format!("it lacks {what}"))),
            None => Ok(()),
        }
    }
}

fn refuse(name: &str, message: String) -> ActionError {
    ActionError::Page { name: name.to_owned(), message }
}

/// With the line.
fn whole(error: &minijinja::Error) -> String {
    format!("{error:#}")
}
