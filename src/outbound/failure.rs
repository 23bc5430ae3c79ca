//! From the client's errors, which print the whole URL, to [`SendError`], which holds nothing but the host.

use std::{error::Error, io, iter};

use rustls::CertificateError;

use super::{SendError, address::NOT_PUBLIC, resolver::Unresolved};

pub(super) fn classify(host: String, error: &reqwest::Error) -> SendError {
    if error.is_timeout() {
        return SendError::Timeout { host };
    }
    if error.is_builder() {
        return SendError::Forbidden { host, reason: "its URL can't be sent over HTTP" };
    }
    for cause in causes(error) {
        if let Some(unresolved) = cause.downcast_ref() {
            return match unresolved {
                Unresolved::NotPublic => SendError::Forbidden { host, reason: NOT_PUBLIC },
                Unresolved::Unknown => SendError::Unreachable { host, reason: "its name has no address" },
                Unresolved::Late => SendError::Unreachable { host, reason: "its name was not resolved in time" },
            };
        }
        if let Some(error) = cause.downcast_ref() {
            return SendError::Tls { host, reason: tls(error) };
        }
    }
    if !error.is_connect() {
        return SendError::Broken { host };
    }
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref()).map(io::Error::kind);
    let mut reason = "no connection";
    for kind in kinds {
        reason = match kind {
            // Only TLS reads while a connection is made.
            io::ErrorKind::UnexpectedEof => {
                return SendError::Tls { host, reason: "it closed the connection during the handshake".to_owned() };
            }
            io::ErrorKind::ConnectionRefused => "it refuses connections",
            io::ErrorKind::ConnectionReset => "it reset the connection",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no route to it",
            _ => continue,
        };
    }
    SendError::Unreachable { host, reason }
}

/// The error and all that it wraps. `source` of an `io::Error` passes over what was put into it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    })
}

/// Without what the other side wrote: names in a certificate are its own choice.
fn tls(error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    use rustls::Error as Tls;
    let reason = match error {
        Tls::InvalidCertificate(Certificate::UnknownIssuer) => "its certificate is from no known authority",
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Tls::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "its certificate is not valid yet"
        }
        Tls::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
            "its certificate is for another name"
        }
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented => "it has no valid certificate",
        Tls::InvalidMessage(_) => "it does not speak TLS",
        Tls::PeerIncompatible(_) => "it offers no version or cipher of TLS that is secure",
        Tls::AlertReceived(alert) => return format!("it ended the connection with {alert:?}"),
        _ => "the handshake failed",
    };
    reason.to_owned()
}
