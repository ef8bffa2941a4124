//! Who may do what: permissions and topic permissions.

use serde_json::{Value, json};

use super::{all_columns, exists, gone};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Column, Command, Section, TIMEOUT, column, plain};
use crate::commands::users::no_such_user;
use crate::failure::{Failure, NO_USER};
use crate::node::{Node, Refused, path};
use crate::output::Output;
use crate::term::Kind;

const CONFIGURE: Column = column("configure", Kind::Plain);
const EXCHANGE: Column = column("exchange", Kind::Plain);
const READ: Column = column("read", Kind::Plain);
const USER: Column = column("user", Kind::Plain);
const VHOST: Column = column("vhost", Kind::Plain);
const WRITE: Column = column("write", Kind::Plain);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::AccessControl, "set_permissions", "Gives a user permissions in a virtual host", 4..=4, |call, node| {
        set(call, node, call.vhost())
    })
    .usage("[--vhost <vhost>] <username> <conf> <write> <read>")
    .banner(|call| {
        let (user, vhost) = (call.argument(0), call.vhost());
        format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ...")
    }),
    Command::new(
        Section::AccessControl,
        "set_permissions_globally",
        "Gives a user permissions in every virtual host",
        4..=4,
        set_globally,
    )
    .usage("<username> <conf> <write> <read>")
    .banner(|call| {
        let user = call.argument(0);
        format!("Setting permissions for user \"{user}\" in all virtual hosts ...")
    }),
    Command::new(Section::AccessControl, "clear_permissions", "Takes a user's permissions in a virtual host", 1..=1, |call, node| {
        gone(node.delete(&path(["permissions", call.vhost(), call.argument(0)])))
    })
    .usage("[--vhost <vhost>] <username>")
    .banner(|call| {
        let (user, vhost) = (call.argument(0), call.vhost());
        format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ...")
    }),
    Command::new(Section::AccessControl, "list_permissions", "Lists the permissions in a virtual host", 0..=0, |call, node| {
        let objects = of_vhost(call, node, "permissions")?;
        Ok(all_columns(&objects, &[USER, CONFIGURE, WRITE, READ]))
    })
    .usage("[--vhost <vhost>] [--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|call| format!("Listing permissions for vhost \"{}\" ...", call.vhost())),
    Command::new(Section::AccessControl, "list_user_permissions", "Lists a user's permissions", 1..=1, |call, node| {
        let objects = of_user(call, node, "permissions")?;
        Ok(all_columns(&objects, &[VHOST, CONFIGURE, WRITE, READ]))
    })
    .usage("[--no-table-headers] <username>")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|call| format!("Listing permissions for user \"{}\" ...", call.argument(0))),
    Command::new(
        Section::AccessControl,
        "set_topic_permissions",
        "Limits the routing keys of a user at a topic exchange",
        4..=4,
        set_topic,
    )
    .usage("[--vhost <vhost>] <username> <exchange> <write> <read>")
    .banner(|call| {
        let (user, exchange, vhost) = (call.argument(0), call.argument(1), call.vhost());
        format!("Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ...")
    }),
    Command::new(
        Section::AccessControl,
        "clear_topic_permissions",
        "Lifts a user's topic permissions, of one exchange or of all",
        1..=2,
        clear_topic,
    )
    .usage("[--vhost <vhost>] <username> [<exchange>]")
    .banner(|call| {
        let (user, vhost) = (call.argument(0), call.vhost());
        match call.arguments.get(1) {
            Some(exchange) => format!(
                "Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
            ),
            None => format!("Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."),
        }
    }),
    Command::new(
        Section::AccessControl,
        "list_topic_permissions",
        "Lists the topic permissions in a virtual host",
        0..=0,
        |call, node| {
            let objects = of_vhost(call, node, "topic-permissions")?;
            Ok(all_columns(&objects, &[USER, EXCHANGE, WRITE, READ]))
        },
    )
    .usage("[--vhost <vhost>] [--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|call| format!("Listing topic permissions for vhost \"{}\" ...", call.vhost())),
    Command::new(
        Section::AccessControl,
        "list_user_topic_permissions",
        "Lists a user's topic permissions",
        1..=1,
        |call, node| {
            let objects = of_user(call, node, "topic-permissions")?;
            Ok(all_columns(&objects, &[VHOST, plain("exchange", "exchange"), WRITE, READ]))
        },
    )
    .usage("[--no-table-headers] <username>")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .no_headers()
    .banner(|call| format!("Listing topic permissions for user \"{}\" ...", call.argument(0))),
];

fn set(call: &Call<'_>, node: &Node, vhost: &str) -> Result<Output, Failure> {
    let body = json!({
        "configure": call.argument(1),
        "write": call.argument(2),
        "read": call.argument(3),
    });
    put(node, &["permissions", vhost, call.argument(0)], &body)?;
    Ok(Output::Done)
}

fn set_globally(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    for vhost in node.list("/api/vhosts?columns=name")? {
        set(call, node, vhost["name"].as_str().unwrap_or_default())?;
    }
    Ok(Output::Done)
}

fn set_topic(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let exchange = call.argument(1);
    let body = json!({
        "exchange": exchange,
        "write": call.argument(2),
        "read": call.argument(3),
    });
    // The API takes a topic permission on an exchange that is not there.
    if exists(node.get(&path(["exchanges", call.vhost(), exchange])))?.is_none()
        && exists(node.get(&path(["vhosts", call.vhost()])))?.is_some()
    {
        return Err(Failure::error(format!(
            "Exchange {exchange} does not exist"
        )));
    }
    put(
        node,
        &["topic-permissions", call.vhost(), call.argument(0)],
        &body,
    )?;
    Ok(Output::Done)
}

/// The API does not say which of user and virtual host is missing, so they are looked for.
fn put(node: &Node, at: &[&str; 3], body: &Value) -> Result<(), Failure> {
    let [_, vhost, user] = *at;
    let Err(refused) = node.put(&path(*at), body) else {
        return Ok(());
    };
    if matches!(refused, Refused::Failure(_)) {
        return Err(refused.into());
    }
    if exists(node.get(&path(["users", user])))?.is_none() {
        return Err(Failure::error_with(
            NO_USER,
            format!("User {user} does not exist"),
        ));
    }
    if exists(node.get(&path(["vhosts", vhost])))?.is_none() {
        return Err(Failure::error(format!(
            "Virtual host {vhost} does not exist"
        )));
    }
    Err(refused.into())
}

fn clear_topic(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (user, vhost) = (call.argument(0), call.vhost());
    match call.arguments.get(1) {
        Some(exchange) => gone(node.delete(&path(["topic-permissions", vhost, user, exchange]))),
        None => gone(node.delete(&path(["topic-permissions", vhost, user]))),
    }
}

/// The permissions of a kind in the call's virtual host, of users in order.
fn of_vhost(call: &Call<'_>, node: &Node, kind: &str) -> Result<Vec<Value>, Failure> {
    let answer = node.get(&path(["vhosts", call.vhost(), kind]));
    let objects =
        answer.map_err(|refused| refused.or_not_found(|| Failure::no_vhost(call.vhost())))?;
    Ok(objects.as_array().cloned().unwrap_or_default())
}

fn of_user(call: &Call<'_>, node: &Node, kind: &str) -> Result<Vec<Value>, Failure> {
    let user = call.argument(0);
    let answer = node.get(&path(["users", user, kind]));
    let objects = answer.map_err(|refused| refused.or_not_found(|| no_such_user(user)))?;
    Ok(objects.as_array().cloned().unwrap_or_default())
}
