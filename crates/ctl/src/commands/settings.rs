//! What can be changed in a running node, and what its configuration is.

use std::fs;

use serde_json::{Value, json};

use super::lifecycle::not_offered;
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, Section};
use crate::failure::{DATA, Failure, UNAVAILABLE};
use crate::node::Node;
use crate::output::Output;
use crate::prompt;

const LOG_LEVELS: [&str; 9] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
    "none",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::Configuration, "set_cluster_name", "Gives the cluster another name", 1..=1, |call, node| {
        node.put("/api/cluster-name", &json!({ "name": call.argument(0) }))?;
        Ok(Output::Done)
    })
    .usage("<name>")
    .banner(|call| format!("Setting cluster name to {} ...", call.argument(0))),
    Command::new(Section::Configuration, "set_log_level", "Changes how much the node logs, until it stops", 1..=1, |call, node| {
        let body = json!({ "level": call.argument(0) });
        node.put("/api/leveret/log/level", &body).map_err(not_offered)?;
        Ok(Output::Done)
    })
    .usage("<log_level>")
    .check(|call| {
        let level = call.argument(0);
        if LOG_LEVELS.contains(&level) {
            return Ok(());
        }
        Err(Failure::error(format!(
            "level {level} is not supported. Try one of debug, info, warning, error, critical, none"
        )))
    })
    .banner(|call| format!("Setting log level to \"{}\" ...", call.argument(0))),
    Command::new(
        Section::Configuration,
        "set_vm_memory_high_watermark",
        "Changes from which use of memory on publishers are held back",
        1..=2,
        |call, node| {
            let body = json!({ "vm_memory_high_watermark": watermark(call)? });
            node.put("/api/leveret/alarms/memory", &body).map_err(not_offered)?;
            Ok(Output::Done)
        },
    )
    .usage("<fraction> | absolute <value>")
    .check(|call| watermark(call).map(drop))
    .banner(|call| match call.argument(0) {
        "absolute" => format!("Setting memory threshold on {} to {} bytes ...", call.node, call.argument(1)),
        fraction => format!("Setting memory threshold on {} to {fraction} ...", call.node),
    }),
    Command::new(
        Section::Configuration,
        "set_disk_free_limit",
        "Changes below which room on the disk publishers are held back",
        1..=2,
        |call, node| {
            let body = json!({ "disk_free_limit": disk_limit(call)? });
            node.put("/api/leveret/alarms/disk", &body).map_err(not_offered)?;
            Ok(Output::Done)
        },
    )
    .usage("<disk_limit> | mem_relative <fraction>")
    .check(|call| disk_limit(call).map(drop))
    .banner(|call| match call.argument(0) {
        "mem_relative" => format!("Setting disk free limit on {} to {} times the total RAM ...", call.node, call.argument(1)),
        limit => format!("Setting disk free limit on {} to {limit} bytes ...", call.node),
    }),
    Command::new(Section::Monitoring, "activate_free_disk_space_monitoring", "Looks at free disk space", 0..=0, |_, node| {
        watch_disk(node, true)
    })
    .banner(|call| format!("[Re-]activating free disk space monitoring on node {}...", call.node)),
    Command::new(
        Section::Monitoring,
        "deactivate_free_disk_space_monitoring",
        "Does not look at free disk space, so that it is no alarm",
        0..=0,
        |_, node| watch_disk(node, false),
    )
    .banner(|call| format!("Deactivating free disk space monitoring on node {}...", call.node)),
    Command::new(Section::Operations, "clear_auth_backend_cache", "Forgets what authentication backends have answered", 0..=0, |_, node| {
        node.delete("/api/leveret/auth/cache").map_err(not_offered)?;
        Ok(Output::Done)
    })
    .banner(|call| format!("Clearing authentication backend cache on node {} ...", call.node)),
    Command::new(Section::Configuration, "environment", "Prints the configuration in effect", 0..=0, |_, node| {
        let text = node.get_raw("/api/config/effective").map_err(not_offered)?;
        Ok(Output::Text(String::from_utf8_lossy(&text).trim_end().to_owned()))
    })
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|call| format!("Application environment of node {} ...", call.node)),
    Command::new(Section::Operations, "eval", "Evaluates one of the few expressions that a node knows", 0..=usize::MAX, eval)
        .usage("<expression>")
        .check(|call| match call.arguments.first().map(String::as_str) {
            Some("") => Err(Failure::usage("\"Expression must not be blank\"")),
            _ => Ok(()),
        }),
    Command::new(Section::Operations, "eval_file", "The same, with the expression in a file", 1..=1, |call, node| {
        let file = call.argument(0);
        let expression = fs::read_to_string(file)
            .map_err(|error| Failure::error_with(DATA, format!("Evaluation failed: {file}: {error}")))?;
        evaluate(node, &expression)
    })
    .usage("<file path>"),
    Command::new(Section::Nodes, "rotate_logs", "Does nothing: files are rotated by configuration", 0..=0, |_, _| {
        Err(Failure::error_with(
            UNAVAILABLE,
            "This command does not rotate logs anymore [deprecated]",
        ))
    }),
    Command::new(Section::Operations, "force_gc", "Does nothing: there is no garbage to collect", 0..=0, |_, node| {
        node.name()?;
        Ok(Output::Done)
    })
    .banner(|call| format!("Will ask all processes on node {} to schedule a full sweep GC", call.node)),
    Command::new(Section::Operations, "reset_stats_db", "Forgets the statistics of the HTTP API", 0..=0, |_, node| {
        node.delete("/api/reset")?;
        Ok(Output::Done)
    })
    .banner(|call| format!("Resetting statistics database on node {}", call.node)),
    Command::new(Section::Deprecated, "node_health_check", "Does nothing; rabbitmq-diagnostics has health checks", 0..=0, |_, _| {
        Ok(Output::Done)
    })
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|_| {
        "This command is DEPRECATED and is a no-op. It will be removed in a future version. \n\
         Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead."
            .to_owned()
    }),
    Command::new(Section::Deprecated, "rename_cluster_node", "Does nothing: nodes keep their names", 2..=usize::MAX, |_, _| {
        Ok(Output::Done)
    })
    .usage("<oldnode1> <newnode1> [oldnode2] [newnode2] ...")
    .banner(|_| "DEPRECATED. This command is a no-op.".to_owned()),
    Command::new(Section::Deprecated, "update_cluster_nodes", "Does nothing: nodes find one another", 1..=1, |_, _| {
        Ok(Output::Done)
    })
    .usage("<seed_node>")
    .banner(|_| "DEPRECATED. This command is a no-op.".to_owned()),
];

