//! Which certificates are trusted.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{BoxError, HttpError};

/// Trust in servers. By default the certificates of the system decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpTls {
    /// File that replaces the certificates of the system (`SSL_CERT_FILE`).
    pub system_file: Option<PathBuf>,
    /// Folder that replaces the certificates of the system (`SSL_CERT_DIR`).
    pub system_dir: Option<PathBuf>,
    /// Certificates to trust beside those of the system, as PEM.
    pub extra_roots: Vec<u8>,
    /// Trust any certificate. Whoever is on the way can then read and change everything.
    pub skip_verify: bool,
}

/// The trust of a client, checked as far as it needs no file.
#[derive(Debug)]
pub(super) struct Trust {
    settings: HttpTls,
    extra: Vec<CertificateDer<'static>>,
}

impl Trust {
    pub(super) fn new(settings: HttpTls) -> Result<Self, HttpError> {
        let extra: Vec<_> = CertificateDer::pem_slice_iter(&settings.extra_roots)
            .collect::<Result<_, _>>()
            .map_err(|error| HttpError::Invalid(format!("extra certificates: {error}").into()))?;
        if extra.is_empty() && !settings.extra_roots.is_empty() {
            let text = "extra certificates: no certificate in PEM form";
            return Err(HttpError::Invalid(text.into()));
        }
        Ok(Self { settings, extra })
    }

    /// Reads the certificates of the system; blocks for some milliseconds.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, BoxError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = if self.settings.skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider)))
                .with_no_client_auth()
        } else {
            builder
                .with_root_certificates(self.roots()?)
                .with_no_client_auth()
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, BoxError> {
        let HttpTls {
            system_file: file,
            system_dir: dir,
            ..
        } = &self.settings;
        let system = if file.is_some() || dir.is_some() {
            rustls_native_certs::load_certs_from_paths(file.as_deref(), dir.as_deref())
        } else {
            rustls_native_certs::load_native_certs()
        };
        let mut roots = RootCertStore::empty();
        // Systems carry certificates that rustls refuses; those are skipped as everywhere.
        roots.add_parsable_certificates(system.certs);
        for certificate in &self.extra {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("extra certificates: {error}"))?;
        }
        if roots.is_empty() {
            let why: Vec<_> = system.errors.iter().map(ToString::to_string).collect();
            return Err(format!("no trusted certificates found: {}", why.join("; ")).into());
        }
        Ok(roots)
    }
}

/// Accepts every certificate; the handshake itself must still be sound.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
