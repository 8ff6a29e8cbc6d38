//! Where a page takes evidence from.

use std::path::{Component, Path, PathBuf};

use crate::evidence::Evidence;
use crate::report::store::read_evidence;

/// Evidence by its path in a report.
pub trait EvidenceSource {
    /// The evidence.
    ///
    /// # Errors
    /// It cannot be had; in words, which the page shows in its place.
    fn evidence(&self, path: &str) -> Result<Evidence, String>;
}

/// The largest evidence file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// The folder in which a report stands, with its evidence below.
#[derive(Debug, Clone)]
pub struct Beside(PathBuf);

impl Beside {
    /// The folder of the report at this path.
    pub fn report(path: &Path) -> Self {
        Self(path.parent().unwrap_or(Path::new("")).to_owned())
    }
}

impl EvidenceSource for Beside {
    fn evidence(&self, path: &str) -> Result<Evidence, String> {
        // A report can come from anywhere; it must not point at files elsewhere.
        if path.is_empty() || !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("its path does not lead into the report's folder".to_owned());
        }
        let file = self.0.join(path);
        let facts = std::fs::metadata(&file).map_err(|e| format!("it cannot be read: {e}"))?;
        if !facts.is_file() {
            return Err("it is not a file".to_owned());
        }
        if facts.len() > MAX_BYTES {
            return Err(format!("it is too large to be shown: {} bytes", facts.len()));
        }
        read_evidence(&file).map_err(|e| e.to_string())
    }
}

/// No evidence at all, for a report that came alone.
#[derive(Debug, Clone, Copy)]
pub struct NoEvidence;

impl EvidenceSource for NoEvidence {
    fn evidence(&self, _path: &str) -> Result<Evidence, String> {
        Err("the report came without it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let source = Beside::report(&folder.path().join("report.json"));
        for path in ["", "/etc/passwd", "../x/evidence.json", "a/../../x", "./x"] {
            assert!(source.evidence(path).unwrap_err().contains("does not lead"), "{path}");
        }
        assert!(source.evidence("missing.json").unwrap_err().contains("cannot be read"));
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert!(source.evidence("a").unwrap_err().contains("not a file"));
        let huge = std::fs::File::create(folder.path().join("huge.json")).unwrap();
        huge.set_len(MAX_BYTES + 1).unwrap();
        assert!(source.evidence("huge.json").unwrap_err().contains("too large"));
    }
}
