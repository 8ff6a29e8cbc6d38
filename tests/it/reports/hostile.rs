//! What comes from outside is text in every output.

use ccsmoke::report::diff::{self, Diff};
use ccsmoke::report::terminal::{self, Colours, Detail, Screen};
use ccsmoke::report::trend::{self, Reduced, SkippedFile, Trend};
use ccsmoke::report::{github, junit, markdown};

use crate::support::reports::{HOSTILE, first_night, hostile};

const SCREEN: Screen = Screen { colours: Colours::Off, columns: Some(80) };

/// Control characters and characters that are not seen, but for line breaks and tabs.
fn unseen(text: &str) -> Vec<char> {
    let treacherous =
        |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{feff}');
    text.chars().filter(|&c| (c.is_control() && c != '\n' && c != '\t') || treacherous(c)).collect()
}

#[test]
fn nothing_unseen_leaves_in_any_format() {
    let (good, bad) = (first_night(), hostile());
    let named = [("a".to_owned(), Reduced::from(&good)), (HOSTILE.to_owned(), Reduced::from(&bad))];
    let trend = Trend::of(named, vec![SkippedFile { file: HOSTILE.to_owned(), why: HOSTILE.to_owned() }]);
    let (there, back) = (Diff::of(&good, &bad), Diff::of(&bad, &good));
    let texts = [
        terminal::render(&bad, HOSTILE, SCREEN, Detail::Full),
        terminal::render(&bad, HOSTILE, Screen { columns: None, ..SCREEN }, Detail::Brief),
        markdown::render(&bad),
        github::render(&bad),
        junit::render(&bad).unwrap(),
        diff::terminal::render(&there, HOSTILE, SCREEN),
        diff::terminal::render(&back, HOSTILE, SCREEN),
        diff::markdown::render(&there),
        diff::markdown::render(&back),
        trend::terminal::render(&trend, 30, SCREEN),
    ];
    for text in &texts {
        assert!(unseen(text).is_empty(), "{:?} in {text}", unseen(text));
    }
    // Nothing may stand at the beginning of a line that a runner would take for its own command.
    for text in texts.iter().take(2).chain(&texts[5..7]).chain(&texts[9..]) {
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text}");
    }
    for line in texts[3].lines() {
        assert!(line.starts_with("::error title="), "{line}");
        assert_eq!(line.matches("::error title").count(), 1, "{line}");
        // The runner makes line ends of `%0A`, and separates by `:` and `,` what stands before the message.
        assert!(line.contains("%250A") && !line.contains("%0A"), "{line}");
    }
}

#[test]
fn xml_is_whole_and_gives_the_words_back() {
    let xml = junit::render(&hostile()).unwrap();
    let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let case = &read.test_suites[0].test_cases[0];
    assert!(case.name.as_str().starts_with("<img src=x onerror=alert(1)></script>]]>\\u{1b}[31m"), "{:?}", case.name);
    assert!(case.system_out.as_ref().unwrap().as_str().contains("</script>]]>"));
    assert!(!xml.contains("<img") && !xml.contains("]]>"));
}

#[test]
fn markdown_holds_hostile_words_in_code_spans_only() {
    let text = markdown::render(&hostile());
    // Outside of code spans nothing of it is left. A span begins and ends with the same number of backticks.
    let (mut outside, mut rest) = (String::new(), text.as_str());
    while let Some(start) = rest.find('`') {
        outside.push_str(&rest[..start]);
        let fence = &rest[start..start + rest[start..].bytes().take_while(|b| *b == b'`').count()];
        let mut inside = &rest[start + fence.len()..];
        loop {
            let at = inside.find('`').unwrap_or_else(|| panic!("a code span does not end: {rest}"));
            let run = inside[at..].bytes().take_while(|b| *b == b'`').count();
            inside = &inside[at + run..];
            if run == fence.len() {
                break;
            }
        }
        rest = inside;
    }
    outside.push_str(rest);
    for word in ["<img", "script", "everyone", "http", "onerror", "\u{1b}"] {
        assert!(!outside.contains(word), "{word} is outside: {outside}");
    }
}
