//! Feature flags, and features that are going away.

use serde_json::{Value, json};

use super::rows;
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Column, Command, Section, Switch, plain};
use crate::failure::{Failure, USAGE};
use crate::node::{Node, path};
use crate::output::Output;

const FLAGS: [Column; 6] = [
    plain("name", "name"),
    plain("state", "state"),
    plain("stability", "stability"),
    plain("provided_by", "provided_by"),
    plain("desc", "desc"),
    plain("doc_url", "doc_url"),
];

const DEPRECATED: [Column; 6] = [
    plain("name", "name"),
    plain("deprecation_phase", "deprecation_phase"),
    plain("state", "state"),
    plain("provided_by", "provided_by"),
    plain("desc", "desc"),
    plain("doc_url", "doc_url"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::FeatureFlags,
        "enable_feature_flag",
        "Enables a feature flag, or all stable ones",
        1..=1,
        enable,
    )
    .usage("[--opt-in] <all | feature_flag>")
    .switches(&[
        Switch::flag("experimental").short('e'),
        Switch::flag("opt-in").short('o'),
    ])
    .check(|call| match call.argument(0) {
        "" => Err(Failure::argument(
            "feature flag (or group) name cannot be an empty string",
        )),
        _ => Ok(()),
    })
    .banner(|call| match call.argument(0) {
        "all" => "Enabling all feature flags ...".to_owned(),
        name => format!("Enabling feature flag \"{name}\" ..."),
    }),
    Command::new(
        Section::FeatureFlags,
        "list_feature_flags",
        "Lists feature flags",
        0..=usize::MAX,
        |call, node| {
            let columns = call.columns(&["name", "state"])?;
            Ok(rows(&by_name(node.list("/api/feature-flags")?), &columns))
        },
    )
    .usage("[<column> ...]")
    .tools(CTL_AND_DIAGNOSTICS)
    .columns(&FLAGS)
    .check(|call| call.columns(&[]).map(drop))
    .table()
    .banner(|_| "Listing feature flags ...".to_owned()),
    Command::new(
        Section::FeatureFlags,
        "list_deprecated_features",
        "Lists features that are going away",
        0..=usize::MAX,
        |call, node| {
            let columns = call.columns(&["name", "deprecation_phase", "state"])?;
            Ok(rows(&by_name(node.list(list_path(call))?), &columns))
        },
    )
    .usage("[--used] [<column> ...]")
    .tools(CTL_AND_DIAGNOSTICS)
    .columns(&DEPRECATED)
    .switches(&[Switch::flag("used")])
    .check(|call| call.columns(&[]).map(drop))
    .pretty_table()
    .banner(|call| match call.flag("used") {
        true => "Listing deprecated features in use ...".to_owned(),
        false => "Listing deprecated features ...".to_owned(),
    }),
    Command::new(
        Section::Monitoring,
        "check_if_any_deprecated_features_are_used",
        "Fails if a feature that is going away is in use",
        0..=0,
        check_deprecated,
    )
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|_| "Checking if any deprecated features are used ...".to_owned()),
];

fn list_path(call: &Call<'_>) -> &'static str {
    if call.flag("used") {
        "/api/deprecated-features/used"
    } else {
        "/api/deprecated-features"
    }
}

fn by_name(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    objects
}

fn enable(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let name = call.argument(0);
    let is_opted_in = call.flag("opt-in") || call.flag("experimental");
    if name == "all" && is_opted_in {
        return Err(Failure::error_with(
            USAGE,
            "`--opt-in` (aliased as `--experimental`) flag is not allowed when enabling all \
             feature flags.\nUse --opt-in with a specific feature flag name if to enable an opt-in flag",
        ));
    }
    let flags = node.list("/api/feature-flags")?;
    let flag = flags.iter().find(|flag| flag["name"] == name);
    let (unsupported, stability) = (
        name != "all" && flag.is_none(),
        flag.map(|flag| &flag["stability"]),
    );
    if unsupported {
        return Err(Failure::error_with(
            USAGE,
            format!("This feature flag is not supported by node {}", call.node),
        ));
    }
    if stability.is_some_and(|stability| stability == "experimental") && !is_opted_in {
        return Err(Failure::error_with(
            USAGE,
            format!(
                "Feature flag {name} requires the user to explicitly opt-in.\n\
                 Use --opt-in with a specific feature flag name if to enable an opt-in flag"
            ),
        ));
    }
    // The API knows flags by name only; what stands for all are the stable ones that are not enabled yet.
    let chosen = flags.iter().filter(|flag| {
        let is_stable = flag["stability"] != "experimental" && flag["state"] != "enabled";
        if name == "all" {
            is_stable
        } else {
            flag["name"] == name
        }
    });
    for flag in chosen {
        let flag = flag["name"].as_str().unwrap_or_default();
        node.put(
            &path(["feature-flags", flag, "enable"]),
            &json!({ "name": flag }),
        )?;
    }
    Ok(Output::Done)
}

fn check_deprecated(_: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let used = by_name(node.list("/api/deprecated-features/used")?);
    let names: Vec<&str> = used
        .iter()
        .filter_map(|feature| feature["name"].as_str())
        .collect();
    if names.is_empty() {
        return Ok(Output::Report {
            text: "Cluster reported no deprecated features in use".to_owned(),
            json: json!({ "result": "ok" }),
        });
    }
    Err(Failure::Check {
        text: names.join("\n"),
        json: json!({
            "result": "error",
            "deprecated_features": names,
            "message": "Cluster reported deprecated features in use",
        }),
    })
}
