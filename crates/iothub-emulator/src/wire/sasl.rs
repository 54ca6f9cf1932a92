//! The server side of SASL (§5.3), over a guarded stream.
//!
//! The engine's own SASL acceptor must answer at once, without asking anyone; this one asks the hub.

use std::io;

use fe2o3_amqp_types::primitives::{Array, Symbol};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::AMQP_HEADER_LEN;
use crate::hub::{AuthFailure, Claim};

/// Protocol id 3, version 1.0.0.
pub(crate) const SASL_HEADER: [u8; AMQP_HEADER_LEN] = *b"AMQP\x03\x01\x00\x00";

/// Offers our mechanisms and reads what the client shows. The client's SASL header has been read. EXTERNAL is
/// offered only to a client that showed a certificate: Proton picks it wherever it is offered, a password given or
/// not. The real hub names it to anyone.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    has_certificate: bool,
) -> io::Result<Claim> {
    stream.write_all(&SASL_HEADER).await?;
    let external = has_certificate.then_some(EXTERNAL);
    let mechanisms = external.into_iter().chain(MECHANISMS);
    let offered = SaslMechanisms {
        sasl_server_mechanisms: Array::from(mechanisms.map(Symbol::from).collect::<Vec<_>>()),
    };
    stream.write_all(&frame(&encode(&offered)?)).await?;
    stream.flush().await?;

    let body = Zeroizing::new(read_frame(stream).await?);
    let Ok(init) = serde_amqp::from_slice::<SaslInit>(&body) else {
        return Ok(Claim::Broken(AuthFailure::Response));
    };
    match init.mechanism.as_str() {
        PLAIN => {}
        // Whatever comes with them (a trace, an e-mail address, nothing) proves nothing.
        MSSBCBS | ANONYMOUS => return Ok(Claim::Nothing),
        // The identity that may stand in the response is no other than the certificate's.
        EXTERNAL if has_certificate => return Ok(Claim::External),
        _ => return Ok(Claim::Broken(AuthFailure::Mechanism)),
    }
    let response = Zeroizing::new(
        init.initial_response
            .map_or_else(Vec::new, |binary| binary.into_vec()),
    );
    Ok(plain(&response).unwrap_or(Claim::Broken(AuthFailure::Response)))
}

/// Ends the exchange.
///
/// The real hub answers bad credentials, whatever is bad about them, with code 2 (sys), not with 1 (auth).
pub(crate) async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, admitted: bool) -> io::Result<()> {
    let code = if admitted { SaslCode::Ok } else { SaslCode::Sys };
    let outcome = SaslOutcome {
        code,
        additional_data: None,
    };
    stream.write_all(&frame(&encode(&outcome)?)).await?;
    stream.flush().await
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616). The hub takes no authzid into account.
fn plain(response: &[u8]) -> Option<Claim> {
    let mut parts = response.splitn(3, |byte| *byte == 0).skip(1);
    let user = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    let password = std::str::from_utf8(parts.next()?).ok()?;
    if password.contains('\0') {
        return None;
    }
    Some(Claim::Plain {
        user,
        password: Zeroizing::new(password.to_owned()),
    })
}

/// One frame's body. The guard has checked size, offset and type, and has walked the body; but it lets a protocol header
/// pass here too, whose letters would be a size of 1 GiB.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut header = [0; AMQP_HEADER_LEN];
    stream.read_exact(&mut header).await?;
    if header.starts_with(b"AMQP") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a protocol header where a SASL frame belongs",
        ));
    }
    let [s0, s1, s2, s3, doff, ..] = header;
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    let mut rest = vec![0; size.saturating_sub(header.len())];
    stream.read_exact(&mut rest).await?;
    let extended = usize::from(doff) * 4;
    Ok(rest.split_off(extended.saturating_sub(header.len()).min(rest.len())))
}

fn frame(body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(AMQP_HEADER_LEN + body.len()).unwrap_or(u32::MAX);
    let mut frame = size.to_be_bytes().to_vec();
    frame.extend_from_slice(&[2, 1, 0, 0]);
    frame.extend_from_slice(body);
    frame
}

fn encode<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_amqp::to_vec(value).map_err(io::Error::other)
}

const PLAIN: &str = "PLAIN";
/// Who uses these two shows its credentials to `$cbs`.
const ANONYMOUS: &str = "ANONYMOUS";
const MSSBCBS: &str = "MSSBCBS";
const EXTERNAL: &str = "EXTERNAL";
/// In the order of the real hub, which names `EXTERNAL` before them.
const MECHANISMS: [&str; 3] = [MSSBCBS, ANONYMOUS, PLAIN];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: &[u8]) -> Option<(String, String)> {
        match plain(response)? {
            Claim::Plain { user, password } => Some((user, password.to_string())),
            _ => None,
        }
    }

    #[test]
    fn a_plain_response_is_taken_apart_at_its_two_nuls() {
        assert_eq!(
            read(b"\0d@sas.hub\0token"),
            Some(("d@sas.hub".into(), "token".into()))
        );
        assert_eq!(read(b"other\0d\0t"), Some(("d".into(), "t".into())));
        for broken in [&b""[..], b"d", b"\0d", b"\0d\0t\0", b"\0\xff\0t", b"\0d\0\xff"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }
}
