//! `hilum:host/tls`: rustls on connections that are open.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use wasmtime::component::Resource;

use super::{Connection, Error, Stream};
use crate::bindings::host::tls::{Host, Identity, Options, Trust};
use crate::host::{State, aside};
use crate::text::clean;
use crate::ticker::Pace;

/// Where systems keep the certificates of the authorities they trust, all in one file; the first that is there is taken.
pub(crate) const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Certificates and keys one call may bring. Each is checked and kept while the connection is made.
const MAX_CERTIFICATES: usize = 256;

/// Text of certificates that is read beside quick calls; more takes a tick. **Units:** bytes.
const LONG: usize = 32 * 1024;

/// Protocols one call may offer. With the longest names they fill a sixteenth of what a handshake can say.
const MAX_PROTOCOLS: usize = 16;

/// Longest name of a protocol. **Units:** bytes. **Source:** RFC 7301, section 3.1.
const MAX_PROTOCOL: usize = 255;

/// The peer was not trusted, or did not speak TLS: why, for people.
pub(super) fn distrust(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidMessage(_) => format!("it does not speak TLS: {error}"),
        _ => error.to_string(),
    })
}

/// The authorities of the machine, as of the bundle's last change.
static SYSTEM: Mutex<Option<(SystemTime, Arc<RootCertStore>)>> = Mutex::new(None);

/// **Errors:** there is no bundle, or nothing in it.
fn system() -> Result<Arc<RootCertStore>, Error> {
    let found = BUNDLES.iter().find_map(|path| Some((path, fs::metadata(path).ok()?.modified().ok()?)));
    let (path, changed) = found.ok_or_else(|| {
        let tried = BUNDLES.join(", ");
        Error::Unsupported(format!(
            "this machine has no certificates of authorities ({tried}); name one in the settings"
        ))
    })?;
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((as_of, store)) = &*known
        && *as_of == changed
    {
        return Ok(Arc::clone(store));
    }
    let text = fs::read(path).map_err(|error| Error::Unsupported(format!("cannot read {path}: {error}")))?;
    let mut store = RootCertStore::empty();
    // Bundles hold certificates nobody can use any more; those are left out.
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    if store.is_empty() {
        return Err(Error::Unsupported(format!("{path} has no certificate of an authority")));
    }
    let store = Arc::new(store);
    *known = Some((changed, Arc::clone(&store)));
    Ok(store)
}

/// Certificates from text.
fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(MAX_CERTIFICATES).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(Error::Invalid(format!("there is no certificate in {what}; it must be PEM text")))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Error::Invalid(format!("cannot read {what}: {error}"))),
    }
}

/// Takes anybody's word.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The authorities in text.
fn authorities(pem: &str) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, "the authorities' certificates")? {
        store
            .add(certificate)
            .map_err(|error| Error::Invalid(format!("cannot use an authority's certificate: {error}")))?;
    }
    Ok(Arc::new(store))
}

/// What agrees on TLS as asked for, with peers that `roots` vouch for, or with none with anybody.
///
/// **Errors:** `invalid`.
fn connector(
    roots: Option<Arc<RootCertStore>>,
    identity: Option<&Identity>,
    protocols: &[String],
) -> Result<TlsConnector, Error> {
    // rustls takes them as they are and counts their bytes modulo 256.
    if protocols.len() > MAX_PROTOCOLS {
        let story = format!("at most {MAX_PROTOCOLS} protocols can be offered, not {}", protocols.len());
        return Err(Error::Invalid(story));
    }
    if let Some(wrong) = protocols.iter().find(|name| name.is_empty() || name.len() > MAX_PROTOCOL) {
        let story = format!("a protocol's name has 1 to {MAX_PROTOCOL} bytes, this one {}", wrong.len());
        return Err(Error::Invalid(story));
    }
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| Error::Other(format!("cannot set up TLS: {error}"));
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Some(roots) => WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| Error::Invalid(format!("cannot use the authorities' certificates: {error}")))?,
        None => Arc::new(Anybody(Arc::clone(&provider))),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificates, "our certificates")?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| {
                Error::Invalid(format!("cannot read our key: {error}; it must be PEM text without a passphrase"))
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::Invalid(format!("cannot use our certificate and key: {error}")))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What agrees on TLS as asked for. The system's file of certificates may hang, and so is read in a thread beside; a plugin's own certificates may be
/// many, and are read in the slow lane then.
///
/// **Errors:** `invalid`, `unsupported`.
pub(super) async fn prepared(
    waiting: &Arc<Semaphore>,
    pace: &Pace,
    trust: Trust,
    identity: Option<Identity>,
    protocols: Vec<String>,
) -> Result<TlsConnector, Error> {
    let ours = identity.as_ref().map_or(0, |identity| identity.certificates.len());
    let text = if let Trust::Authorities(pem) = &trust { pem.len() } else { 0 };
    if ours.saturating_add(text) > LONG {
        pace.give_way().await;
    }
    let roots = match trust {
        Trust::System => {
            let known = aside(waiting, pace, system).await;
            Some(known.unwrap_or_else(|_| Err(Error::Other("cannot set up TLS: it was given up".to_owned())))?)
        }
        Trust::Authorities(pem) => Some(authorities(&pem)?),
        Trust::Anybody => None,
    };
    connector(roots, identity.as_ref(), &protocols)
}

/// `stream` with TLS on it.
///
/// **Errors:** those of the handshake, and `invalid` for a name that is none.
pub(super) async fn agree(connector: &TlsConnector, name: &str, stream: Stream) -> Result<Stream, Error> {
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| Error::Invalid(format!("{:?} is neither a host name nor an address", clean(name, 256))))?;
    Ok(Stream::Tls(Box::new(connector.connect(name, stream).await?)))
}

impl Host for State {
    async fn wrap(
        &mut self,
        connection: Resource<Connection>,
        options: Options,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let Connection { stream } = self.table.delete(connection)?;
        self.open = self.open.saturating_sub(1);
        let Options { server_name, trust, identity, protocols } = options;
        let (waiting, pace) = (Arc::clone(&self.kept.waiting), self.pace.clone());
        self.open(async {
            if matches!(stream, Stream::Tls(_)) {
                return Err(Error::Invalid("there is TLS on this connection already".to_owned()));
            }
            let connector = prepared(&waiting, &pace, trust, identity, protocols).await?;
            agree(&connector, &server_name, stream).await
        })
        .await
    }

    fn protocol(&mut self, connection: Resource<Connection>) -> wasmtime::Result<Option<String>> {
        Ok(match &self.table.get(&connection)?.stream {
            Stream::Tls(stream) => {
                stream.get_ref().1.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
            }
            Stream::Tcp(_) | Stream::Unix(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, MAX_PROTOCOL, MAX_PROTOCOLS, connector};

    #[test]
    fn protocols_that_a_handshake_cannot_say_are_invalid() {
        let offered = |names: &[String]| connector(None, None, names);
        assert!(offered(&["h2".to_owned(), "a".repeat(MAX_PROTOCOL)]).is_ok());
        assert!(offered(&vec!["h2".to_owned(); MAX_PROTOCOLS]).is_ok());
        for wrong in [vec![String::new()], vec!["a".repeat(MAX_PROTOCOL + 1)], vec!["h2".to_owned(); MAX_PROTOCOLS + 1]]
        {
            assert!(matches!(offered(&wrong), Err(Error::Invalid(_))), "{} protocols", wrong.len());
        }
    }
}
