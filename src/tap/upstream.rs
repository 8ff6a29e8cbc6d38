//! Where a tap forwards to: one fixed address, plain or over TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use url::{Host, Url};

/// The base URL behind a tap, checked, with the certificates to trust. Made once for a target and cloned for its cells.
#[derive(Clone)]
pub struct Upstream {
    host: Host,
    port: u16,
    /// `host` or `host:port`, as it stands in the `Host` header.
    authority: String,
    /// The path of the base URL without its last slash; empty for none.
    prefix: String,
    tls: Option<TlsConnector>,
}

/// Why a base URL cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpstreamError {
    /// The text is no base URL.
    #[error("`{url}` is not a base URL ({why}); give one like `https://host:port/path`")]
    Url {
        /// The text, unless it may hold a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The extra CA certificates cannot be used.
    #[error("the extra CA certificates cannot be used: {0}")]
    ExtraCa(String),
    /// There is no certificate to trust.
    #[error("no CA certificate was found on this system, so no https gateway can be reached; give one explicitly")]
    NoRoots,
}

/// A new connection.
pub(crate) enum Dialled {
    /// Plain.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Nobody could be reached.
    Connect(io::Error),
    /// Somebody was reached, and TLS failed.
    Tls(io::Error),
}

/// The two directions of a connection; dropping both closes it.
pub(crate) struct Link {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "Upstream({scheme}://{}{})", self.authority, self.prefix)
    }
}

impl Upstream {
    /// Reads a base URL, e.g. `http://127.0.0.1:8082` or `https://gw.example/anthropic`. Its path is put in front of each
    /// request target. For `https` the system's CA certificates are trusted, and those in `extra_ca_pem`.
    ///
    /// # Errors
    /// The text is no such URL, or there are no usable certificates.
    pub fn parse(base_url: &str, extra_ca_pem: Option<&[u8]>) -> Result<Self, UpstreamError> {
        let fail = |why: &str| {
            // Before an `@` a password may stand and behind a `?` or `#` a key, even in a text that is not a URL.
            let url = if base_url.contains(['@', '?', '#']) { "<hidden>" } else { base_url };
            Err(UpstreamError::Url { url: url.to_owned(), why: why.to_owned() })
        };
        let url = match Url::parse(base_url.trim()) {
            Ok(url) => url,
            Err(e) => return fail(&e.to_string()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return fail("it holds a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return fail("it has a query or a fragment");
        }
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(connector(extra_ca_pem)?),
            _ => return fail("neither http nor https"),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return fail("it has no host");
        };
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), port, authority, prefix, tls })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether only this machine is reached: a loopback address, or `localhost`.
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        }
    }

    /// Opens a new connection for reading and writing apart.
    pub(crate) async fn connect(&self) -> io::Result<Link> {
        match self.dial().await {
            Ok(Dialled::Plain(tcp)) => {
                let (reader, writer) = tcp.into_split();
                Ok(Link { reader: Box::new(reader), writer: Box::new(writer) })
            }
            Ok(Dialled::Tls(tls)) => {
                let (reader, writer) = tokio::io::split(tls);
                Ok(Link { reader: Box::new(reader), writer: Box::new(writer) })
            }
            Err(DialError::Connect(e) | DialError::Tls(e)) => Err(e),
        }
    }

    /// Opens a new connection.
    pub(crate) async fn dial(&self) -> Result<Dialled, DialError> {
        let tcp = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await,
            Host::Ipv4(ip) => TcpStream::connect((*ip, self.port)).await,
            Host::Ipv6(ip) => TcpStream::connect((*ip, self.port)).await,
        };
        // Small pieces must not wait for each other: their times are evidence.
        let tcp = tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)).map_err(DialError::Connect)?;
        let Some(tls) = &self.tls else { return Ok(Dialled::Plain(tcp)) };
        let name = match &self.host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|e| DialError::Tls(io::Error::other(e)))?
            }
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
        };
        tls.connect(name, tcp).await.map(|tls| Dialled::Tls(Box::new(tls))).map_err(DialError::Tls)
    }
}

/// Why a connection was not made: what is wrong with the other side's certificate, in words; `None` when it was something else.
pub(crate) fn untrusted(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let certificate = matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented);
    certificate.then(|| error.to_string())
}

fn connector(extra_ca_pem: Option<&[u8]>) -> Result<TlsConnector, UpstreamError> {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be parsed are passed over, as every TLS client does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_ca_pem {
        let unusable = |e: &dyn fmt::Display| UpstreamError::ExtraCa(e.to_string());
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found = true;
            roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
        }
        if !found {
            return Err(unusable(&"there is no PEM certificate in them"));
        }
    }
    if roots.is_empty() {
        return Err(UpstreamError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| UpstreamError::ExtraCa(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gives_authority_and_prefix() {
        let cases = [
            ("http://127.0.0.1:8082", "127.0.0.1:8082", ""),
            ("http://gw.test/", "gw.test", ""),
            ("http://gw.test:80/a/b/", "gw.test", "/a/b"),
            ("http://[::1]:9/x", "[::1]:9", "/x"),
        ];
        for (url, authority, prefix) in cases {
            let upstream = Upstream::parse(url, None).unwrap();
            assert_eq!((upstream.authority(), upstream.prefix()), (authority, prefix), "{url}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_showing_a_password() {
        let urls = ["", "127.0.0.1:80", "ftp://x", "http://", "http://x/?a", "http://x/#a", "http://u:pw@x", "pw@x"];
        for url in urls {
            let error = Upstream::parse(url, None).unwrap_err().to_string();
            assert!(error.contains("not a base URL") && !error.contains("pw"), "{error}");
        }
        let error = Upstream::parse("https://x", Some(b"no pem")).unwrap_err();
        assert!(matches!(error, UpstreamError::ExtraCa(_)), "{error}");
    }
}
