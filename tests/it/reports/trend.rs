//! Many nights in a row.

use ccsmoke::finding::Suspect;
use ccsmoke::report::MatrixReport;
use ccsmoke::report::terminal::{Colours, Screen};
use ccsmoke::report::trend::read::read;
use ccsmoke::report::trend::{Reduced, SkippedFile, Trend, terminal};

use crate::support::reports::{failed, first_night, report, row, second_night, skipped, tried_twice};

const SCREEN: Screen = Screen { colours: Colours::Off, columns: Some(100) };

/// Nights of one cell: `.` passed, `x` failed, `-` skipped, `r` passed at the second attempt, a space where it was not run.
fn nights(history: &str) -> Trend {
    let night = |(i, how): (usize, char)| {
        let good = row("g", "g/m", "f");
        let rows = match how {
            '.' => vec![good],
            'x' => vec![failed(good, "thinking-unsigned", Suspect::Gateway, "words")],
            '-' => vec![skipped(good)],
            'r' => vec![tried_twice(good)],
            _ => vec![],
        };
        let report = report(&format!("2026-01-{:02}T03:17:00Z", i + 1), rows);
        (format!("night-{i:02}.json"), Reduced::from(&report))
    };
    Trend::of(history.chars().enumerate().map(night), Vec::new())
}

/// The flake rate in percent, and the nights since when and until when the cell was broken and worked.
fn numbers(history: &str) -> (i64, Option<usize>, Option<usize>) {
    let trend = nights(history);
    let cell = &trend.cells[0];
    #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
    let percent = (cell.flake_rate() * 100.0).round() as i64;
    let broken = cell.broken();
    (percent, broken.map(|b| b.since.night), broken.and_then(|b| b.worked).map(|p| p.night))
}

#[test]
fn what_comes_and_goes_is_a_flake_and_what_stays_is_broken() {
    assert_eq!(numbers("......"), (0, None, None));
    assert_eq!(numbers("...xxx"), (0, Some(3), Some(2)));
    assert_eq!(numbers(".....x"), (0, Some(5), Some(4)));
    assert_eq!(numbers("x....."), (0, None, None), "mended for good");
    assert_eq!(numbers("..xx.."), (0, None, None), "an outage of two nights is none");
    assert_eq!(numbers("...x.."), (17, None, None));
    assert_eq!(numbers(".x.x.x"), (67, Some(5), Some(4)));
    assert_eq!(numbers("..r..."), (17, None, None), "the second attempt passed");
    assert_eq!(numbers(". x-x "), (0, Some(2), Some(0)), "nights that say nothing are passed over");
    assert_eq!(numbers("xxx"), (0, Some(0), None));
    assert_eq!(numbers("--"), (0, None, None));
}

#[test]
fn the_table_says_since_when_and_what_changed_then() {
    let mut all = vec![first_night(), second_night()];
    for (i, night) in (3..9).enumerate() {
        let mut report = second_night();
        report.started_at = format!("2026-01-{night:02}T03:17:00Z");
        report.duration_s = 3.0 + f64::from(u32::try_from(i).unwrap());
        all.push(report);
    }
    all.reverse();
    let named = all.iter().enumerate().map(|(i, report)| (format!("results/{i}.json"), Reduced::from(report)));
    let why = "results/x.json: is not a matrix report:\n  not JSON".to_owned();
    let trend = Trend::of(named, vec![SkippedFile { file: "results/x.json".to_owned(), why }]);
    insta::assert_snapshot!(terminal::render(&trend, 30, SCREEN));
    let narrow = terminal::render(&trend, 4, Screen { columns: None, ..SCREEN });
    insta::assert_snapshot!(narrow.lines().take(3).collect::<Vec<_>>().join("\n"));
}

#[test]
fn versions_are_cells_of_their_own_where_one_report_compares_them() {
    let mut other = row("g", "g/m", "f");
    other.cli_version = "2.1.330".to_owned();
    let follow = |first: MatrixReport| {
        let second = report("2026-01-02T00:00:00Z", vec![other.clone()]);
        Trend::of([("a".to_owned(), Reduced::from(&first)), ("b".to_owned(), Reduced::from(&second))], Vec::new())
    };
    let latest = follow(report("2026-01-01T00:00:00Z", vec![row("g", "g/m", "f")]));
    assert_eq!((latest.cells.len(), latest.cells[0].points.len()), (1, 2), "the latest client, night by night");
    let compared = follow(report("2026-01-01T00:00:00Z", vec![row("g", "g/m", "f"), other.clone()]));
    let versions: Vec<_> = compared.cells.iter().map(|c| (c.cli_version.as_deref(), c.points.len())).collect();
    assert_eq!(versions, [(Some("2.1.330"), 2), (Some("2.1.329"), 1)]);
}

#[test]
fn files_are_read_by_any_number_of_threads_alike_and_bad_ones_are_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for i in 0..50 {
        let path = folder.path().join(format!("ccsmoke-matrix-main-{i}.json"));
        let mut night = first_night();
        night.started_at = format!("2026-01-01T03:{i:02}:00Z");
        let text = serde_json::to_string(&night).unwrap();
        let text = match i {
            7 => &text[..text.len() / 2],
            8 => "{}",
            9 => "",
            _ => &text,
        };
        std::fs::write(&path, text).unwrap();
        files.push(path);
    }
    files.push(folder.path().join("absent.json"));
    files.push(folder.path().to_owned());
    let trend = read(&files, 1);
    assert_eq!((trend.nights.len(), trend.skipped.len()), (47, 5));
    for file in &trend.skipped {
        assert!(file.why.starts_with(&file.file), "{file:?}");
    }
    assert_eq!(read(&files, 7), trend);
    assert_eq!(read(&[], 4), Trend::default());
}
