//! The form of the report: its schema, its versions, and files that are no reports.

use std::path::{Path, PathBuf};

use ccsmoke::report::SCHEMA_VERSION;
use ccsmoke::report::schema::{document, schema};
use ccsmoke::report::store::{read_report, write_report};
use serde_json::{Value, json};

use crate::support::reports::{first_night, hostile, large};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_schema_in_the_documentation_is_that_of_the_types() {
    let kept = std::fs::read_to_string(here("docs/matrix-report.schema.json")).unwrap();
    let hint = "run `cargo run -- report schema > docs/matrix-report.schema.json`";
    assert!(kept == document(), "docs/matrix-report.schema.json is not up to date: {hint}");
}

/// Checks a value against the part of JSON Schema that the report's schema uses; anything else in the schema fails.
fn fits(schema: &Value, root: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let complain = |words: String| Err(format!("{at}: {words}"));
        match keyword.as_str() {
            "description" | "maximum" | "title" | "$schema" | "$defs" | "format" | "default" => {}
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                fits(&root["$defs"][name], root, value, at)?;
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    "null" => value.is_null(),
                    other => panic!("{other}"),
                };
                if !rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is)) {
                    return complain(format!("{value} is not {rule}"));
                }
            }
            "const" => {
                if value != rule {
                    return complain(format!("{value} is not {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|v| v < rule.as_f64().unwrap()) {
                    return complain(format!("{value} is less than {rule}"));
                }
            }
            "required" => {
                if let Some(name) =
                    rule.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none())
                {
                    return complain(format!("{name} is absent"));
                }
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fits(inner, root, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(rule, root, item, &format!("{at}[]"))?;
                }
            }
            "additionalProperties" => {
                for item in value.as_object().into_iter().flat_map(|map| map.values()) {
                    fits(rule, root, item, &format!("{at}{{}}"))?;
                }
            }
            "oneOf" | "anyOf" => {
                let tried: Vec<_> = rule.as_array().unwrap().iter().map(|s| fits(s, root, value, at)).collect();
                if tried.iter().all(Result::is_err) {
                    return complain(format!("{value} is none of {rule}"));
                }
            }
            other => panic!("the schema says {other:?}, which this test does not know"),
        }
    }
    Ok(())
}

/// The sample report that the repository holds.
fn sample() -> PathBuf {
    let mut reports = std::fs::read_dir(here("results/sample")).unwrap().map(|e| e.unwrap().path());
    reports.find(|path| path.extension().is_some_and(|e| e == "json")).unwrap()
}

#[test]
fn reports_of_every_age_fit_the_schema() {
    let schema = schema();
    let stored: Value = serde_json::from_slice(&std::fs::read(sample()).unwrap()).unwrap();
    for report in [json!(first_night()), json!(hostile()), json!(large(64)), stored, oldest()] {
        fits(&schema, &schema, &report, "report").unwrap();
    }
    let mut wrong = json!(first_night());
    wrong["outcomes"][0]["outcome"] = json!("perhaps");
    assert!(fits(&schema, &schema, &wrong, "report").is_err());
    wrong["outcomes"][0].as_object_mut().unwrap().remove("outcome");
    assert!(fits(&schema, &schema, &wrong, "report").unwrap_err().contains("outcome"));
}

/// A report as the first ccsmoke wrote it: without the fields that came later.
fn oldest() -> Value {
    let mut report = json!(first_night());
    report.as_object_mut().unwrap().remove("plan");
    for row in report["outcomes"].as_array_mut().unwrap() {
        let row = row.as_object_mut().unwrap();
        for later in ["target", "gateway_version", "control_path"] {
            row.remove(later);
        }
    }
    report
}

fn read(content: impl AsRef<[u8]>) -> Result<ccsmoke::report::MatrixReport, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    std::fs::write(&path, content).unwrap();
    read_report(&path).map_err(|e| e.to_string().replace(path.to_str().unwrap(), "r.json"))
}

#[test]
fn an_older_report_is_read_a_newer_one_refused_and_unknown_fields_are_passed_over() {
    assert_eq!(read(oldest().to_string()).unwrap().outcomes[0].target, "");
    let mut report = json!(first_night());
    report["something_new"] = json!({ "a": [1] });
    report["outcomes"][0]["something_new"] = json!(null);
    assert_eq!(read(report.to_string()).unwrap(), first_night());
    // Whatever else a newer form is.
    report["schema_version"] = json!(SCHEMA_VERSION + 1);
    report["outcomes"] = json!("elsewhere");
    let refused = read(report.to_string()).unwrap_err();
    let expected =
        format!("r.json: has schema_version {}, and this ccsmoke reads up to {SCHEMA_VERSION}", SCHEMA_VERSION + 1);
    assert!(refused.starts_with(&expected), "{refused}");
}

#[test]
fn what_is_no_report_is_refused_in_words() {
    let whole = json!(first_night()).to_string();
    let mut wrong = json!(first_night());
    wrong["outcomes"][3]["duration_s"] = json!("long");
    let deep = "[".repeat(100_000);
    let said = [
        "",
        "nonsense",
        "null",
        "[]",
        "{}",
        r#"{"schema_version": "1"}"#,
        r#"{"schema_version": -1}"#,
        r#"{"schema_version": 1}"#,
        r#"{"evidence_version": 1}"#,
        &whole[..whole.len() / 2],
        &deep,
        &wrong.to_string(),
    ]
    .map(|text| read(text).unwrap_err());
    // Where the text ends depends on what else is in a report.
    let said = regex::Regex::new(r"column \d+").unwrap().replace_all(&said.join("\n"), "column [N]").into_owned();
    insta::assert_snapshot!(said);
    assert!(read(b"{\"schema_version\": 1, \"target\": \"\xff\"}").is_err());
}

#[test]
fn a_huge_file_is_refused_unread_and_so_is_what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let huge = folder.path().join("huge.json");
    // A hole, which takes no room.
    std::fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    let started = std::time::Instant::now();
    let refused = read_report(&huge).unwrap_err().to_string();
    assert!(refused.contains("is larger than 256 MB"), "{refused}");
    let pipe = folder.path().join("pipe.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(read_report(&pipe).unwrap_err().to_string().contains("not a regular file"));
    assert!(read_report(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a regular file"));
    assert!(started.elapsed().as_secs() < 10);
    assert!(read_report(folder.path()).unwrap_err().to_string().contains("directory"));
    assert!(read_report(&folder.path().join("absent.json")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for report in [first_night(), hostile()] {
        let path = folder.path().join("a/b/r.json");
        write_report(&path, &report).unwrap();
        assert_eq!(read_report(&path).unwrap(), report);
    }
}
