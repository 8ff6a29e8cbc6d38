//! What several subjects of the tests need: running `ccsmoke` as a person would.

pub(crate) mod reports;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use ccsmoke::file_error::FileError;
use serde_json::Value;
use tokio_rustls::{TlsAcceptor, rustls};

/// The program under test, with a quiet terminal.
pub(crate) fn ccsmoke() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccsmoke"));
    command.env("NO_COLOR", "1").env_remove("COLUMNS").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// What is said of each of these mistakes, for a snapshot: what it is, and what in a good file is replaced by what.
pub(crate) fn mistakes(good: &str, wrong: &[(&str, &str, &str)], error: impl Fn(&str) -> String) -> String {
    let shown = wrong.iter().map(|(what, from, to)| {
        assert!(good.contains(from), "{what}: {from:?} is not in the file");
        format!("--- {what}\n{}\n", error(&good.replacen(from, to, 1)))
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// A good file with a splinter in place of some bytes, which need not be whole characters nor all be there.
pub(crate) fn splintered(good: &str, hole: Range<usize>, splinter: &str) -> String {
    let bytes = good.as_bytes();
    let (before, after) = (&bytes[..hole.start], &bytes[hole.end.min(bytes.len())..]);
    [&String::from_utf8_lossy(before), splinter, &String::from_utf8_lossy(after)].concat()
}

/// Fails unless an error names its file, and a place that this text has.
pub(crate) fn assert_placed(error: &FileError, file: &str, text: &str) {
    assert!(error.to_string().starts_with(file), "{error}");
    if let Some(place) = &error.place {
        assert!(place.line >= 1 && place.column >= 1 && place.width >= 1, "{error}");
        assert!(place.line <= text.lines().count() + 1, "{error}");
    }
}

/// Runs it, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server's side of TLS as `localhost`, and the certificate of its CA as PEM.
pub(crate) fn tls() -> (TlsAcceptor, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(server)), ca_certificate.pem())
}

/// The one report in a results folder.
pub(crate) fn report(results: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(report_path(results)).unwrap()).unwrap()
}

/// The path of the one report in a results folder.
pub(crate) fn report_path(results: &Path) -> PathBuf {
    let mut reports: Vec<_> = std::fs::read_dir(results)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

/// A copy of the project's probes in a folder of its own, with replacements in them: file, what stands there, what is to stand there.
pub(crate) fn probes_with(changes: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("probes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for (file, from, to) in changes.iter().filter(|(file, ..)| *file == name) {
            assert!(text.contains(from), "{file} does not hold {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}
