//! What is tested: targets, as `ccsmoke.toml` and gateway profiles describe them. `docs/ccsmoke.example.toml` shows every key.
//!
//! A profile file describes one target; `ccsmoke.toml` holds `[[target]]` tables with the same keys. Either may start from a
//! built-in profile with `profile = "NAME"`: its own keys then replace those of the profile (tables of variables key by key).
//! Files are strict, and every mistake is shown at its place.

mod checks;
mod layer;
mod limits;
mod profile;
mod profiles;
mod rewrite;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::file_error::FileError;
pub use checks::{Audit, Checks, Counter, Fallback, Metrics, Price, Routing};
use layer::Layer;
use limits::LimitsLayer;
pub use limits::{AMOUNT, Limits, is_amount};
pub use profile::{Behind, CredentialSource, Log, NoModels, Profile, Start, Way};
pub use profiles::Profiles;
pub use rewrite::Rewrite;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "ccsmoke.toml";

/// The largest configuration or profile file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What a `ccsmoke.toml` says.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file as it is named in messages; relative paths in it start at its folder.
    pub path: PathBuf,
    /// Its targets in the order of the file, at least one; their names differ.
    pub targets: Vec<Profile>,
    /// What a cell and a run may use up.
    pub limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    limits: LimitsLayer,
    #[serde(default)]
    target: Vec<Spanned<Layer>>,
}

impl Config {
    /// Parses and checks a configuration. `path` names it in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(path: &Path, text: &str, profiles: &Profiles) -> Result<Self, FileError> {
        let file: ConfigFile = toml::from_str(text).map_err(|e| FileError::toml(path, text, &e))?;
        let limits = file.limits.check().map_err(|(span, message)| FileError::at(path, text, span, message))?;
        let mut targets: Vec<Profile> = Vec::new();
        for target in file.target {
            let header = target.span();
            let layer = target.into_inner();
            let port_place = layer.provider_port_place().unwrap_or_else(|| header.clone());
            let name_place = layer.name_place().unwrap_or_else(|| header.clone());
            let profile = layer
                .resolve(header, None, path, profiles)
                .map_err(|(span, message)| FileError::at(path, text, span, message))?;
            if targets.iter().any(|t| t.name == profile.name) {
                let message = format!("two targets are called {:?}; give this one another `name`", profile.name);
                return Err(FileError::at(path, text, name_place, message));
            }
            if profile.provider_port.is_some() && targets.iter().any(|t| t.provider_port == profile.provider_port) {
                let message = "another target has this `provider_port`; every one needs a port of its own, so that it is known \
                               whose requests arrive";
                return Err(FileError::at(path, text, port_place, message.to_owned()));
            }
            targets.push(profile);
        }
        if targets.is_empty() {
            return Err(FileError::whole(path, "names no [[target]]; `ccsmoke init` writes one to start from"));
        }
        Ok(Self { path: path.to_owned(), targets, limits })
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is wrong somewhere.
    pub fn read(path: &Path, profiles: &Profiles) -> Result<Self, FileError> {
        let text = FileError::read(path, MAX_FILE_BYTES)?;
        Self::parse(path, &text, profiles)
    }

    /// The configuration file of this folder, or of the nearest folder above it that has one.
    pub fn find_upwards(folder: &Path) -> Option<PathBuf> {
        folder.ancestors().map(|folder| folder.join(CONFIG_FILE)).find(|path| path.is_file())
    }
}
