//! What has to hold whatever the bodies are.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::translated::chat;
use super::{Scene, findings, request};

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            "[a-z/~]{0,4}",
            prop::sample::select(vec![
                "type",
                "text",
                "content",
                "role",
                "system",
                "messages",
                "tools",
                "cache_control",
                "id",
                "input",
                "model"
            ])
            .prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The same value with the keys of every object in the opposite order, and whole numbers written as fractions.
fn rewritten(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().rev().map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), rewritten(v))).collect();
            format!("{{ {} }}", fields.join(" , "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(rewritten).collect::<Vec<_>>().join(",\n")),
        // Beyond 2^53 a fraction is no longer the same number.
        Value::Number(n) if n.as_i64().is_some_and(|i| i.unsigned_abs() < 1 << 53) => format!("{n}.0"),
        other => other.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn sides_that_are_the_same_are_found_nothing_of(extra in json(), body in json()) {
        let mut scene = Scene::through();
        scene.both(|side| side.edit(|b| b["x_probe"] = extra.clone()));
        prop_assert_eq!(scene.findings(), []);
        for rewrites in [&[][..], &["system_message", "model"]] {
            scene.rewrites = rewrites.iter().map(|r| (*r).to_owned()).collect();
            let mut evidence = scene.evidence();
            evidence.cell.vars.nonce = String::new();
            evidence.exchanges[0].request.body.bytes = body.to_string().into_bytes();
            evidence.behind.as_mut().unwrap()[0].request.body.bytes = body.to_string().into_bytes();
            prop_assert_eq!(findings(&evidence), []);
        }
    }

    #[test]
    fn the_order_of_keys_and_the_way_numbers_are_written_do_not_matter(extra in json()) {
        let mut scene = Scene::through();
        scene.both(|side| side.edit(|b| b["x_probe"] = extra.clone()));
        scene.far.body = rewritten(&scene.far.request()).into_bytes();
        prop_assert_eq!(scene.findings(), []);
    }

    #[test]
    fn whatever_differs_in_an_unknown_field_is_found(a in json(), b in json()) {
        let mut scene = Scene::through();
        scene.near.edit(|body| body["x_probe"] = a.clone());
        scene.far.edit(|body| body["x_probe"] = b.clone());
        let same = rewritten(&a) == rewritten(&b);
        prop_assert_eq!(scene.findings().is_empty(), same);
    }

    #[test]
    fn garbage_on_any_side_is_judged_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        body in json(),
        field in prop::sample::select(vec!["messages", "tools", "system", "input", "usage", "stream_options", "thinking"]),
        side in 0..4,
        translator: bool,
    ) {
        let mut scene = if translator { chat() } else { Scene::through() };
        let broken = |body_of: &mut Vec<u8>| {
            let mut whole: Value = serde_json::from_slice(body_of).unwrap_or_else(|_| request());
            whole.as_object_mut().unwrap_or(&mut Map::new()).insert(field.to_owned(), body.clone());
            *body_of = whole.to_string().into_bytes();
        };
        match side {
            0 => broken(&mut scene.near.body),
            1 => broken(&mut scene.far.body),
            2 => scene.near.answer = bytes.clone(),
            _ => scene.far.answer = bytes.clone(),
        }
        let _ = scene.findings();
        scene.near.body.extend(&bytes);
        scene.far.body.extend(&bytes);
        scene.near.answer.truncate(bytes.len() * 10);
        scene.far.answer.truncate(bytes.len() * 5);
        let _ = scene.findings();
    }
}
