//! Whatever listens here listens on 127.0.0.1 and nowhere else: what a client is made to say, and what a gateway holds, is for
//! nobody in the network.

use std::time::Instant;

use ccsmoke::load::answers::{AnswerSource, Manner};
use ccsmoke::provider::{Provider, ProviderConfig};
use ccsmoke::reference::{Behind, Config, ReferenceGateway};
use ccsmoke::tap::{Access, Tap, TapConfig, Upstream};
use tokio::net::TcpStream;

/// Fails unless the server is there and at no other address: who listens at all of them listens at 127.0.0.2 as well.
async fn assert_alone(base_url: &str) {
    let port =
        base_url.strip_prefix("http://127.0.0.1:").and_then(|port| port.trim_end_matches('/').parse::<u16>().ok());
    let port = port.unwrap_or_else(|| panic!("{base_url}"));
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.2", port)).await.is_err(), "{base_url} is there for others, too");
}

#[tokio::test]
async fn whatever_listens_is_there_for_this_machine_alone() {
    let upstream = || Upstream::parse("http://127.0.0.1:9", None).unwrap();
    let provider = Provider::start(ProviderConfig::default()).await.unwrap();
    assert_alone(&provider.base_url()).await;
    let tap = Tap::start(TapConfig::new(upstream(), Access::Anyone, Instant::now())).await.unwrap();
    assert_alone(&tap.base_url()).await;
    let config = Config { port: 0, upstream: upstream(), behind: Behind::Anthropic, alteration: None };
    let gateway = ReferenceGateway::start(config).await.unwrap();
    assert_alone(&gateway.base_url()).await;
    let answers = AnswerSource::start(0, Manner::default()).await.unwrap();
    assert_alone(&answers.base_url()).await;
}
