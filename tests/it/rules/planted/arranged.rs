//! Defects in what a probe arranges beside a plain answer: failures of the provider, requests of ccsmoke's own, files of the
//! client. The cell is one of another probe, which did none of it.

use ccsmoke::evidence::{ConfigFile, Evidence, SendFacts};
use ccsmoke::finding::Suspect::Client;
use ccsmoke::verdict::Classification::HarnessBug;

use super::{Planted, TEXT, by, wire};

fn as_if_of(e: &mut Evidence, probe: &str) {
    probe.clone_into(&mut e.cell.probe);
}

pub(super) fn all() -> Vec<Planted> {
    vec![
        by(Client, HarnessBug, "request-not-as-arranged", TEXT, "no canary", |e| as_if_of(e, "canaries")),
        wire("reaction-missing", TEXT, "no retry", |e| as_if_of(e, "error_rate_limited")).beside(),
        wire("error-not-told", TEXT, "a success", |e| as_if_of(e, "error_bad_request")).beside(),
        wire("token-count-not-used", TEXT, "no count", |e| as_if_of(e, "count_tokens")).beside(),
        wire("client-file-incomplete", TEXT, "no list of models", |e| {
            as_if_of(e, "discovery");
            e.config.push(ConfigFile { path: "cache/gateway-models.json".to_owned(), text: None });
        })
        .beside(),
        wire("send-answered-otherwise", TEXT, "no answer", |e| {
            as_if_of(e, "http_plain");
            let error = Some("connection closed".to_owned());
            e.sends.push(SendFacts { name: "stream is false".to_owned(), exchange: None, left: false, error });
        })
        .beside(),
    ]
}
