//! What is written of a run.

use ccsmoke::load::answers::Fault;
use ccsmoke::load::report::{html, junit, markdown};

use super::{Source, Suite};

#[test]
fn every_form_of_a_report_is_made_of_the_report_alone() {
    let source = Source::with(Fault::Status(500), 4);
    let suite = Suite::arrivals(40, "1s", "e2e = [\"p50 < 20s\", \"p50 < 1us\", \"p99 < 20s\"]");
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 10, "{printed}");
    let page = html::render(&report);
    assert_eq!(page.matches("<svg").count(), 5, "five plots");
    assert!(page.contains("a planted failure") && page.contains("id=\"verdict\" class=\"broken\">Failed"));
    assert!(!page.contains("<script") && !page.contains("http://www.w3.org/1999/xhtml"), "nothing runs in it");
    let xml = junit::render(&report).unwrap();
    assert!(xml.contains("<failure") && xml.contains("<skipped") && xml.contains("e2e: p50"), "{xml}");
    let summary = markdown::render(&report);
    assert!(summary.contains("| e2e: p50 &lt;") || summary.contains("e2e: p50 \\< 20 s | ✓"), "{summary}");
    assert!(report.definitions["ttft"].contains("first content"));
}

#[test]
fn hostile_words_of_a_target_stay_words() {
    let source = Source::with(Fault::Status(500), 1);
    let suite = Suite::arrivals(20, "200ms", "");
    let (_, mut report, _) = suite.run(&source.url());
    let examples = report.scenarios[0].examples.values_mut().next().unwrap();
    *examples.0.values_mut().next().unwrap() = "<img src=x onerror=alert(1)> \u{1b}[31m | `x`".to_owned();
    let page = html::render(&report);
    assert!(!page.contains("<img src=x"), "escaped");
    let printed = ccsmoke::load::report::terminal::render(&report, ccsmoke::report::terminal::Colours::Off);
    assert!(!printed.contains('\u{1b}'));
}

#[test]
fn a_suite_can_name_where_its_reports_go() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "200ms", "errors = [\"count == 0\"]");
    let place = |name: &str| suite.folder.path().join(name);
    let names = ["a.json", "b.html", "c.xml", "d.md"];
    let [json, html, junit, markdown] = names.map(|name| format!("{:?}", place(name)));
    suite.change(
        "[target]",
        &format!("[reports]\njson = {json}\nhtml = {html}\njunit = {junit}\nmarkdown = {markdown}\n[target]"),
    );
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 0, "{printed}");
    assert!(names.iter().all(|name| place(name).is_file()), "{printed}");
    assert_eq!(ccsmoke::load::report::LoadReport::read(&place("a.json")).unwrap().scenarios, report.scenarios);
}
