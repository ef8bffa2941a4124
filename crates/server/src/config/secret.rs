//! Encrypted values, `encrypted:` and what `rabbitmqctl encrypt_conf_value` prints (E17).
//!
//! The term that was encrypted is a binary, a string or an atom.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use leveret_ctl::encryption::Method;
use leveret_ctl::erlang::Value;
use leveret_ctl::prompt;

/// What stands before an encrypted value.
pub(super) const PREFIX: &str = "encrypted:";

/// The passphrase that stands for asking whoever starts the node.
const PROMPT: &str = "prompt";

/// `config_entry_decoder.*`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Decoder {
    pub(super) passphrase: Option<String>,
    /// Its first line is the passphrase.
    pub(super) passphrase_file: Option<PathBuf>,
    pub(super) method: Method,
}

/// Without the passphrase.
impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// The value without its encryption.
    pub(super) fn decrypt(&self, value: &str) -> Result<String, String> {
        let passphrase = self.passphrase()?;
        let encrypted = value.strip_prefix(PREFIX).unwrap_or(value);
        let term = self.method.decrypt(encrypted, &passphrase);
        let text = term.and_then(|term| Value::from_external(&term)?.to_text());
        text.ok_or_else(|| "can't be decrypted by config_entry_decoder".to_owned())
    }

    fn passphrase(&self) -> Result<String, String> {
        match &self.passphrase {
            Some(passphrase) if passphrase == PROMPT => return asked_for(),
            Some(passphrase) => return Ok(passphrase.clone()),
            None => {}
        }
        let file = self
            .passphrase_file
            .as_ref()
            .ok_or("is encrypted, and config_entry_decoder.passphrase is not set")?;
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// The passphrase of who sits at the terminal. They are asked once: nobody may be there when the configuration is read again.
fn asked_for() -> Result<String, String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let asking = "\nPlease enter the passphrase to unlock encrypted configuration entries.\n\nPassphrase: ";
        prompt::secret_on(&mut io::stderr(), asking)
    };
    let answer = ANSWER.get_or_init(ask).clone();
    answer.ok_or_else(|| "is encrypted, and nobody told the passphrase".to_owned())
}

#[cfg(test)]
mod tests {
    use leveret_ctl::encryption::{Cipher, Hash};

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
        let mut often = by("pass2");
        often.method.iterations = 10;
        let value = "encrypted:pBV5OnJigOzYC+p814tbqk3m+rXF3IrUXIv00tTL+8YOBZJ7LX1LJ0PDoYs+nqCe";
        check(value, &often, Some("s3cret"));
        check(value, &by("pass2"), None);
        // rabbitmqctl encode --cipher aes_256_cbc --hash sha512 --iterations 1000
        let strong = Decoder {
            method: Method {
                cipher: Cipher::Aes256,
                hash: Hash::Sha512,
                iterations: 1000,
            },
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
}
