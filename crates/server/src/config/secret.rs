//! Encrypted values, `encrypted:` and what `rabbitmqctl encrypt_conf_value` prints (E17).
//!
//! ```text
//! base64( salt, 16 octets │ initialization vector, 16 octets │ AES-CBC( an Erlang term, padded as in PKCS #7 ) )
//! ```
//!
//! The key is that of PBKDF2 over passphrase and salt. The term is the external form of a binary, a string or an atom.

use std::path::PathBuf;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Sha224, Sha256, Sha384, Sha512};

/// What stands before an encrypted value.
pub(super) const PREFIX: &str = "encrypted:";

const SALT: usize = 16;
const VECTOR: usize = 16;

/// `config_entry_decoder.*`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Decoder {
    pub(super) passphrase: Option<String>,
    /// Its first line is the passphrase.
    pub(super) passphrase_file: Option<PathBuf>,
    pub(super) cipher: Cipher,
    pub(super) hash: Hash,
    pub(super) iterations: Iterations,
}

/// Without the passphrase.
impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cipher {
    #[default]
    Aes128,
    Aes192,
    Aes256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hash {
    Sha224,
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

/// How often the hash is applied; RabbitMQ's default is once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Iterations(pub(super) u32);

impl Default for Iterations {
    fn default() -> Self {
        Self(1)
    }
}

/// Names of the ciphers, as RabbitMQ has them.
pub(super) const CIPHERS: &[(&str, Cipher)] = &[
    ("aes_128_cbc", Cipher::Aes128),
    ("aes_192_cbc", Cipher::Aes192),
    ("aes_256_cbc", Cipher::Aes256),
];

/// Names of the hashes.
pub(super) const HASHES: &[(&str, Hash)] = &[
    ("sha224", Hash::Sha224),
    ("sha256", Hash::Sha256),
    ("sha384", Hash::Sha384),
    ("sha512", Hash::Sha512),
];

impl Decoder {
    /// The value without its encryption.
    pub(super) fn decrypt(&self, value: &str) -> Result<String, String> {
        let passphrase = self.passphrase()?;
        let encrypted = value.strip_prefix(PREFIX).unwrap_or(value);
        let decrypted = BASE64_STANDARD
            .decode(encrypted)
            .ok()
            .and_then(|octets| self.open(&octets, passphrase.as_bytes()))
            .and_then(|term| text(&term));
        decrypted.ok_or_else(|| "can't be decrypted by config_entry_decoder".to_owned())
    }

    fn passphrase(&self) -> Result<String, String> {
        if let Some(passphrase) = &self.passphrase {
            return Ok(passphrase.clone());
        }
        let file = self
            .passphrase_file
            .as_ref()
            .ok_or("is encrypted, and config_entry_decoder.passphrase is not set")?;
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    fn open(&self, octets: &[u8], passphrase: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = octets.split_at_checked(SALT)?;
        let (vector, encrypted) = rest.split_at_checked(VECTOR)?;
        let mut key = [0; 32];
        let key = match self.cipher {
            Cipher::Aes128 => &mut key[..16],
            Cipher::Aes192 => &mut key[..24],
            Cipher::Aes256 => &mut key[..],
        };
        let Iterations(rounds) = self.iterations;
        match self.hash {
            Hash::Sha224 => pbkdf2::pbkdf2_hmac::<Sha224>(passphrase, salt, rounds, key),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, rounds, key),
            Hash::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(passphrase, salt, rounds, key),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(passphrase, salt, rounds, key),
        }
        match self.cipher {
            Cipher::Aes128 => cbc::Decryptor::<aes::Aes128>::new_from_slices(key, vector)
                .ok()?
                .decrypt_padded_vec::<Pkcs7>(encrypted)
                .ok(),
            Cipher::Aes192 => cbc::Decryptor::<aes::Aes192>::new_from_slices(key, vector)
                .ok()?
                .decrypt_padded_vec::<Pkcs7>(encrypted)
                .ok(),
            Cipher::Aes256 => cbc::Decryptor::<aes::Aes256>::new_from_slices(key, vector)
                .ok()?
                .decrypt_padded_vec::<Pkcs7>(encrypted)
                .ok(),
        }
    }
}

/// The text that a term is. (Erlang, "External Term Format".)
fn text(term: &[u8]) -> Option<String> {
    const VERSION: u8 = 131;
    let (&[VERSION, tag], rest) = term.split_first_chunk()? else {
        return None;
    };
    match tag {
        // BINARY_EXT
        109 => sized::<4>(rest),
        // STRING_EXT, of code points below 256
        107 => {
            let (length, octets) = rest.split_first_chunk()?;
            let octets = octets.get(..usize::from(u16::from_be_bytes(*length)))?;
            Some(octets.iter().copied().map(char::from).collect())
        }
        // SMALL_ATOM_UTF8_EXT and ATOM_UTF8_EXT
        119 => sized::<1>(rest),
        118 => sized::<2>(rest),
        _ => None,
    }
}

/// Octets of UTF-8 behind their number, which takes `N` octets.
fn sized<const N: usize>(term: &[u8]) -> Option<String> {
    let (length, octets) = term.split_first_chunk::<N>()?;
    let length = length
        .iter()
        .fold(0_usize, |length, octet| length << 8 | usize::from(*octet));
    String::from_utf8(octets.get(..length)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rabbitmqctl encrypt_conf_value` of RabbitMQ 4.3.6 printed.
    #[test]
    fn values_that_rabbitmq_has_encrypted_can_be_read() {
        let check = |value: &str, decoder: &Decoder, expected: Option<&str>| {
            let decrypted = decoder.decrypt(value).ok();
            assert_eq!(decrypted.as_deref(), expected, "{value}");
        };
        let by = |passphrase: &str| Decoder {
            passphrase: Some(passphrase.to_owned()),
            ..Decoder::default()
        };
        // <<"s3cret">>
        let binary = "encrypted:rxATShr2kCDaAO6NLR9CMy13gexdyQ4VKD9jt6rNNsyDKH5y/cWXqjQddlwBBhEL";
        check(binary, &by("passphrase1"), Some("s3cret"));
        check(binary, &by("passphrase2"), None);
        // "s3 cret"
        let string = "encrypted:BaD9IQUpQAPH4xJN14tCCst0G+8MR1atFyNu7kTp8UvSC3HOMPblia9BD4RyWj5F";
        check(string, &by("passphrase1"), Some("s3 cret"));
        // --cipher aes_128_cbc --hash sha256 --iterations 10
        let often = Decoder {
            iterations: Iterations(10),
            ..by("pass2")
        };
        let value = "encrypted:pBV5OnJigOzYC+p814tbqk3m+rXF3IrUXIv00tTL+8YOBZJ7LX1LJ0PDoYs+nqCe";
        check(value, &often, Some("s3cret"));
        check(value, &by("pass2"), None);
        // rabbitmqctl encode --cipher aes_256_cbc --hash sha512 --iterations 1000
        let strong = Decoder {
            cipher: Cipher::Aes256,
            hash: Hash::Sha512,
            iterations: Iterations(1000),
            ..by("passphrase1")
        };
        let value = "VliYOdXzE6vJtHXwmT2B/+VWbwJvcn2Dn7yXKFK73nhcigO3nL5d4s+GifmElRZh";
        check(value, &strong, Some("s3cret"));
        for nonsense in [
            "encrypted:",
            "encrypted:AAAA",
            "encrypted:no base64",
            &binary[..60],
        ] {
            check(nonsense, &by("passphrase1"), None);
        }
    }

    #[test]
    fn terms_that_are_no_texts_are_refused() {
        for term in [
            &b""[..],
            b"\x83",
            b"\x83a\x05",
            b"\x83m\0\0\0\x09a",
            b"\x83k\0\x02a",
            b"\x82m\0\0\0\0",
        ] {
            assert_eq!(text(term), None, "{term:?}");
        }
        assert_eq!(text(b"\x83m\0\0\0\x02\xc3\xa4").as_deref(), Some("ä"));
        assert_eq!(text(b"\x83k\0\x01\xe4").as_deref(), Some("ä"));
        assert_eq!(text(b"\x83w\x01a").as_deref(), Some("a"));
    }
}