fn watch_disk(node: &Node, on: bool) -> Result<Output, Failure> {
    let body = json!({ "monitoring": on });
    node.put("/api/leveret/alarms/disk", &body)
        .map_err(not_offered)?;
    Ok(Output::Done)
}

/// A share of memory, or an amount with its unit, as the configuration key takes it.
fn watermark(call: &Call<'_>) -> Result<Value, Failure> {
    let bad = || Failure::Arguments {
        code: DATA,
        detail: "Bad argument.".to_owned(),
    };
    if call.argument(0) == "absolute" {
        let value = call.arguments.get(1).ok_or_else(Failure::not_enough)?;
        if !is_amount(value) {
            return Err(Failure::argument("The threshold should be an integer."));
        }
        return Ok(json!({ "absolute": value }));
    }
    if call.arguments.len() > 1 {
        return Err(Failure::usage("too many arguments."));
    }
    let fraction: f64 = call.argument(0).parse().map_err(|_| bad())?;
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Failure::argument(
            "The threshold should be a fraction between 0.0 and 1.0",
        ));
    }
    Ok(json!({ "relative": fraction }))
}

/// An amount with its unit, or a multiple of memory, as the configuration key takes it.
fn disk_limit(call: &Call<'_>) -> Result<Value, Failure> {
    let bad = || Failure::Arguments {
        code: DATA,
        detail: "Bad argument.".to_owned(),
    };
    if call.argument(0) == "mem_relative" {
        let fraction = call.arguments.get(1).ok_or_else(Failure::not_enough)?;
        let fraction: f64 = fraction.parse().map_err(|_| bad())?;
        if fraction.is_nan() || fraction < 0.0 {
            return Err(bad());
        }
        return Ok(json!({ "relative": fraction }));
    }
    if call.arguments.len() > 1 {
        return Err(Failure::usage("too many arguments."));
    }
    if !is_amount(call.argument(0)) {
        return Err(bad());
    }
    Ok(json!({ "absolute": call.argument(0) }))
}

/// Digits, and perhaps a unit such as `MB` or `GiB`.
fn is_amount(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let has_digits = unit.len() < text.len();
    let mut letters = unit.chars();
    let known = match letters.next().map(|c| c.to_ascii_lowercase()) {
        None => true,
        Some(c) => {
            "kmgtp".contains(c) && ["", "b", "B", "i", "iB", "ib"].contains(&letters.as_str())
        }
    };
    has_digits && known
}

fn eval(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    if let Some(expression) = call.arguments.first() {
        return evaluate(node, expression);
    }
    let input = prompt::read_all().unwrap_or_default();
    let expression = String::from_utf8_lossy(&input);
    if expression.trim().is_empty() {
        return Err(Failure::error_with(
            DATA,
            "Expression to evaluate is not provided via argument or stdin",
        ));
    }
    evaluate(node, &expression)
}

/// There is no Erlang here: the node answers what it recognizes, and says so of the rest.
fn evaluate(node: &Node, expression: &str) -> Result<Output, Failure> {
    let body = json!({ "expression": expression.trim() });
    let answer = node.post("/api/leveret/eval", &body).map_err(|refused| {
        refused.or_not_found(|| {
            Failure::error_with(
                DATA,
                "Evaluation failed: the node does not evaluate expressions over its HTTP API",
            )
        })
    })?;
    let value = answer["value"].as_str().unwrap_or_default();
    Ok(Output::Text(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for good in ["0", "50000000", "50MB", "2GiB", "1g", "7kb"] {
            assert!(is_amount(good), "{good}");
        }
        for bad in ["", "MB", "1.5GB", "-1", "10XB", "1 GB", "1GBB"] {
            assert!(!is_amount(bad), "{bad}");
        }
    }
}
