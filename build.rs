//! Takes the files of `probes/`, `probes/gateways/` and `probes/load/` into the program, so that an installed `ccsmoke` has them with it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

#[expect(clippy::disallowed_methods, reason = "cargo speaks with a build script through both")]
fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let (root, out) = (Path::new(&root), Path::new(&out));
    fs::write(out.join("probe_files.rs"), table(root, "probes", "PROBE_FILES")?)?;
    fs::write(out.join("gateway_files.rs"), table(root, "probes/gateways", "GATEWAY_FILES")?)?;
    fs::write(out.join("load_files.rs"), tree(root, "probes/load", "LOAD_FILES")?)
}

/// The TOML files of a folder as a Rust table of names and texts.
fn table(root: &Path, folder: &str, name: &str) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", root.join(folder).display());
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let mut table = format!("/// The files of `{folder}/` by name.\nstatic {name}: &[(&str, &str)] = &[\n");
    for path in files {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    table.push_str("];\n");
    Ok(table)
}

/// All files below a folder as a Rust table of relative paths and texts.
fn tree(root: &Path, folder: &str, name: &str) -> io::Result<String> {
    let top = root.join(folder);
    let mut files = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut table = format!("/// The files below `{folder}/` by path.\nstatic {name}: &[(&str, &str)] = &[\n");
    for path in files {
        let relative = path.strip_prefix(&top).unwrap_or(&path).display().to_string();
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(table, "    ({relative:?}, include_str!({:?})),", path.display().to_string());
    }
    table.push_str("];\n");
    Ok(table)
}
