//! What may be done with a text, and whether it is said.

use serde::{Deserialize, Serialize};

/// A statement. Never a boolean: silence is no consent and no refusal. Ordered by strictness, so that the stricter of two
/// is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pref {
    /// Nothing is said.
    #[default]
    Unstated,
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// A use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// Fetching at all.
    Crawl,
    /// Showing in search results.
    Search,
    /// As input of an answer that a model gives.
    AiInput,
    /// In an index that models search.
    AiIndex,
    /// Training of models.
    AiTrain,
    /// Text and data mining (Directive (EU) 2019/790 Art. 4).
    Tdm,
    /// Keeping a copy for the public.
    Archive,
}

/// What is said about each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uses {
    /// Fetching at all.
    #[serde(skip_serializing_if = "is_unstated")]
    pub crawl: Pref,
    /// Showing in search results.
    #[serde(skip_serializing_if = "is_unstated")]
    pub search: Pref,
    /// As input of an answer that a model gives.
    #[serde(skip_serializing_if = "is_unstated")]
    pub ai_input: Pref,
    /// In an index that models search.
    #[serde(skip_serializing_if = "is_unstated")]
    pub ai_index: Pref,
    /// Training of models.
    #[serde(skip_serializing_if = "is_unstated")]
    pub ai_train: Pref,
    /// Text and data mining.
    #[serde(skip_serializing_if = "is_unstated")]
    pub tdm: Pref,
    /// Keeping a copy for the public.
    #[serde(skip_serializing_if = "is_unstated")]
    pub archive: Pref,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form.
fn is_unstated(pref: &Pref) -> bool {
    *pref == Pref::Unstated
}

impl Uses {
    /// What is said about one.
    pub fn get(self, of: Use) -> Pref {
        match of {
            Use::Crawl => self.crawl,
            Use::Search => self.search,
            Use::AiInput => self.ai_input,
            Use::AiIndex => self.ai_index,
            Use::AiTrain => self.ai_train,
            Use::Tdm => self.tdm,
            Use::Archive => self.archive,
        }
    }

    /// Says something about one.
    pub fn set(&mut self, of: Use, pref: Pref) {
        *self.get_mut(of) = pref;
    }

    /// Of two statements the stricter one, use by use.
    #[must_use]
    pub fn stricter(mut self, other: Self) -> Self {
        for of in Use::ALL {
            self.set(of, self.get(of).max(other.get(of)));
        }
        self
    }

    pub(crate) fn get_mut(&mut self, of: Use) -> &mut Pref {
        match of {
            Use::Crawl => &mut self.crawl,
            Use::Search => &mut self.search,
            Use::AiInput => &mut self.ai_input,
            Use::AiIndex => &mut self.ai_index,
            Use::AiTrain => &mut self.ai_train,
            Use::Tdm => &mut self.tdm,
            Use::Archive => &mut self.archive,
        }
    }
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Crawl, Self::Search, Self::AiInput, Self::AiIndex, Self::AiTrain, Self::Tdm, Self::Archive];
}
