//! Runtime parameters, of a virtual host and of the cluster.

use serde_json::json;

use super::{all_columns, exists, parse_json};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Column, Command, Section, TIMEOUT, column};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::Output;
use crate::term::Kind;

const COMPONENT: Column = column("component", Kind::Plain);
const NAME: Column = column("name", Kind::Plain);
const VALUE: Column = column("value", Kind::Json);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::Parameters, "set_parameter", "Sets a parameter of a component", 3..=3, |call, node| {
        let (component, name) = (call.argument(0), call.argument(1));
        let body = json!({ "value": parse_json(call.argument(2))? });
        node.put(&path(["parameters", component, call.vhost(), name]), &body)
            .map_err(|refused| refused.or_not_found(|| Failure::no_vhost(call.vhost())))?;
        Ok(Output::Done)
    })
    .usage("[--vhost <vhost>] <component_name> <name> <value>")
    .banner(|call| {
        let (component, name, value) = (call.argument(0), call.argument(1), call.argument(2));
        let vhost = call.vhost();
        format!(
            "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
        )
    }),
    Command::new(Section::Parameters, "clear_parameter", "Deletes a parameter of a component", 2..=2, |call, node| {
        let (component, name) = (call.argument(0), call.argument(1));
        clear(node, &path(["parameters", component, call.vhost(), name]))
    })
    .usage("[--vhost <vhost>] <component_name> <name>")
    .banner(|call| {
        let (component, name, vhost) = (call.argument(0), call.argument(1), call.vhost());
        format!("Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ...")
    }),
    Command::new(Section::Parameters, "list_parameters", "Lists the parameters of a virtual host", 0..=0, list)
        .usage("[--vhost <vhost>] [--no-table-headers]")
        .tools(CTL_AND_DIAGNOSTICS)
        .switches(&[TIMEOUT])
        .table()
        .banner(|call| format!("Listing runtime parameters for vhost \"{}\" ...", call.vhost())),
    Command::new(Section::Parameters, "set_global_parameter", "Sets a parameter of the cluster", 2..=2, |call, node| {
        let name = call.argument(0);
        let body = json!({ "name": name, "value": parse_json(call.argument(1))? });
        node.put(&path(["global-parameters", name]), &body)?;
        Ok(Output::Done)
    })
    .usage("<name> <value>")
    .banner(|call| {
        let (name, value) = (call.argument(0), call.argument(1));
        format!("Setting global runtime parameter \"{name}\" to \"{value}\" ...")
    }),
    Command::new(Section::Parameters, "clear_global_parameter", "Deletes a parameter of the cluster", 1..=1, |call, node| {
        clear(node, &path(["global-parameters", call.argument(0)]))
    })
    .usage("<name>")
    .banner(|call| format!("Clearing global runtime parameter \"{}\" ...", call.argument(0))),
    Command::new(Section::Parameters, "list_global_parameters", "Lists the parameters of the cluster", 0..=0, |_, node| {
        Ok(all_columns(&node.list("/api/global-parameters")?, &[NAME, VALUE]))
    })
    .usage("[--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .table()
    .banner(|_| "Listing global runtime parameters ...".to_owned()),
];

fn clear(node: &Node, at: &str) -> Result<Output, Failure> {
    node.delete(at)
        .map_err(|refused| refused.or_not_found(|| Failure::error("Parameter does not exist")))?;
    Ok(Output::Done)
}

fn list(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.vhost();
    if exists(node.get(&path(["vhosts", vhost])))?.is_none() {
        return Err(Failure::no_vhost(vhost));
    }
    let mut objects = node.list("/api/parameters")?;
    objects.retain(|object| object["vhost"] == vhost);
    Ok(all_columns(&objects, &[COMPONENT, NAME, VALUE]))
}
