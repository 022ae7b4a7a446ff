//! Encrypted connections of clients. Only this module and `local` name rustls.

use std::{io, path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use super::{AccessError, file::TlsSettings, read, setting};

/// The protocol inside encrypted connections.
const ALPN: &[u8] = b"http/1.1";

pub(super) struct Tls {
    acceptor: TlsAcceptor,
    /// A client's certificate must be for one of these names. If the list is empty, any name is accepted.
    allowed_sans: Vec<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            acceptor: _,
            allowed_sans,
        } = self;
        f.debug_struct("Tls")
            .field("allowed_sans", allowed_sans)
            .finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(settings: &TlsSettings, path: &Path, folder: &Path) -> Result<Self, AccessError> {
        let wrong = |key: &str, reason: String| setting(path, format!("tls_server_config.{key}"), reason);
        for (key, list) in [
            ("cipher_suites", &settings.cipher_suites),
            ("curve_preferences", &settings.curve_preferences),
        ] {
            if !list.is_empty() {
                let reason = "netmon takes no list: only those without known weakness are on; leave it out";
                return Err(wrong(key, reason.to_owned()));
            }
        }
        let pem = |key: &str, file: &Option<_>, inline: &Option<String>| match (file, inline) {
            (Some(file), None) => read(&folder.join::<&std::path::PathBuf>(file)).map(Some),
            (None, Some(text)) => Ok(Some(text.clone().into_bytes())),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(wrong(key, format!("there is {key}_file, too: only one of them"))),
        };
        let missing = |key: &str| wrong(key, format!("it is missing; give {key}_file"));

        let chain = pem("cert", &settings.cert_file, &settings.cert)?.ok_or_else(|| missing("cert"))?;
        let chain = certificates(&chain).map_err(|reason| wrong("cert", reason))?;
        let key = pem("key", &settings.key_file, &settings.key)?.ok_or_else(|| missing("key"))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong("key", error.to_string()))?;
        let authorities = pem("client_ca", &settings.client_ca_file, &settings.client_ca)?;

        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(settings).map_err(|(key, reason)| wrong(key, reason))?)
            .map_err(|error| wrong("min_version", error.to_string()))?;
        let builder = match demand(settings).map_err(|reason| wrong("client_auth_type", reason))? {
            Demand::Nothing if authorities.is_some() => {
                let reason =
                    "there is client_ca, and nobody is asked for a certificate; say RequireAndVerifyClientCert";
                return Err(wrong("client_auth_type", reason.to_owned()));
            }
            Demand::Nothing => builder.with_no_client_auth(),
            demand @ (Demand::CheckIfGiven | Demand::Certificate) => {
                let authorities = authorities.ok_or_else(|| missing("client_ca"))?;
                builder.with_client_cert_verifier(
                    verifier(&authorities, demand, provider).map_err(|reason| wrong("client_ca", reason))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| wrong("cert", format!("it does not go with its key: {error}")))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            allowed_sans: settings.client_allowed_sans.clone(),
        })
    }

    /// Performs the TLS handshake and checks the client's certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.acceptor.accept(stream).await?;
        if self.allowed_sans.is_empty() {
            return Ok(stream);
        }
        let (_, connection) = stream.get_ref();
        let names = connection
            .peer_certificates()
            .and_then(<[CertificateDer<'_>]>::first)
            .map(|certificate| names(certificate))
            .unwrap_or_default();
        if names.iter().any(|name| self.allowed_sans.contains(name)) {
            Ok(stream)
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the client's certificate matches none of client_allowed_sans",
            ))
        }
    }
}

/// What the server requires of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Nothing,
    /// A certificate is optional, but checked if present.
    CheckIfGiven,
    Certificate,
}

fn demand(settings: &TlsSettings) -> Result<Demand, String> {
    let demand = match settings.client_auth_type.as_deref().unwrap_or_default() {
        "" | "NoClientCert" => Demand::Nothing,
        "VerifyClientCertIfGiven" => Demand::CheckIfGiven,
        "RequireAndVerifyClientCert" => Demand::Certificate,
        unchecked @ ("RequestClientCert" | "RequireClientCert" | "RequireAnyClientCert") => {
            return Err(format!(
                "{unchecked} asks for certificates that nobody checks; use RequireAndVerifyClientCert"
            ));
        }
        other => {
            return Err(format!(
                "{other:?} is none of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert"
            ));
        }
    };
    if demand != Demand::Certificate && !settings.client_allowed_sans.is_empty() {
        return Err("client_allowed_sans needs RequireAndVerifyClientCert".to_owned());
    }
    Ok(demand)
}

fn versions(settings: &TlsSettings) -> Result<Vec<&'static SupportedProtocolVersion>, (&'static str, String)> {
    let number = |key: &'static str, text: &Option<String>, default: u8| match text.as_deref() {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(2),
        Some("TLS13") => Ok(3),
        Some("TLS10" | "TLS11") => Err((key, "it was broken long ago; TLS12 is the oldest".to_owned())),
        Some(other) => Err((key, format!("{other:?} is neither TLS12 nor TLS13"))),
    };
    let from = number("min_version", &settings.min_version, 2)?;
    let to = number("max_version", &settings.max_version, 3)?;
    let versions: Vec<_> = [(2, &TLS12), (3, &TLS13)]
        .into_iter()
        .filter(|(number, _)| (from..=to).contains(number))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        return Err(("max_version", "it is below min_version".to_owned()));
    }
    Ok(versions)
}

fn verifier(
    authorities: &[u8],
    demand: Demand,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if demand == Demand::CheckIfGiven {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder.build().map_err(|error| error.to_string())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(certificates)
}

/// The names in a certificate: host names, IP addresses, mail addresses and URIs.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes)
                    .ok()
                    .map(|it| std::net::Ipv4Addr::from(it).to_string()),
                16 => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|it| std::net::Ipv6Addr::from(it).to_string()),
                _ => None,
            },
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        })
        .collect()
}
