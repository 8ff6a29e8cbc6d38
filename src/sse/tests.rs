//! The parser against the standard, and against any way of cutting a stream.

use proptest::prelude::*;

use super::*;

fn event(name: Option<&str>, data: &str, span: Range<u64>) -> Item {
    Item::Event(Event { name: name.map(Into::into), data: data.into(), id: None, span })
}

fn fault(kind: FaultKind, span: Range<u64>) -> Item {
    Item::Fault { kind, span }
}

#[test]
fn events_have_name_data_and_their_exact_bytes() {
    let stream = b"event: a\ndata: {\"x\":1}\n\ndata:one\ndata:  two\ndata\n\n";
    assert_eq!(
        parse(stream),
        [event(Some("a"), "{\"x\":1}", 0..24), event(None, "one\n two\n", 24..stream.len() as u64)]
    );
}

#[test]
fn all_three_line_ends_mean_the_same() {
    assert_eq!(parse(b"event:a\r\ndata:1\r\n\r\n"), [event(Some("a"), "1", 0..19)]);
    assert_eq!(parse(b"event:a\rdata:1\r\r"), [event(Some("a"), "1", 0..16)]);
    assert_eq!(parse(b"data:1\r\n\rdata:2\n\r\n"), [event(None, "1", 0..9), event(None, "2", 9..18)]);
}

#[test]
fn what_a_browser_hides_is_reported_with_its_place() {
    let cases: [(&[u8], &[Item]); 11] = [
        (b": ping\n", &[Item::Comment { text: " ping".into(), span: 0..7 }]),
        (b"retry: 30\n", &[Item::Retry { millis: 30, span: 0..10 }]),
        (b"retry: 3s\n", &[fault(FaultKind::NoEffect { field: "retry" }, 0..10)]),
        (b"id: a\0b\n", &[fault(FaultKind::NoEffect { field: "id" }, 0..8)]),
        (b"\xEF\xBB\xBFdata:1\n\n", &[fault(FaultKind::ByteOrderMark, 0..3), event(None, "1", 0..11)]),
        (b"<html>\n\n", &[fault(FaultKind::UnknownField { name: "<html>".into() }, 0..7)]),
        (b"event: x\n\n", &[fault(FaultKind::NoData { name: Some("x".into()) }, 0..10)]),
        (
            b"event:x\nevent:y\ndata:\n\n",
            &[fault(FaultKind::Overrides { field: "event" }, 8..16), event(Some("y"), "", 0..23)],
        ),
        (
            b"data: a\xFFb\xE2\x98c\n\n",
            &[fault(FaultKind::InvalidUtf8 { sequences: 2 }, 7..8), event(None, "a\u{FFFD}b\u{FFFD}c", 0..14)],
        ),
        (
            b"event: x\ndata: 1\nda",
            &[fault(FaultKind::Unterminated { name: Some("x".into()), data: "1".into() }, 0..19)],
        ),
        (b"\xEF\xBB\xBF", &[fault(FaultKind::ByteOrderMark, 0..3)]),
    ];
    for (stream, items) in cases {
        assert_eq!(parse(stream), items, "{}", stream.escape_ascii());
    }
}

#[test]
fn an_id_belongs_to_the_event_that_set_it() {
    let ids: Vec<_> = parse(b"id: 7\ndata: a\n\ndata: b\n\n")
        .into_iter()
        .map(|item| if let Item::Event(e) = item { e.id } else { None })
        .collect();
    assert_eq!(ids, [Some("7".to_owned()), None]);
}

#[test]
fn what_is_too_large_is_skipped_and_said() {
    let mut parser = Parser::new(Limits { line: 8, event: 6 });
    let items = parser.push(b"data: 12\n\ndata: 123\n\ndata:123\ndata:456\n\n:123456789\ndata:ok\n\n");
    assert_eq!(
        items,
        [
            event(None, "12", 0..10),
            fault(FaultKind::LineTooLong, 10..20),
            fault(FaultKind::EventTooLarge, 10..21),
            fault(FaultKind::EventTooLarge, 21..40),
            fault(FaultKind::LineTooLong, 40..51),
            event(None, "ok", 51..60),
        ]
    );
}

#[test]
fn an_endless_line_takes_no_more_memory_than_its_limit() {
    let mut parser = Parser::new(Limits { line: 1 << 10, event: 1 << 10 });
    for _ in 0..1_000 {
        assert!(parser.push(&[b'x'; 4096]).is_empty());
    }
    assert!(parser.line.capacity() <= 1 << 11);
}

