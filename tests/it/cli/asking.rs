//! A client that asks the model as often as it is told to, and nothing else of what the real one does.

use super::stand_in::{StandIn, write};

/// Asks with the prompt so many times, keeps the answers in `answer`, then does what the script says.
pub(super) fn asking(times: usize, then: &str) -> StandIn {
    let place =
        StandIn::claude(r#"env > "$(dirname "$0")/environment"; LC_ALL=C exec bash "$(dirname "$0")/ask" "$@""#);
    let ask = r#"for prompt; do :; done
p=${prompt//\\/\\\\}; p=${p//\"/\\\"}; p=${p//$'\n'/\\n}
body='{"model":"claude-sonnet-5-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"'$p'"}]}'
host=${ANTHROPIC_BASE_URL#http://}
for _ in $(seq TIMES); do
  exec 3<>"/dev/tcp/${host%:*}/${host##*:}"
  printf 'POST /v1/messages?beta=true HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n' "$host" "$ANTHROPIC_AUTH_TOKEN" >&3
  printf 'anthropic-version: 2023-06-01\r\nContent-Type: application/json\r\nConnection: close\r\n' >&3
  printf 'Content-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
  cat <&3
  exec 3>&-
done > "$(dirname "$0")/answer"
"#;
    write(&place.path("ask"), format!("{}{then}\n", ask.replace("TIMES", &times.to_string())));
    place
}

/// The line by which a client tells at its end what it cost.
pub(super) fn costing(dollars: f64) -> String {
    format!(r#"echo '{{"type":"result","subtype":"success","is_error":false,"result":"","total_cost_usd":{dollars}}}'"#)
}
