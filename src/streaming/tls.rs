//! TLS for the streams' listener, with a certificate from files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    },
};
use tracing::{info, warn};

/// Where the certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {wanted} in PEM: {why}", .file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What was found.
        why: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not known.
    #[error("cannot serve with the certificate {} and the key {}: {why}", .files.certificate.display(), .files.key.display())]
    Pair {
        /// The files.
        files: Files,
        /// What is wrong.
        why: rustls::Error,
    },
}

/// The certificate in use. It is read again when its files change: certificates are shorter-lived than nodes.
#[derive(Debug)]
pub(super) struct Tls {
    files: Files,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    stamps: Stamps,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

/// When each file was changed, as far as the system says.
type Stamps = [Option<SystemTime>; 2];

impl Tls {
    /// Reads the files.
    pub(super) fn load(files: Files) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let loaded = Mutex::new(Loaded {
            acceptor: acceptor(&files)?,
            stamps,
        });
        Ok(Self { files, loaded })
    }

    /// What makes TLS of the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != loaded.stamps {
            match acceptor(&self.files) {
                Ok(acceptor) => {
                    info!("took the new certificate {}", self.files.certificate.display());
                    loaded.acceptor = acceptor;
                }
                // One file may have been written, and the other not yet: then its stamp will change too.
                Err(error) => warn!("the certificate for streams stays as it was: {error}"),
            }
            loaded.stamps = stamps;
        }
        loaded.acceptor.clone()
    }
}

fn stamps(files: &Files) -> Stamps {
    [&files.certificate, &files.key].map(|file| fs::metadata(file).ok()?.modified().ok())
}

fn acceptor(files: &Files) -> Result<TlsAcceptor, TlsError> {
    let pem = |file: &Path, wanted| {
        let file = file.to_owned();
        move |why| TlsError::Pem { file, wanted, why }
    };
    let text = read(&files.certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .and_then(|chain: Vec<_>| {
            if chain.is_empty() {
                Err(pem::Error::NoItemsFound)
            } else {
                Ok(chain)
            }
        })
        .map_err(pem(&files.certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(pem(&files.key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|why| TlsError::Pair {
            files: files.clone(),
            why,
        })?;
    // Upgrades are HTTP/1.1's.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read {
        file: file.to_owned(),
        source,
    })
}
