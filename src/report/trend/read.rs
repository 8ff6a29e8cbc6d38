//! History from files: many reports read at once, each reduced to what history needs before the next one is read.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Reduced, SkippedFile, Trend};
use crate::report::store::read_reduced;

/// Reports by their files, and files that are none.
type Files = (Vec<(String, Reduced)>, Vec<SkippedFile>);

/// The history that these files tell, read by so many threads. A file that cannot be read is named in it and left out.
pub fn read(files: &[PathBuf], threads: usize) -> Trend {
    let next = AtomicUsize::new(0);
    let read: Mutex<Files> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                let (mut reports, mut skipped) = (Vec::new(), Vec::new());
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let file = path.display().to_string();
                    match read_reduced(path) {
                        Ok(report) => reports.push((file, report)),
                        Err(e) => skipped.push(SkippedFile { file, why: e.to_string() }),
                    }
                }
                // Nobody panics while holding it, so what it holds is whole.
                let mut all = read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                all.0.append(&mut reports);
                all.1.append(&mut skipped);
            });
        }
    });
    let (reports, mut skipped) = read.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    skipped.sort_by(|a, b| a.file.cmp(&b.file));
    Trend::of(reports, skipped)
}
