//! TLS for the HTTP server: which certificate it shows, and whose it wants to see.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::access::{Fingerprint, fingerprint};

/// The files of `server.tls_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain that is shown, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Whoever connects must show a certificate of one of these authorities, PEM.
    pub client_ca: Option<PathBuf>,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{key} {path}: {why}")]
pub struct TlsError {
    key: &'static str,
    path: PathBuf,
    why: String,
}

fn of_no_use(key: &'static str, path: &Path, why: impl Display) -> TlsError {
    TlsError { key, path: path.to_owned(), why: why.to_string() }
}

/// Shakes hands.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// By these files, which are read once: a renewed certificate needs a restart.
    ///
    /// # Errors
    /// The first file that is of no use, and why; never what is in it.
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates("server.tls_certificate", &files.certificate)?;
        let name = "server.tls_key";
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| of_no_use(name, &files.key, error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_no_use(name, &files.key, error))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let name = "server.tls_client_ca";
                let mut roots = RootCertStore::empty();
                for root in certificates(name, path)? {
                    roots.add(root).map_err(|error| of_no_use(name, path, error))?;
                }
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let verifier = verifier.map_err(|error| of_no_use(name, path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| of_no_use("server.tls_certificate", &files.certificate, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Shakes hands with whoever has connected, and says whose certificate they showed.
    ///
    /// # Errors
    /// No TLS, or a certificate that is expired or foreign; in words.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Fingerprint>)> {
        let stream = self.acceptor.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let shown = chain.and_then(|chain| chain.first()).map(|leaf| fingerprint(leaf.as_ref()));
        Ok((stream, shown))
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| of_no_use(key, path, error))?;
    if found.is_empty() {
        return Err(of_no_use(key, path, "no certificate in it, it should be PEM"));
    }
    Ok(found)
}