/// The standard's algorithm over the whole buffer, written as plainly as possible and without limits.
fn reference(bytes: &[u8]) -> Vec<Item> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(len) = bytes[at..].iter().position(|b| b"\r\n".contains(b)) {
        let end = at + len + if bytes[at + len..].starts_with(b"\r\n") { 2 } else { 1 };
        lines.push((at, &bytes[at..at + len], end));
        at = end;
    }
    let mut items = Vec::new();
    let mut open: Option<(usize, Vec<(String, String)>)> = None;
    let bom = bytes.starts_with(b"\xEF\xBB\xBF");
    if bom {
        items.push(fault(FaultKind::ByteOrderMark, 0..3));
    }
    let last = |fields: &[(String, String)], name: &str| fields.iter().rev().find(|f| f.0 == name).map(|f| f.1.clone());
    let data = |fields: &[(String, String)]| {
        let lines: Vec<_> = fields.iter().filter(|f| f.0 == "data").map(|f| f.1.as_str()).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    for (start, line, end) in lines {
        let skip = if bom && start == 0 { 3 } else { 0 };
        let line = &line[skip..];
        let span = start as u64..end as u64;
        if line.is_empty() {
            if let Some((start, fields)) = open.take() {
                let span = start as u64..end as u64;
                let name = last(&fields, "event").filter(|n| !n.is_empty());
                items.push(match data(&fields) {
                    Some(data) => Item::Event(Event { name, data, id: last(&fields, "id"), span }),
                    None => fault(FaultKind::NoData { name }, span),
                });
            }
            continue;
        }
        if let Err(e) = std::str::from_utf8(line) {
            let at = (start + skip + e.valid_up_to()) as u64;
            let sequences = line.utf8_chunks().filter(|c| !c.invalid().is_empty()).count();
            let len = e.error_len().unwrap_or(line.len() - e.valid_up_to()) as u64;
            items.push(fault(FaultKind::InvalidUtf8 { sequences }, at..at + len));
        }
        let line = String::from_utf8_lossy(line).into_owned();
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        if name.is_empty() {
            items.push(Item::Comment { text: value.into(), span });
            continue;
        }
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "retry" if value.parse::<u64>().is_ok() && !value.starts_with('+') => {
                items.push(Item::Retry { millis: value.parse().unwrap(), span });
            }
            "retry" => items.push(fault(FaultKind::NoEffect { field: "retry" }, span)),
            "id" if value.contains('\0') => items.push(fault(FaultKind::NoEffect { field: "id" }, span)),
            "data" | "event" | "id" => {
                let (_, fields) = open.get_or_insert((start, vec![]));
                for field in ["event", "id"] {
                    if name == field && last(fields, name).is_some() {
                        items.push(fault(FaultKind::Overrides { field }, span.clone()));
                    }
                }
                fields.push((name.into(), value));
            }
            _ => items.push(fault(FaultKind::UnknownField { name: name.into() }, span)),
        }
    }
    let torn_from = if bom { at.max(3) } else { at };
    if open.is_some() || torn_from < bytes.len() {
        let (start, fields) = open.unwrap_or((at, vec![]));
        let kind = FaultKind::Unterminated { name: last(&fields, "event"), data: data(&fields).unwrap_or_default() };
        items.push(fault(kind, start as u64..bytes.len() as u64));
    }
    items
}

/// Streams made of what matters to the grammar, so that the odd cases are common.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data:",
        b"data: x",
        b"event: e",
        b"event:",
        b"id: 1",
        b"id:\0",
        b"retry: 9",
        b"retry: x",
        b":",
        b" ",
        b"foo",
        b"\xEF\xBB\xBF",
        b"\xFF",
        b"\xE2\x98",
        b"\x83",
        b"{}",
    ];
    prop::collection::vec(
        prop_oneof![
            9 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..4)
        ],
        0..40,
    )
    .prop_map(|pieces| pieces.concat())
}

fn in_pieces(limits: Limits, bytes: &[u8], cuts: &[usize]) -> Vec<Item> {
    let mut parser = Parser::new(limits);
    let mut cuts: Vec<_> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut items = Vec::new();
    let mut from = 0;
    for to in cuts {
        items.extend(parser.push(&bytes[from..to]));
        from = to;
    }
    items.extend(parser.finish());
    items
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_split_gives_what_the_standard_gives_for_the_whole(
        bytes in stream(), cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = reference(&bytes);
        prop_assert_eq!(&in_pieces(Limits::default(), &bytes, &cuts), &whole);
        let every_byte: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(&in_pieces(Limits::default(), &bytes, &every_byte), &whole);
    }

    #[test]
    fn with_tight_limits_any_split_still_gives_the_same(
        bytes in stream(), cuts in prop::collection::vec(any::<usize>(), 0..8), line in 3_usize..9, event in 0_usize..5,
    ) {
        let limits = Limits { line, event };
        prop_assert_eq!(in_pieces(limits, &bytes, &cuts), in_pieces(limits, &bytes, &[]));
    }
}
