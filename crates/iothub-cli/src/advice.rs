//! What to do about an error, in a few words, where there is something to do.

use iothub_registry::{ErrorCode, NotSent, RegistryError};

use iothub_amqp::{Condition, ConnectError, Interruption, Lost, ProxyFailure, SendError, TlsFailure};

pub(crate) fn on_asking(error: &RegistryError) -> Option<&'static str> {
    Some(match error {
        RegistryError::Refused(refusal) => match (&refusal.code, refusal.status) {
            (_, 401) => "check the key, and that the policy has the right to do this",
            (ErrorCode::PreconditionFailed | ErrorCode::IotHubPreconditionFailed, _) => {
                "another has changed it since: look at it, and give its ETag of now"
            }
            (ErrorCode::DeviceNotFound, _) => "check the device's id: 'iothub registry list'",
            (ErrorCode::ModuleNotFound, _) => "check the module's id: 'iothub module list'",
            (ErrorCode::DeviceNotOnline, _) => "wait for it with --connect-timeout",
            (ErrorCode::GatewayTimeout, _) => {
                "the device may have done it: see what it did, or give it longer with --timeout"
            }
            (_, 429) => "ask again later",
            _ => return None,
        },
        RegistryError::Unknown(_) => "look whether it was done before you ask again",
        RegistryError::NotSent(NotSent::Resolve { .. }) => "check the host's name and the network",
        RegistryError::NotSent(NotSent::Connect { .. }) => {
            "check the host, and --https-port, and that no firewall is between"
        }
        RegistryError::NotSent(NotSent::ProxyUnauthorized { .. }) => {
            "give its name and password in HTTPS_PROXY or --proxy"
        }
        RegistryError::NotSent(NotSent::ProxyUnreachable { .. }) => {
            "check the host and port of HTTPS_PROXY or --proxy"
        }
        RegistryError::NotSent(NotSent::Certificate { .. }) => "name the CA to trust by --ca FILE",
        _ => return None,
    })
}

pub(crate) fn on_connecting(error: &ConnectError) -> Option<&'static str> {
    Some(match error {
        ConnectError::NoToken => {
            "put one in with 'iothub address build', or give a connection string by --connection-string-file"
        }
        ConnectError::BadToken(_) => "make one with 'iothub sas sign'",
        ConnectError::NotADevice(_) => {
            "give the address of a device's or module's own telemetry, as 'iothub address build' makes it"
        }
        ConnectError::Resolve { .. } => "check the host's name and the network",
        ConnectError::Connect { .. } => {
            "check the host and the port, and that something listens there and no firewall is between"
        }
        ConnectError::Tls { why, .. } => return on_tls(why),
        ConnectError::Refused { .. } => {
            "check the key, the token's end, the device's id, and that the device is registered and enabled"
        }
        ConnectError::TokenTooLong { .. } => "sign in by claims-based security: --auth cbs",
        ConnectError::BadProxy(_) => "give one by --proxy http://HOST:PORT, or set HTTPS_PROXY to one",
        ConnectError::Proxy { why, .. } => return on_proxy(why),
        ConnectError::WebSocket { .. } => {
            "check the host and the port: an IoT Hub takes AMQP over WebSocket at 443"
        }
        ConnectError::NoCertificate => "give it by --cert FILE and --cert-key FILE",
        ConnectError::PlainNotOffered
        | ConnectError::AnonymousNotOffered
        | ConnectError::WrongHeader(_)
        | ConnectError::PeerMisbehaved(_)
        | ConnectError::Lost {
            why: Lost::Protocol, ..
        } => "check the host and the port: this is not an IoT Hub's AMQP endpoint",
        ConnectError::RefusedWith { condition, .. } | ConnectError::TokenRefused(condition) => {
            return on_condition(condition);
        }
        ConnectError::TimedOut { .. } => SILENT,
        _ => return None,
    })
}

pub(crate) fn on_sending(error: &SendError) -> Option<&'static str> {
    match error {
        SendError::Rejected(condition) => on_condition(condition),
        SendError::Released => Some("send it again"),
        SendError::TooLarge { .. } => Some(TOO_LARGE),
        SendError::NotSent(why) | SendError::Unknown(why) => match why {
            Interruption::TimedOut { .. } => Some(SILENT),
            Interruption::Refused(condition) => on_condition(condition),
            Interruption::TokenExpired => Some("make a new token with 'iothub sas sign'"),
            _ => None,
        },
        _ => None,
    }
}

fn on_tls(why: &TlsFailure) -> Option<&'static str> {
    match why {
        TlsFailure::UnknownIssuer => Some("add the CA's certificate with --ca FILE or IOTHUB_CA_FILE"),
        TlsFailure::NameMismatch => Some("connect by a name that stands in the certificate"),
        TlsFailure::NotNow => Some("check this machine's clock, or have the certificate renewed"),
        TlsFailure::ClientCertificate(_) => Some(
            "check that --cert and --cert-key are the device's, that the certificate is valid now, and that the hub knows it",
        ),
        TlsFailure::NotTls => Some("check the port: AMQP over TLS is at 5671"),
        _ => None,
    }
}

fn on_proxy(why: &ProxyFailure) -> Option<&'static str> {
    Some(match why {
        ProxyFailure::Unauthorized => "put user and password into the proxy's address, percent-encoded",
        ProxyFailure::Refused { status: 403 } => {
            "have the proxy allow this host and port, or try --transport ws"
        }
        ProxyFailure::Refused { status: 502..=504 } => "check the hub's name, and the proxy's own network",
        ProxyFailure::Unreachable(_) | ProxyFailure::NotHttp => {
            "check the host and port of HTTPS_PROXY or --proxy"
        }
        _ => return None,
    })
}

fn on_condition(condition: &Condition) -> Option<&'static str> {
    Some(match condition.name.as_str() {
        "amqp:unauthorized-access" => "check the key and the token's end, and that the device is enabled",
        "amqp:not-found" => "check the device's id",
        "amqp:resource-limit-exceeded"
        | "com.microsoft:device-container-throttled"
        | "com.microsoft:quota-exceeded" => "send less, or later",
        "amqp:link:message-size-exceeded" => TOO_LARGE,
        _ => return None,
    })
}

const SILENT: &str = "check the network, or wait longer with --timeout";
pub(crate) const TOO_LARGE: &str = "a hub takes 256 KiB a message, properties included";
