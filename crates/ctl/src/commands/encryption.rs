//! Encrypting values for a configuration, and reading what was encrypted. No node is asked.

use serde_json::{Value as Json, json};

use super::random;
use crate::call::Call;
use crate::command::{Command, Section, Switch};
use crate::encryption::{CIPHERS, HASHES, Method};
use crate::erlang::Value;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::prompt;

const USAGE: &str =
    "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]";
const SWITCHES: &[Switch] = &[
    Switch::text("cipher"),
    Switch::text("hash"),
    Switch::number("iterations"),
];

pub(super) const COMMANDS: &[Command] = &[
    command(
        "encode",
        "Encrypts a value, an Erlang term, for advanced.config",
        |call, _| {
            let value = encrypt(call)?;
            let text = format!("{{encrypted,<<\"{value}\">>}}");
            Ok(said(call, text, json!(["encrypted", value])))
        },
    )
    .check(|call| method(call).map(drop))
    .banner(|_| "Encrypting value to be used in advanced.config...".to_owned()),
    command(
        "decode",
        "Shows what an encrypted value of advanced.config is",
        decrypt,
    )
    .check(check_decryption)
    .banner(|_| "Decrypting an advanced.config (Erlang term) value...".to_owned()),
    command(
        "encrypt_conf_value",
        "Encrypts a value for rabbitmq.conf",
        |call, _| {
            let value = encrypt(call)?;
            let text = format!("encrypted:{value}");
            Ok(said(call, text, json!(value)))
        },
    )
    .check(|call| method(call).map(drop))
    .banner(|_| "Encrypting value to be used in rabbitmq.conf...".to_owned()),
    command(
        "decrypt_conf_value",
        "Shows what an encrypted value of rabbitmq.conf is",
        decrypt,
    )
    .check(check_decryption)
    .banner(|_| "Decrypting a rabbitmq.conf string value...".to_owned()),
    Command::new(
        Section::Configuration,
        "list_ciphers",
        "Lists the ciphers that values can be encrypted with",
        0..=0,
        |call, _| Ok(names(call, CIPHERS)),
    )
    .banner(|_| "Listing supported ciphers ...".to_owned()),
    Command::new(
        Section::Configuration,
        "list_hashes",
        "Lists the hashes that a key can be made of a passphrase with",
        0..=0,
        |call, _| Ok(names(call, HASHES)),
    )
    .banner(|_| "Listing supported hash algorithms ...".to_owned()),
];

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&Call<'_>, &Node) -> Result<Output, Failure>,
) -> Command {
    Command::new(Section::Configuration, name, about, 0..=2, run)
        .usage(USAGE)
        .switches(SWITCHES)
}

fn said(call: &Call<'_>, text: String, value: Json) -> Output {
    let json = json!({ "node": call.node, "result": "ok", "value": value });
    Output::Report { text, json }
}

fn names<T>(call: &Call<'_>, table: &[(&str, T)]) -> Output {
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    said(call, format!("[{}]", names.join(",")), json!(names))
}

fn check_decryption(call: &Call<'_>) -> Result<(), Failure> {
    if call.arguments.is_empty() {
        return Err(Failure::usage(
            "not enough arguments: Please provide a value to decode and a passphrase",
        ));
    }
    method(call).map(drop)
}

fn method(call: &Call<'_>) -> Result<Method, Failure> {
    let mut method = Method::default();
    if let Some(name) = call.value("cipher") {
        method.cipher = named(CIPHERS, name)
            .ok_or_else(|| Failure::argument("The requested cipher is not supported."))?;
    }
    if let Some(name) = call.value("hash") {
        method.hash = named(HASHES, name)
            .ok_or_else(|| Failure::argument("The requested hash is not supported"))?;
    }
    if let Some(number) = call.number("iterations") {
        let rounds = u32::try_from(number).ok().filter(|&rounds| rounds > 0);
        method.iterations = rounds
            .ok_or_else(|| Failure::argument("The requested number of iterations is incorrect"))?;
    }
    Ok(method)
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

/// An argument, or what is typed if it was left out.
fn given(call: &Call<'_>, place: usize, asking: &str) -> Result<String, Failure> {
    let given = call.arguments.get(place).cloned();
    let value = given.or_else(|| prompt::secret(asking));
    value.ok_or_else(|| Failure::error("not_enough_args"))
}

fn encrypt(call: &Call<'_>) -> Result<String, Failure> {
    let value = given(call, 0, "Value to encode: ")?;
    let passphrase = given(call, 1, "Passphrase: ")?;
    let term =
        Value::parse(&value).ok_or_else(|| Failure::error("Error during cipher operation"))?;
    Ok(method(call)?.encrypt(&term.to_external(), &passphrase, &random()?))
}

fn decrypt(call: &Call<'_>, _: &Node) -> Result<Output, Failure> {
    let passphrase = given(call, 1, "Passphrase: ")?;
    let octets = method(call)?.decrypt(&bare(call.argument(0)), &passphrase);
    let term = octets.and_then(|octets| Value::from_external(&octets));
    let term = term.ok_or_else(|| {
        Failure::error(
            "Failed to decrypt the value. Things to check: is the passphrase correct? \
             Are the cipher and hash algorithms the same as those used for encryption?",
        )
    })?;
    Ok(said(call, term.to_string(), term.to_json()))
}

/// The Base64 of an encrypted value: as it is, or in any of the forms that configurations have it in.
fn bare(value: &str) -> String {
    let text = match Value::parse(value) {
        Some(Value::Tuple(items)) => match items.as_slice() {
            [Value::Atom(name), value] if name == "encrypted" => value.to_text(),
            _ => None,
        },
        Some(Value::Binary(octets)) => String::from_utf8(octets).ok(),
        Some(Value::List(list)) => Value::List(list).to_text(),
        _ => None,
    };
    let text = text.unwrap_or_else(|| value.to_owned());
    text.trim_start_matches("encrypted:").to_owned()
}
