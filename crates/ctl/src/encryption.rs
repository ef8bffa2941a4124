//! Encrypted values of a configuration, as RabbitMQ's tools make them and its nodes read them (E17).
//!
//! ```text
//! base64( salt, 16 octets │ initialization vector, 16 octets │ AES-CBC( an Erlang term, padded as in PKCS #7 ) )
//! ```
//!
//! The key is that of PBKDF2 over passphrase and salt.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

const SALT: usize = 16;
const VECTOR: usize = 16;

/// The random octets that an encryption takes: salt and initialization vector.
pub const RANDOM: usize = SALT + VECTOR;

/// How a value is encrypted. RabbitMQ's defaults are ours, weak as they are: a value has to be readable without options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub cipher: Cipher,
    pub hash: Hash,
    /// How often the hash is applied.
    pub iterations: u32,
}

impl Default for Method {
    fn default() -> Self {
        Self {
            cipher: Cipher::Aes128,
            hash: Hash::Sha256,
            iterations: 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Names of the ciphers, as RabbitMQ has them.
pub const CIPHERS: &[(&str, Cipher)] = &[
    ("aes_128_cbc", Cipher::Aes128),
    ("aes_192_cbc", Cipher::Aes192),
    ("aes_256_cbc", Cipher::Aes256),
];

/// Names of the hashes.
pub const HASHES: &[(&str, Hash)] = &[
    ("sha", Hash::Sha1),
    ("sha224", Hash::Sha224),
    ("sha256", Hash::Sha256),
    ("sha384", Hash::Sha384),
    ("sha512", Hash::Sha512),
];

impl Method {
    /// Encrypts the octets of a term. Whoever calls brings the randomness, no two times the same.
    #[must_use]
    pub fn encrypt(self, term: &[u8], passphrase: &str, random: &[u8; RANDOM]) -> String {
        let (salt, vector) = random.split_at(SALT);
        let key = self.key(passphrase, salt);
        let encrypted = match self.cipher {
            Cipher::Aes128 => seal::<cbc::Encryptor<aes::Aes128>>(&key, vector, term),
            Cipher::Aes192 => seal::<cbc::Encryptor<aes::Aes192>>(&key, vector, term),
            Cipher::Aes256 => seal::<cbc::Encryptor<aes::Aes256>>(&key, vector, term),
        };
        BASE64_STANDARD.encode([&random[..], &encrypted].concat())
    }

    /// The octets of the term. Nothing if the passphrase is wrong, or the value was not encrypted by this method.
    #[must_use]
    pub fn decrypt(self, value: &str, passphrase: &str) -> Option<Vec<u8>> {
        let octets = BASE64_STANDARD.decode(value).ok()?;
        let (salt, rest) = octets.split_at_checked(SALT)?;
        let (vector, encrypted) = rest.split_at_checked(VECTOR)?;
        let key = self.key(passphrase, salt);
        match self.cipher {
            Cipher::Aes128 => open::<cbc::Decryptor<aes::Aes128>>(&key, vector, encrypted),
            Cipher::Aes192 => open::<cbc::Decryptor<aes::Aes192>>(&key, vector, encrypted),
            Cipher::Aes256 => open::<cbc::Decryptor<aes::Aes256>>(&key, vector, encrypted),
        }
    }

    fn key(self, passphrase: &str, salt: &[u8]) -> Vec<u8> {
        let (passphrase, rounds) = (passphrase.as_bytes(), self.iterations);
        let mut key = match self.cipher {
            Cipher::Aes128 => vec![0; 16],
            Cipher::Aes192 => vec![0; 24],
            Cipher::Aes256 => vec![0; 32],
        };
        match self.hash {
            Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(passphrase, salt, rounds, &mut key),
            Hash::Sha224 => pbkdf2::pbkdf2_hmac::<Sha224>(passphrase, salt, rounds, &mut key),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, rounds, &mut key),
            Hash::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(passphrase, salt, rounds, &mut key),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(passphrase, salt, rounds, &mut key),
        }
        key
    }
}

fn seal<C: KeyIvInit + BlockModeEncrypt>(key: &[u8], vector: &[u8], term: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slices(key, vector).expect("each cipher has a key of its length");
    cipher.encrypt_padded_vec::<Pkcs7>(term)
}

fn open<C: KeyIvInit + BlockModeDecrypt>(
    key: &[u8],
    vector: &[u8],
    encrypted: &[u8],
) -> Option<Vec<u8>> {
    let cipher = C::new_from_slices(key, vector).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(encrypted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erlang::Value;

    #[test]
    fn what_was_encrypted_can_be_read_again() {
        for &(name, cipher) in CIPHERS {
            for &(hash_name, hash) in HASHES {
                for iterations in [1, 7] {
                    let method = Method {
                        cipher,
                        hash,
                        iterations,
                    };
                    let value = method.encrypt(b"a term", "pass", &[7; RANDOM]);
                    let read = method.decrypt(&value, "pass");
                    assert_eq!(read.as_deref(), Some(&b"a term"[..]), "{name} {hash_name}");
                    let other = method.decrypt(&value, "Pass");
                    assert_ne!(other.as_deref(), Some(&b"a term"[..]), "{name} {hash_name}");
                }
            }
        }
    }

    /// What `rabbitmqctl encode` of RabbitMQ 4.3.6 printed, with the passphrase `p` where there is no other.
    #[test]
    fn values_that_rabbitmq_has_encrypted_can_be_read() {
        let check = |value: &str, passphrase: &str, expected: Option<&str>| {
            let term = Method::default().decrypt(value, passphrase);
            let text = term.and_then(|term| Some(Value::from_external(&term)?.to_string()));
            assert_eq!(text.as_deref(), expected, "{value}");
        };
        let string = "xaN0yB97O6Jcm4IlwxTu8ugTzj3Pey+sE7G57hz6PSlAG6pRjz5JUVxtVjUPPBtq";
        check(string, "pass", Some("\"v\""));
        check(string, "wrong", None);
        let atom = "c7CSAgZdLX8C/OXk86lEytzf6SR/Ell0sW0raUH039w2Sg97Lmmh0/1QoO8I/Z10";
        check(atom, "p", Some("'A b'"));
        let binary = "C3cOVFQuFt55tGya6N9M/smyWlne1mqieGjduDx22Ska5lbzFltO0WhnhrSMzmAd";
        check(binary, "p", Some("<<\"bin\">>"));
        let list = "pcEz/zzX3sRQo3bYjrd/MkQGyy7bA/lV3KjKf7ZxQerHBFaRvjJreV0JU7jT5Y6iuAVXguOuGccfyV7afB7E+A==";
        check(list, "p", Some("[{user,<<\"a\">>},{p,\"q\"}]"));
        let float = "lvH5393B7pyOb3JStFSKHKekJDnprRMzbrcd9/+kNbpC37+lewGSQUtSgX4ornZ5";
        check(float, "p", Some("1.5"));
        for nonsense in ["", "AAAA", "no base64", &string[..60], &string[..44]] {
            check(nonsense, "pass", None);
        }
    }
}
