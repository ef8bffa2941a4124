//! Private keys, also such as need a password (PKCS #8, PEM type `ENCRYPTED PRIVATE KEY`).

use std::path::Path;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::in_file;

/// RFC 5958, section 3.
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// A key that is not encrypted needs no password and does not mind one.
pub(super) fn read(file: &Path, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    if let Some(at) = text.find(ENCRYPTED) {
        let password = password
            .ok_or_else(|| wrong(&"the key is encrypted, and ssl_options.password is not set"))?;
        return decrypt(&text[at..], password)
            .ok_or_else(|| wrong(&"the key can't be decrypted with ssl_options.password"));
    }
    // OpenSSL's older way, which derives its key by one round of MD5.
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(
            &"encrypted in the old format; `openssl pkcs8 -topk8` makes it PKCS #8",
        ));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error: pem::Error| in_file(file, &error))
}

fn decrypt(text: &str, password: &str) -> Option<PrivateKeyDer<'static>> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let end = text.find(END)? + END.len();
    let (_, document) = SecretDocument::from_pem(&text[..end]).ok()?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).ok()?;
    let key = encrypted.decrypt(password).ok()?;
    Some(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by OpenSSL 3: `openssl pkcs8 -topk8`, with PBKDF2 and with scrypt, and the key itself.
    const PBKDF2: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj1LuTZiU2KTAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJ69O472ONP+A61ClphqXBcEgZCH
e3M3xt6bFDNBzTMpwbaT6sgmGlYf3+z/+W2jQa7j9/9Q4txSxWWQlcyz21QPHJJI
wcJcI9XfTlnXI2hhznqgwWd/lCexoltt/OD8YUfuY/ut7MWabkOt2Gt4lwouCF3r
nWHs6MPPMN3zoDzw5FE40k+KRIulkxK2mbUIVpS+57g2NtqqKGXeO/rxQUTHySU=
-----END ENCRYPTED PRIVATE KEY-----
";
    const SCRYPT: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAiN4LUjtB1l2gICBAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBAQYyqvCwPouliN5jdQV44XBIGQrSkcTEkUaesn
CXgotDfvT1a7W78aAIqQ/Bc544pSOhAgeTlJuf7NPq0Pp+CeLFl/DfPp1y5r7dNR
00Va+MeEcjJayAZ9RvkFESgHtbbkSNxsKHcfl2vEo8EJ4atD2ZN1oU5IHlOMMJWF
bXSkdIvQWiyY5s7HX2TedNDzKAlhxs5jWjSV0TF8ROJ4khFL2wEp
-----END ENCRYPTED PRIVATE KEY-----
";
    const PLAIN: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPQvAOdYdO8By99x0
irCMjuW1IdvZ+WjXUbYLqktQl2ShRANCAAQvFrp0Txttn1ft8sfHYqNkLKGFZHEy
KRpxjeKu49zeWfqrNmnJifzF0VETcmaijLHeEA2tUh1nCo7DV7RQrRfm
-----END PRIVATE KEY-----
";

    #[test]
    fn encrypted_keys_are_read_with_their_password() {
        let plain = PrivateKeyDer::from_pem_slice(PLAIN.as_bytes()).unwrap();
        for text in [PBKDF2, SCRYPT] {
            assert_eq!(decrypt(text, "sesame").as_ref(), Some(&plain));
            assert_eq!(decrypt(text, "guess"), None);
            assert_eq!(decrypt(&text[..text.len() / 2], "sesame"), None);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let file = std::env::temp_dir().join(format!("leveret-key-{}.pem", std::process::id()));
        let check = |text: &str, password, expected: Option<&str>| {
            std::fs::write(&file, text).unwrap();
            let error = read(&file, password).err();
            match expected {
                None => assert_eq!(error, None),
                Some(part) => assert!(error.as_ref().unwrap().contains(part), "{error:?}"),
            }
        };
        check(PLAIN, None, None);
        check(PLAIN, Some("sesame"), None);
        check(PBKDF2, Some("sesame"), None);
        check(PBKDF2, None, Some("ssl_options.password is not set"));
        check(PBKDF2, Some("guess"), Some("can't be decrypted"));
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        check(old, Some("sesame"), Some("encrypted in the old format"));
        std::fs::remove_file(file).unwrap();
    }
}
