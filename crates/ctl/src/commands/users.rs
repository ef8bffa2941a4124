//! Users, their passwords, tags and limits.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::{all_columns, exists, gone, parse_json, random};
use crate::call::Call;
use crate::command::{
    CTL_AND_DIAGNOSTICS, Column, Command, Section, Switch, TIMEOUT, column, plain,
};
use crate::failure::{DATA, Failure, NO_USER, SOFTWARE};
use crate::node::{Node, Refused, path};
use crate::output::Output;
use crate::prompt;
use crate::term::Kind;

/// More tags than this are taken for a mistake.
const TAGS_MAX: usize = 32;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Users,
        "add_user",
        "Creates a user, without any permissions",
        1..=2,
        add,
    )
    .usage("<username> [<password>] [<password_hash> --pre-hashed-password]")
    .switches(&[Switch::flag("pre-hashed-password")])
    .check(check_new_user)
    .banner(|call| format!("Adding user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Users,
        "authenticate_user",
        "Tries a user's password; fails if it is not right",
        1..=2,
        authenticate,
    )
    .usage("<username> <password>")
    .banner(|call| format!("Authenticating user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Users,
        "change_password",
        "Gives a user another password",
        1..=2,
        change_password,
    )
    .usage("<username> <password>")
    .banner(|call| format!("Changing password for user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Users,
        "clear_password",
        "Takes a user's password away, so that nobody can log in with it",
        1..=1,
        clear_password,
    )
    .usage("<username>")
    .banner(|call| format!("Clearing password for user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Users,
        "delete_user",
        "Deletes a user of the internal database",
        1..=1,
        |call, node| gone(node.delete(&path(["users", call.argument(0)]))),
    )
    .usage("<username>")
    .banner(|call| format!("Deleting user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Users,
        "list_users",
        "Lists users and their tags",
        0..=0,
        |_, node| {
            const COLUMNS: [Column; 2] = [plain("user", "name"), column("tags", Kind::Plain)];
            Ok(all_columns(&node.list("/api/users")?, &COLUMNS))
        },
    )
    .usage("[--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|_| "Listing users ...".to_owned()),
    Command::new(
        Section::Users,
        "set_user_tags",
        "Replaces a user's tags",
        1..=usize::MAX,
        set_tags,
    )
    .usage("<username> <tag> [...]")
    .check(check_tags)
    .banner(|call| {
        let tags = call.arguments[1..].join(", ");
        format!(
            "Setting tags for user \"{}\" to [{tags}] ...",
            call.argument(0)
        )
    }),
    Command::new(
        Section::Users,
        "set_user_limits",
        "Limits a user's connections or channels",
        2..=2,
        set_limits,
    )
    .usage("<username> <definition>")
    .banner(|call| {
        let (user, definition) = (call.argument(0), call.argument(1));
        format!("Setting user limits to \"{definition}\" for user \"{user}\" ...")
    }),
    Command::new(
        Section::Users,
        "clear_user_limits",
        "Lifts one or all of a user's limits",
        2..=2,
        clear_limits,
    )
    .usage("<username> <limit_type> | all")
    .banner(|call| match (call.argument(0), call.argument(1)) {
        (user, "all") => format!("Clearing all limits for user \"{user}\" ..."),
        (user, limit) => format!("Clearing \"{limit}\" limit for user \"{user}\" ..."),
    }),
    Command::new(
        Section::Users,
        "list_user_limits",
        "Shows the limits of a user, or of all",
        0..=0,
        list_limits,
    )
    .usage("[--user <username>] [--global]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[Switch::flag("global"), Switch::text("user")])
    .table()
    .banner(|call| {
        if call.flag("global") {
            return "Listing limits for all users ...".to_owned();
        }
        let user = call.value("user").unwrap_or("guest");
        format!("Listing limits for user \"{user}\" ...")
    }),
    Command::new(
        Section::Other,
        "hash_password",
        "Prints the salted hash of a password, as definitions files have it",
        0..=1,
        hash_password,
    )
    .usage("<cleartext_password> [--hashing-algorithm <algorithm>]")
    .switches(&[Switch::text("hashing-algorithm")])
    .check(check_hashing)
    .banner(|call| match call.arguments.first() {
        Some(password) => format!("Will hash password {password}"),
        None => "Will hash provided password".to_owned(),
    }),
];

fn check_new_user(call: &Call<'_>) -> Result<(), Failure> {
    let Some(secret) = call.arguments.get(1) else {
        return Ok(());
    };
    if call.argument(0).is_empty() {
        return Err(Failure::argument("user cannot be an empty string"));
    }
    if call.flag("pre-hashed-password") && BASE64_STANDARD.decode(secret).is_err() {
        return Err(Failure::argument(
            "Could not Base64 decode provided password hash value",
        ));
    }
    Ok(())
}

fn add(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let user = call.argument(0);
    let secret = if call.flag("pre-hashed-password") {
        json!({ "password_hash": secret(call, "Hashed and salted password: ", DATA)? })
    } else {
        json!({ "password": secret(call, "Password: ", DATA)? })
    };
    let at = path(["users", user]);
    if exists(node.get(&at))?.is_some() {
        return Err(Failure::error_with(
            SOFTWARE,
            format!("User \"{user}\" already exists"),
        ));
    }
    let mut body = secret;
    body["tags"] = "".into();
    node.put(&at, &body)?;
    if call.is_quiet() {
        return Ok(Output::Done);
    }
    let text = "Done. Don't forget to grant the user permissions to some virtual hosts! \
                See 'rabbitmqctl help set_permissions' to learn more.";
    Ok(Output::Report {
        text: text.to_owned(),
        json: json!({ "status": "ok", "node": call.node, "message": text }),
    })
}

/// The argument behind the user's name, or a line of standard input; a failure with this code without either.
fn secret(call: &Call<'_>, asking: &str, code: u8) -> Result<String, Failure> {
    let argument = call.arguments.get(1).cloned();
    let secret = argument.or_else(|| prompt::secret(asking));
    secret
        .ok_or_else(|| Failure::error_with(code, "Password is not provided via argument or stdin"))
}

fn authenticate(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let user = call.argument(0);
    let password = secret(call, "Password: ", SOFTWARE)?;
    match node.authenticate(user, &password) {
        Ok(()) => Ok(Output::Text("Success".to_owned())),
        Err(Refused::Refusal(refusal)) => Err(Failure::error_with(
            DATA,
            format!(
                "Error: failed to authenticate user \"{user}\"\n{}",
                refusal.reason
            ),
        )),
        Err(refused) => Err(refused.into()),
    }
}

fn change_password(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let password = secret(call, "Password: ", SOFTWARE)?;
    let user = known_user(call, node)?;
    let body = json!({ "password": password, "tags": user["tags"] });
    node.put(&path(["users", call.argument(0)]), &body)?;
    Ok(Output::Done)
}

fn clear_password(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let name = call.argument(0);
    let user = exists(node.get(&path(["users", name])))?.ok_or_else(|| no_such_user(name))?;
    let body = json!({ "password_hash": "", "tags": user["tags"] });
    node.put(&path(["users", name]), &body)?;
    Ok(Output::Done)
}

fn known_user(call: &Call<'_>, node: &Node) -> Result<Value, Failure> {
    let name = call.argument(0);
    exists(node.get(&path(["users", name])))?
        .ok_or_else(|| Failure::error_with(NO_USER, format!("User \"{name}\" does not exist")))
}

/// What RabbitMQ's tools say where they have no words for it.
pub(super) fn no_such_user(name: &str) -> Failure {
    Failure::error(format!("{{:no_such_user, \"{name}\"}}"))
}

fn check_tags(call: &Call<'_>) -> Result<(), Failure> {
    let count = call.arguments.len() - 1;
    if count > TAGS_MAX {
        return Err(Failure::argument(format!(
            "A user can have at most {TAGS_MAX} tags (received {count})"
        )));
    }
    Ok(())
}

fn set_tags(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let user = known_user(call, node)?;
    let mut body = json!({
        "password_hash": user["password_hash"],
        "hashing_algorithm": user["hashing_algorithm"],
        "tags": call.arguments[1..],
    });
    if user["hashing_algorithm"].is_null() {
        body.as_object_mut()
            .expect("it is an object")
            .remove("hashing_algorithm");
    }
    node.put(&path(["users", call.argument(0)]), &body)?;
    Ok(Output::Done)
}

fn set_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let user = call.argument(0);
    let Value::Object(limits) = parse_json(call.argument(1))? else {
        return Err(Failure::error("Limits are an object of JSON"));
    };
    if exists(node.get(&path(["users", user])))?.is_none() {
        return Err(no_such_user(user));
    }
    put_limits(node, "user-limits", user, &limits)?;
    Ok(Output::Done)
}

/// Sets each limit of a user or virtual host; the node takes them one by one.
pub(super) fn put_limits(
    node: &Node,
    kind: &str,
    of: &str,
    limits: &Map<String, Value>,
) -> Result<(), Failure> {
    for (name, value) in limits {
        node.put(&path([kind, of, name]), &json!({ "value": value }))?;
    }
    Ok(())
}

/// The limits that are set for a user or virtual host.
pub(super) fn limits_of(node: &Node, kind: &str, of: &str) -> Result<Map<String, Value>, Failure> {
    let list = node.list(&path([kind, of]))?;
    Ok(match list.first().map(|entry| &entry["value"]) {
        Some(Value::Object(limits)) => limits.clone(),
        _ => Map::new(),
    })
}

fn clear_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (user, limit) = (call.argument(0), call.argument(1));
    if exists(node.get(&path(["users", user])))?.is_none() {
        return Err(no_such_user(user));
    }
    if limit != "all" {
        return gone(node.delete(&path(["user-limits", user, limit])));
    }
    for name in limits_of(node, "user-limits", user)?.keys() {
        gone(node.delete(&path(["user-limits", user, name])))?;
    }
    Ok(Output::Done)
}

fn list_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    const COLUMNS: [Column; 2] = [
        column("user", Kind::Plain),
        Column {
            name: "limits",
            kind: Kind::Json,
            field: "value",
        },
    ];
    if call.flag("global") {
        return Ok(all_columns(&node.list("/api/user-limits")?, &COLUMNS));
    }
    let user = call.value("user").unwrap_or("guest");
    if exists(node.get(&path(["users", user])))?.is_none() {
        return Err(no_such_user(user));
    }
    let limits = limits_of(node, "user-limits", user)?;
    Ok(Output::Text(Value::Object(limits).to_string()))
}

fn check_hashing(call: &Call<'_>) -> Result<(), Failure> {
    if call.arguments.first().is_some_and(String::is_empty) {
        return Err(Failure::argument("password cannot be an empty string"));
    }
    match call.value("hashing-algorithm") {
        Some(name) if hashed(name, &[]).is_none() => Err(Failure::argument(format!(
            "unsupported hashing algorithm: {name}"
        ))),
        _ => Ok(()),
    }
}

fn hash_password(call: &Call<'_>, _: &Node) -> Result<Output, Failure> {
    let given = call.arguments.first().cloned();
    let password = given.or_else(|| prompt::secret("Password: "));
    let password = password.ok_or_else(|| Failure::error("not_enough_args"))?;
    let salt = random()?;
    let algorithm = call.value("hashing-algorithm").unwrap_or("sha256");
    Ok(Output::Text(salted_hash(algorithm, salt, &password)))
}

/// RabbitMQ's form of a password's hash: four octets of salt, the hash of salt and password, in Base64.
fn salted_hash(algorithm: &str, salt: [u8; 4], password: &str) -> String {
    let mut bytes = salt.to_vec();
    let hash = hashed(algorithm, &[&salt[..], password.as_bytes()].concat());
    bytes.extend(hash.expect("the check knows the algorithm"));
    BASE64_STANDARD.encode(bytes)
}

fn hashed(algorithm: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    match algorithm.to_ascii_lowercase().as_str() {
        "sha256" | "sha-256" => Some(Sha256::digest(bytes).to_vec()),
        "sha512" | "sha-512" => Some(Sha512::digest(bytes).to_vec()),
        "md5" => Some(Md5::digest(bytes).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_rabbitmqs() {
        let check = |algorithm: &str, hash: &str, password: &str| {
            let bytes = BASE64_STANDARD.decode(hash).unwrap();
            let salt = bytes[..4].try_into().unwrap();
            assert_eq!(salted_hash(algorithm, salt, password), hash);
        };
        check(
            "sha256",
            "OBeOqatoV/hh+6edCH54NirUQAJH028wX9fNlP3QRpl3KI2n",
            "foo",
        );
        check(
            "SHA-512",
            "0AZUB64fO59BiMNMRC+x90vRsfcg7eCD2/INzYAAqZf/asPmMiE8jmcJ7FGWDbmPTRjdWgApH7/mAE7SzdyTefgwSVo=",
            "foo",
        );
        assert_eq!(hashed("md4", b""), None);
    }
}
