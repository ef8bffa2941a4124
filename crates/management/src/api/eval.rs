//! The few Erlang expressions that scripts and the Kubernetes operator have a node evaluate, and their values as Erlang
//! prints them.

use crate::call::Call;

/// `None`: the expression is not among them.
pub(super) fn value(call: &Call<'_>, expression: &str) -> Option<String> {
    let (broker, service) = (call.broker(), call.management.options.operations.service());
    let node = atom(&broker.options.node_name);
    let version = call.management.options.rabbitmq_version;
    let words: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    Some(match words.trim_end_matches('.') {
        "node()" => node,
        "rabbit_nodes:reached_target_cluster_size()" => true.to_string(),
        "rabbit_nodes:list_members()" => format!("[{node}]"),
        "rabbit_nodes:list_running()" | "rabbit_nodes:all_running()" => match service.is_stopped {
            true => "[]".to_owned(),
            false => format!("[{node}]"),
        },
        "rabbit_nodes:cluster_name()" => binary(&broker.cluster_name()),
        "rabbit:is_running()" => (!service.is_stopped).to_string(),
        "rabbit:is_serving()" => service.is_serving().to_string(),
        "rabbit_maintenance:is_being_drained_local_read(node())"
        | "rabbit_maintenance:is_being_drained_consistent_read(node())" => {
            service.is_drained.to_string()
        }
        "rabbit_misc:version()" | "rabbit:product_version()" => format!("\"{version}\""),
        "rabbit_vhost:list_names()" => {
            let vhosts = broker.list_vhosts();
            let names: Vec<_> = vhosts.iter().map(|vhost| binary(&vhost.name)).collect();
            format!("[{}]", names.join(","))
        }
        "rabbit_alarm:get_alarms()" => {
            let scarce = broker.alarms.reason().unwrap_or_default();
            let all = ["memory", "disk"].into_iter();
            let alarms = all.filter(|resource| scarce.contains(resource));
            let terms = alarms.map(|it| format!("{{{{resource_limit,{it},{node}}},[]}}"));
            format!("[{}]", terms.collect::<Vec<_>>().join(","))
        }
        _ => return None,
    })
}

/// An atom of other characters than these stands in quotes.
fn atom(name: &str) -> String {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    match begins && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\\', r"\\").replace('\'', r"\'")),
    }
}

fn binary(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("<<\"{escaped}\">>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_printed_as_erlang_does() {
        assert_eq!(atom("rabbit@localhost"), "rabbit@localhost");
        assert_eq!(atom("rabbit@my-host.example"), "'rabbit@my-host.example'");
        assert_eq!(binary("a\"b"), r#"<<"a\"b">>"#);
    }
}
