//! Policies and operator policies.

use serde_json::{Value, json};

use super::{all_columns, exists, parse_json};
use crate::call::Call;
use crate::command::{
    CTL_AND_DIAGNOSTICS, Column, Command, DIAGNOSTICS, Section, Switch, TIMEOUT, column,
};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::Output;
use crate::term::Kind;

const LIST: [Column; 6] = [
    column("vhost", Kind::Plain),
    column("name", Kind::Plain),
    column("pattern", Kind::Plain),
    column("apply-to", Kind::Plain),
    column("definition", Kind::Json),
    column("priority", Kind::Plain),
];

const SET_SWITCHES: &[Switch] = &[Switch::number("priority"), Switch::text("apply-to")];
const SET_USAGE: &str = "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Policies,
        "set_policy",
        "Sets or replaces a policy",
        3..=3,
        |call, node| set(call, node, "policies"),
    )
    .usage(SET_USAGE)
    .switches(SET_SWITCHES)
    .banner(|call| setting(call, "policy")),
    Command::new(
        Section::Policies,
        "clear_policy",
        "Deletes a policy",
        1..=1,
        |call, node| clear(call, node, "policies"),
    )
    .usage("[--vhost <vhost>] <name>")
    .banner(|call| {
        format!(
            "Clearing policy \"{}\" on vhost \"{}\" ...",
            call.argument(0),
            call.vhost()
        )
    }),
    Command::new(
        Section::Policies,
        "list_policies",
        "Lists the policies of a virtual host",
        0..=0,
        |call, node| list(call, node, "policies"),
    )
    .usage("[--vhost <vhost>] [--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|call| format!("Listing policies for vhost \"{}\" ...", call.vhost())),
    Command::new(
        Section::Policies,
        "set_operator_policy",
        "Sets or replaces a policy that limits what other policies may say",
        3..=3,
        |call, node| set(call, node, "operator-policies"),
    )
    .usage(SET_USAGE)
    .switches(SET_SWITCHES)
    .banner(|call| setting(call, "operator policy override")),
    Command::new(
        Section::Policies,
        "clear_operator_policy",
        "Deletes an operator policy",
        1..=1,
        |call, node| clear(call, node, "operator-policies"),
    )
    .usage("[--vhost <vhost>] <name>")
    .banner(|call| {
        let (name, vhost) = (call.argument(0), call.vhost());
        format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ...")
    }),
    Command::new(
        Section::Policies,
        "list_operator_policies",
        "Lists the operator policies of a virtual host",
        0..=0,
        |call, node| list(call, node, "operator-policies"),
    )
    .usage("[--vhost <vhost>] [--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|call| {
        format!(
            "Listing operator policy overrides for vhost \"{}\" ...",
            call.vhost()
        )
    }),
    Command::new(
        Section::Policies,
        "list_policies_that_match",
        "Lists the policies whose pattern matches a queue or exchange, that in effect first",
        1..=1,
        list_matching,
    )
    .usage("[--vhost <vhost>] [--object-type <object_type>] <name>")
    .tools(DIAGNOSTICS)
    .switches(&[Switch::text("object-type")])
    .check(|call| match object_type(call) {
        "queue" | "exchange" => Ok(()),
        _ => Err(Failure::argument("object type must be queue or exchange")),
    })
    .table()
    .banner(|call| {
        let (kind, name, vhost) = (object_type(call), call.argument(0), call.vhost());
        format!("Listing policies that match {kind} '{name}' in vhost '{vhost}' ...")
    }),
];

fn setting(call: &Call<'_>, what: &str) -> String {
    let (name, pattern, definition) = (call.argument(0), call.argument(1), call.argument(2));
    let (priority, vhost) = (priority(call), call.vhost());
    format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" \
         with priority \"{priority}\" for vhost \"{vhost}\" ..."
    )
}

fn priority(call: &Call<'_>) -> i64 {
    call.number("priority").unwrap_or_default()
}

fn object_type<'a>(call: &'a Call<'_>) -> &'a str {
    call.value("object-type").unwrap_or("queue")
}

fn set(call: &Call<'_>, node: &Node, kind: &str) -> Result<Output, Failure> {
    let body = json!({
        "pattern": call.argument(1),
        "definition": parse_json(call.argument(2))?,
        "priority": priority(call),
        "apply-to": call.value("apply-to").unwrap_or("all"),
    });
    node.put(&path([kind, call.vhost(), call.argument(0)]), &body)
        .map_err(|refused| refused.or_not_found(|| Failure::no_vhost(call.vhost())))?;
    Ok(Output::Done)
}

fn clear(call: &Call<'_>, node: &Node, kind: &str) -> Result<Output, Failure> {
    node.delete(&path([kind, call.vhost(), call.argument(0)]))
        .map_err(|refused| refused.or_not_found(|| Failure::error("Parameter does not exist")))?;
    Ok(Output::Done)
}

fn list(call: &Call<'_>, node: &Node, kind: &str) -> Result<Output, Failure> {
    Ok(all_columns(&of_vhost(call, node, kind)?, &LIST))
}

fn of_vhost(call: &Call<'_>, node: &Node, kind: &str) -> Result<Vec<Value>, Failure> {
    let answer = node.get(&path([kind, call.vhost()]));
    let objects =
        answer.map_err(|refused| refused.or_not_found(|| Failure::no_vhost(call.vhost())))?;
    Ok(objects.as_array().cloned().unwrap_or_default())
}

fn list_matching(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (vhost, name, kind) = (call.vhost(), call.argument(0), object_type(call));
    let collection = if kind == "queue" {
        "queues"
    } else {
        "exchanges"
    };
    let object = exists(node.get(&path([collection, vhost, name])))?;
    let object = object.ok_or_else(Failure::no_object)?;
    let mut policies = of_vhost(call, node, "policies")?;
    policies.retain(|policy| applies(policy, kind, &object["type"], name));
    policies.sort_by_key(|policy| std::cmp::Reverse(policy["priority"].as_i64()));
    Ok(all_columns(&policies, &LIST))
}

/// Whether a policy is meant for this kind of object, and its pattern matches the name.
fn applies(policy: &Value, kind: &str, queue_type: &Value, name: &str) -> bool {
    let meant = match policy["apply-to"].as_str().unwrap_or_default() {
        "all" => true,
        "exchanges" => kind == "exchange",
        "queues" => kind == "queue",
        "classic_queues" => kind == "queue" && queue_type == "classic",
        "quorum_queues" => kind == "queue" && queue_type == "quorum",
        "streams" => kind == "queue" && queue_type == "stream",
        _ => false,
    };
    let pattern = policy["pattern"].as_str().unwrap_or_default();
    meant && regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_match_what_they_are_for() {
        let check = |apply_to: &str, pattern: &str, kind: &str, queue_type: &str, matches: bool| {
            let policy = json!({ "apply-to": apply_to, "pattern": pattern });
            assert_eq!(
                applies(&policy, kind, &queue_type.into(), "q1"),
                matches,
                "{policy}"
            );
        };
        check("all", "^q", "queue", "classic", true);
        check("all", "^q", "exchange", "topic", true);
        check("queues", "1$", "queue", "quorum", true);
        check("queues", "^q", "exchange", "topic", false);
        check("quorum_queues", "^q", "queue", "classic", false);
        check("classic_queues", "^q", "queue", "classic", true);
        check("exchanges", "^q", "exchange", "topic", true);
        check("all", "^x", "queue", "classic", false);
        check("all", "(", "queue", "classic", false);
    }
}
