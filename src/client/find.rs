//! Where a client comes from when no version is asked for: given, on the search path, in the cache, through npm.

use std::path::{Path, PathBuf};

use super::{Client, ClientError, Listener, PINNED_VERSION, Source, Surroundings, inspect, install};

/// Finds the client: the given path; else `claude` on the search path; else the pinned version, from the cache or npm.
///
/// A path that was given, or a `claude` that was found, is taken or refused, never passed over: a run must not quietly
/// test another client than the one that is plainly there.
///
/// # Errors
/// See [`ClientError`]; [`ClientError::is_usage`] tells a wrong path from a machine without a client.
pub async fn find(
    given: Option<&Path>,
    surroundings: &Surroundings<'_>,
    listener: &mut Listener<'_>,
) -> Result<Client, ClientError> {
    if let Some(given) = given {
        let path = surroundings.folder.join(given);
        return inspect(&path, Source::Given, surroundings).await.map_err(|why| ClientError::Given { path, why });
    }
    if let Some(path) = surroundings.program("claude") {
        return inspect(&path, Source::Path, surroundings).await.map_err(|why| ClientError::OnPath { path, why });
    }
    install::version(PINNED_VERSION, surroundings, listener).await
}

/// Where [`find`] would find a client without fetching one. It need not be usable.
pub fn locate(given: Option<&Path>, surroundings: &Surroundings<'_>) -> Option<(PathBuf, Source)> {
    if let Some(given) = given {
        return Some((surroundings.folder.join(given), Source::Given));
    }
    let on_path = surroundings.program("claude").map(|path| (path, Source::Path));
    on_path.or_else(|| install::cached(PINNED_VERSION, surroundings).map(|path| (path, Source::Cache)))
}
