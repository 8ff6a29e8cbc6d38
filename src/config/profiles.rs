//! The profiles that a target can start from, by name: those of `probes/gateways/`, which are built in.

use std::path::{Path, PathBuf};

use super::layer::Layer;
use super::profile::Profile;
use crate::file_error::FileError;

include!(concat!(env!("OUT_DIR"), "/gateway_files.rs"));

/// Profiles by name.
#[derive(Debug, Clone, Default)]
pub struct Profiles(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    layer: Layer,
    text: String,
    profile: Profile,
}

impl Profiles {
    /// The built-in profiles.
    ///
    /// # Errors
    /// A file is wrong, which the tests rule out.
    pub fn built_in() -> Result<Self, Vec<FileError>> {
        let files = GATEWAY_FILES.iter();
        Self::from_files(files.map(|(name, text)| (Path::new("probes/gateways").join(name), (*text).to_owned())))
    }

    /// Profiles of files, given by path and text. They cannot start from each other.
    ///
    /// # Errors
    /// The first mistake of every file that is wrong.
    pub fn from_files(files: impl IntoIterator<Item = (PathBuf, String)>) -> Result<Self, Vec<FileError>> {
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for (path, text) in files {
            let parsed = Layer::parse(&path, &text)
                .and_then(|layer| Ok((layer.clone(), Profile::resolve(layer, &path, &text, &Self::default())?)));
            match parsed {
                Ok((layer, profile)) => entries.push(Entry { layer, text, profile }),
                Err(e) => errors.push(e),
            }
        }
        entries.sort_by(|a: &Entry, b| a.profile.name.cmp(&b.profile.name));
        if errors.is_empty() { Ok(Self(entries)) } else { Err(errors) }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.profile.name == name)
    }

    /// The profile of that name.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.entry(name).map(|entry| &entry.profile)
    }

    /// The text of its file.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.text.as_str())
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.profile.name.as_str())
    }

    /// What its file says, for another file to start from.
    pub(super) fn layer(&self, name: &str) -> Option<&Layer> {
        self.entry(name).map(|entry| &entry.layer)
    }
}
