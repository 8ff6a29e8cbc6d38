//! The probes of a run: those built in, or those of a folder. A new probe is a new file.

use std::path::Path;

use bytes::Bytes;

use crate::file_error::FileError;
use crate::probe::Probe;
use crate::text_rules::TextRules;

include!(concat!(env!("OUT_DIR"), "/probe_files.rs"));

/// The name of the file with the text rules, which stands among the probes.
const RULES_FILE: &str = "rules.toml";

/// Probes and the rules of the text verdict.
#[derive(Debug)]
pub struct ProbeSet {
    /// The probes, by name.
    pub probes: Vec<Probe>,
    /// The text rules.
    pub rules: TextRules,
    /// SHA-256 of the text of the rules' file, in hex.
    pub rules_sha256: String,
}

impl ProbeSet {
    /// The probes that were built in.
    ///
    /// # Errors
    /// A file is wrong, which the tests rule out.
    pub fn built_in() -> Result<Self, Vec<FileError>> {
        let files = PROBE_FILES.iter().map(|(name, text)| (Path::new("probes").join(name), Ok((*text).to_owned())));
        Self::from_files(files)
    }

    /// The probes of a folder: every `*.toml` in it; without a `rules.toml`, the built-in rules.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn read(folder: &Path) -> Result<Self, Vec<FileError>> {
        let unreadable = |e: std::io::Error| vec![FileError::whole(folder, format!("the folder cannot be read: {e}"))];
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                paths.push(path);
            }
        }
        let files = paths.into_iter().map(|path| {
            let text = FileError::read(&path, crate::probe::MAX_FILE_BYTES);
            (path, text)
        });
        Self::from_files(files)
    }

    fn from_files(
        files: impl Iterator<Item = (std::path::PathBuf, Result<String, FileError>)>,
    ) -> Result<Self, Vec<FileError>> {
        let (mut probes, mut rules, mut errors) = (Vec::new(), None, Vec::new());
        for (path, text) in files {
            let parsed = text.and_then(|text| {
                if path.file_name().is_some_and(|n| n == RULES_FILE) {
                    TextRules::parse(&path, &text).map(|r| rules = Some((r, sha256(&text))))
                } else {
                    Probe::parse(&path, &text).map(|p| probes.push(p))
                }
            });
            errors.extend(parsed.err());
        }
        if rules.is_none() && errors.is_empty() {
            let built_in = PROBE_FILES.iter().find(|(name, _)| *name == RULES_FILE).map_or("", |(_, text)| text);
            match TextRules::parse(Path::new(RULES_FILE), built_in) {
                Ok(parsed) => rules = Some((parsed, sha256(built_in))),
                Err(e) => errors.push(e),
            }
        }
        errors.sort_by(|a, b| a.path.cmp(&b.path));
        probes.sort_by(|a: &Probe, b| a.id.cmp(&b.id));
        match rules {
            Some((rules, rules_sha256)) if errors.is_empty() => Ok(Self { probes, rules, rules_sha256 }),
            _ => Err(errors),
        }
    }

    /// The probe of that name.
    pub fn get(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|p| p.id == name)
    }
}

/// SHA-256 of a file's text, in hex.
pub fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    format!("{:x}", Bytes::copy_from_slice(&sha2::Sha256::digest(text)))
}
