//! Goal: a client certificate is read in each form that openssl writes, and what can't be used is told apart.
//! Method: files made by openssl.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use iothub_amqp::{CertificateError, ClientCertificate};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/data/x509/{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn read(chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
    ClientCertificate::from_pem(chain, key).map(drop)
}

#[test]
fn keys_are_read_as_pkcs8_as_sec1_and_as_pkcs1() {
    for (certificate, key) in [
        ("ec.crt", "ec.pkcs8"),
        ("ec.crt", "ec.sec1"),
        ("rsa.crt", "rsa.pkcs1"),
    ] {
        assert_eq!(read(&file(certificate), &file(key)), Ok(()), "{key}");
    }
}

#[test]
fn a_chain_and_a_key_may_stand_in_one_text() {
    let text = [file("ec.sec1"), file("ec.crt"), file("rsa.crt")].concat();
    assert_eq!(read(&text, &text), Ok(()));
    let certificate = ClientCertificate::from_pem(&text, &text).unwrap();
    assert_eq!(format!("{certificate:?}"), "ClientCertificate { chain: 2, .. }");
}

#[test]
fn a_key_of_another_certificate_is_a_mismatch() {
    let mismatch = Err(CertificateError::Mismatch);
    assert_eq!(read(&file("ec.crt"), &file("rsa.pkcs1")), mismatch);
    // The device's own certificate is the first.
    let chain = [file("rsa.crt"), file("ec.crt")].concat();
    assert_eq!(read(&chain, &file("ec.pkcs8")), mismatch);
}

#[test]
fn an_encrypted_key_is_told_from_a_broken_one() {
    for key in ["ec.pkcs8.encrypted", "ec.sec1.encrypted"] {
        assert_eq!(
            read(&file("ec.crt"), &file(key)),
            Err(CertificateError::EncryptedKey),
            "{key}"
        );
    }
    let text = String::from_utf8(file("ec.pkcs8")).unwrap();
    let line = text.lines().nth(1).unwrap();
    for broken in [
        text.replace(line, ""),
        text.replace(line, "!"),
        text.replace("END", ""),
    ] {
        assert_eq!(
            read(&file("ec.crt"), broken.as_bytes()),
            Err(CertificateError::BadKey),
            "{broken}"
        );
    }
}

#[test]
fn a_text_without_certificate_or_key_is_told_apart() {
    assert_eq!(
        read(&file("ec.pkcs8"), &file("ec.pkcs8")),
        Err(CertificateError::NoCertificate)
    );
    assert_eq!(read(b"", b""), Err(CertificateError::NoCertificate));
    assert_eq!(
        read(&file("ec.crt"), &file("ec.crt")),
        Err(CertificateError::NoKey)
    );
    let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert_eq!(
        read(broken, &file("ec.pkcs8")),
        Err(CertificateError::BadCertificate)
    );
    let not_der = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        read(not_der, &file("ec.pkcs8")),
        Err(CertificateError::BadCertificate)
    );
}
