//! TLS for native tests, by the library that hilum's own host uses. Only authorities that the plugin names are trusted: whom a machine trusts,
//! and to trust anybody, is the sandbox's.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{NativeConnection, Stream, failure};
use crate::host::{Connection, NetworkError, TlsOptions, Trust};

impl Stream for StreamOwned<ClientConnection, Box<dyn Stream>> {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.sock.limit(time)
    }

    fn end(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()?;
        self.sock.end()
    }
}

/// `connection` with TLS on it.
///
/// **Errors:** as for `hilum:host/tls.wrap`.
pub(super) fn start(connection: NativeConnection, options: &TlsOptions) -> Result<Box<dyn Connection>, NetworkError> {
    let name = ServerName::try_from(options.server_name.clone()).map_err(|error| invalid("server name", &error))?;
    let session =
        ClientConnection::new(Arc::new(config(options)?), name).map_err(|error| invalid("options", &error))?;
    let mut protected = StreamOwned::new(session, connection.stream);
    while protected.conn.is_handshaking() {
        let limited = protected.sock.limit(super::left(connection.until)?);
        limited.and_then(|()| protected.conn.complete_io(&mut protected.sock)).map_err(|error| failure(&error))?;
    }
    Ok(Box::new(NativeConnection { stream: Box::new(protected), until: connection.until }))
}

fn config(options: &TlsOptions) -> Result<ClientConfig, NetworkError> {
    let Trust::Authorities(authorities) = &options.trust else {
        let story = "a native test trusts only the authorities in tls.ca; try it with hilumc call";
        return Err(NetworkError::Unsupported(story.to_owned()));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots.add(certificate).map_err(|error| invalid("authority", &error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("options", &error))?
        .with_root_certificates(roots);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| invalid("key", &error))?;
            builder
                .with_client_auth_cert(certificates(&identity.certificates)?, key)
                .map_err(|error| invalid("certificate and key", &error))?
        }
    };
    config.alpn_protocols = options.protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(config)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, NetworkError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| invalid("certificates", &error))
}

fn invalid(what: &str, error: &dyn std::error::Error) -> NetworkError {
    NetworkError::Invalid(format!("cannot use our {what}: {error}"))
}

/// The peer was not trusted, or did not speak TLS: why, for people.
pub(super) fn distrust(error: &io::Error) -> Option<NetworkError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(NetworkError::Untrusted(match error {
        rustls::Error::InvalidMessage(_) => format!("it does not speak TLS: {error}"),
        _ => error.to_string(),
    }))
}
