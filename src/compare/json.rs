//! Two JSON values side by side: where they differ, as paths. The order of keys and the way a number is written do not
//! matter; the order of arrays does.

use serde_json::{Number, Value};

/// A place where two values differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    /// What was sent; `None` when the place is new.
    pub(super) sent: Option<&'a Value>,
    /// What arrived; `None` when the place is gone.
    pub(super) arrived: Option<&'a Value>,
}

impl std::fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), brief);
        match (self.sent, self.arrived) {
            (Some(Value::String(sent)), Some(Value::String(arrived))) => {
                let (sent, arrived) = super::words::apart(sent, arrived);
                write!(f, "sent {sent:?}, arrived {arrived:?}")
            }
            (sent, arrived) => write!(f, "sent {}, arrived {}", words(sent), words(arrived)),
        }
    }
}

/// Whether two values mean the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Large integers that differ can be one float, so they are compared as integers. A fraction is not always read to its very
/// last bit.
fn same_number(a: &Number, b: &Number) -> bool {
    let integer = |n: &Number| n.is_i64() || n.is_u64();
    if integer(a) && integer(b) {
        return a == b;
    }
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return a == b };
    (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs())
}

/// Tells every place where `arrived` differs from `sent`, with its path as an RFC 6901 pointer.
pub(super) fn diff<'a>(sent: &'a Value, arrived: &'a Value, tell: &mut dyn FnMut(&str, Change<'a>)) {
    Walk { path: String::new(), tell }.step(sent, arrived);
}

struct Walk<'w, 'a> {
    path: String,
    tell: &'w mut dyn FnMut(&str, Change<'a>),
}

impl<'a> Walk<'_, 'a> {
    fn step(&mut self, sent: &'a Value, arrived: &'a Value) {
        match (sent, arrived) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, sent) in a {
                    self.below(key, Some(sent), b.get(key));
                }
                for (key, arrived) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                    self.below(key, None, Some(arrived));
                }
            }
            (Value::Array(a), Value::Array(b)) => self.arrays(a, b),
            _ if same(sent, arrived) => {}
            _ => (self.tell)(&self.path, Change { sent: Some(sent), arrived: Some(arrived) }),
        }
    }

    /// Arrays of one length are compared place by place. Of others, what is equal at both ends is laid aside first, so that one
    /// new entry in front does not make all entries differ.
    fn arrays(&mut self, a: &'a [Value], b: &'a [Value]) {
        let (mut front, mut back) = (0, 0);
        if a.len() != b.len() {
            front = a.iter().zip(b).take_while(|(a, b)| same(a, b)).count();
            let (a, b) = (&a[front..], &b[front..]);
            back = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| same(a, b)).count();
        }
        let (a, b) = (&a[front..a.len() - back], &b[front..b.len() - back]);
        for i in 0..a.len().max(b.len()) {
            self.below(&(front + i).to_string(), a.get(i), b.get(i));
        }
    }

    fn below(&mut self, key: &str, sent: Option<&'a Value>, arrived: Option<&'a Value>) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&key.replace('~', "~0").replace('/', "~1"));
        match (sent, arrived) {
            (Some(sent), Some(arrived)) => self.step(sent, arrived),
            _ => (self.tell)(&self.path, Change { sent, arrived }),
        }
        self.path.truncate(length);
    }
}

/// A value cut to what fits into a message.
pub(super) fn brief(value: &Value) -> String {
    super::words::cut(&value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(sent: &Value, arrived: &Value) -> Vec<String> {
        let mut out = Vec::new();
        diff(sent, arrived, &mut |path, change| out.push(format!("{path}: {change}")));
        out
    }

    #[test]
    fn every_place_is_told_with_its_path() {
        let sent = json!({ "a": 1, "b": [1, { "c": "x" }], "d/e": null, "gone": true });
        let arrived = json!({ "a": 2, "b": [1, { "c": "y", "new": [] }], "d/e": false });
        let expected = [
            "/a: sent 1, arrived 2",
            "/b/1/c: sent \"x\", arrived \"y\"",
            "/b/1/new: sent nothing, arrived []",
            "/d~1e: sent null, arrived false",
            "/gone: sent true, arrived nothing",
        ];
        assert_eq!(paths(&sent, &arrived), expected);
    }

    #[test]
    fn an_entry_more_or_less_is_one_change() {
        assert_eq!(paths(&json!(["a", "b"]), &json!(["new", "a", "b"])), ["/0: sent nothing, arrived \"new\""]);
        assert_eq!(paths(&json!(["a", "b", "c"]), &json!(["a", "c"])), ["/1: sent \"b\", arrived nothing"]);
        assert_eq!(paths(&json!([1, 1, 1]), &json!([1])).len(), 2);
    }

    #[test]
    fn the_way_a_number_is_written_does_not_matter_but_its_value_does() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert!(same(&read("[1, 100, 0.5]"), &read("[1.0, 1e2, 5e-1]")));
        assert!(!same(&read("9007199254740993"), &read("9007199254740992")));
        assert!(!same(&read("1"), &read("1.5")));
    }
}
