//! Everything the API has: which path takes which methods, who may use them, and what answers.

use percent_encoding::percent_decode_str;

use crate::access::Who::{
    self, Administrator, Anyone, Monitoring, Policymaker, User, Vhost, VhostPolicymaker,
};
use crate::answer::Reply;
use crate::api::{
    access as about_access, bindings, certificates, connections, consumers, definitions, exchanges,
    features, health, limits, messages, nodes, operations, overview, parameters, policies, queues,
    shovels, streams, super_streams, users, vhosts,
};
use crate::call::Call;
use crate::events;
use crate::openapi;

/// What answers.
pub(crate) type Handler = fn(&Call<'_>) -> Reply;

/// The parts of a path that a route gives names to, decoded.
pub(crate) type Parameters = Vec<(&'static str, String)>;

/// A path and what can be done with it.
pub(crate) struct Route {
    /// Below `/api`. `:name` stands for any one segment.
    pub(crate) path: &'static str,
    /// What is there, for the description of the API.
    pub(crate) about: &'static str,
    pub(crate) endpoints: &'static [Endpoint],
}

/// A method of a path.
pub(crate) struct Endpoint {
    pub(crate) verb: Verb,
    pub(crate) who: Who,
    pub(crate) handler: Handler,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("verb", &self.verb)
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}

/// A method. HEAD is GET without the body, which the listener leaves out; OPTIONS needs no handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn of(method: &http::Method) -> Option<Self> {
        match method.as_str() {
            "HEAD" => Some(Self::Get),
            name => [Self::Get, Self::Put, Self::Post, Self::Delete]
                .into_iter()
                .find(|verb| verb.name() == name),
        }
    }
}

const fn route(path: &'static str, about: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route {
        path,
        about,
        endpoints,
    }
}

const fn get(who: Who, handler: Handler) -> Endpoint {
    Endpoint {
        verb: Verb::Get,
        who,
        handler,
    }
}

const fn put(who: Who, handler: Handler) -> Endpoint {
    Endpoint {
        verb: Verb::Put,
        who,
        handler,
    }
}

const fn post(who: Who, handler: Handler) -> Endpoint {
    Endpoint {
        verb: Verb::Post,
        who,
        handler,
    }
}

const fn delete(who: Who, handler: Handler) -> Endpoint {
    Endpoint {
        verb: Verb::Delete,
        who,
        handler,
    }
}

/// A path with words comes before one that takes any word in their place.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    route("/overview", "The cluster as a whole.", &[get(User, overview::show)]),
    route("/cluster-name", "The name of the cluster.", &[get(User, overview::show_cluster_name), put(Administrator, overview::put_cluster_name)]),
    route("/whoami", "The user who asks.", &[get(User, about_access::who_am_i)]),
    route("/version", "The version of RabbitMQ that this node is compatible with.", &[get(Anyone, features::version)]),
    route("/extensions", "Extensions of the web UI.", &[get(User, features::extensions)]),
    route("/login", "Logs in by a form.", &[post(Anyone, about_access::log_in), delete(Anyone, about_access::log_out)]),
    route("/auth", "How web pages log their users in with OAuth 2.", &[get(Anyone, about_access::oauth)]),
    route("/auth/hash_password/:password", "The hash of a password, as definitions have it.", &[get(Administrator, about_access::hash_password)]),
    route("/openapi.json", "This description.", &[get(Anyone, openapi::describe)]),
    route("/nodes", "The nodes of the cluster.", &[get(Monitoring, nodes::list)]),
    route("/nodes/:node", "A node.", &[get(Monitoring, nodes::show)]),
    route("/nodes/:node/memory", "What a node uses memory for, bytes.", &[get(Monitoring, nodes::memory)]),
    route("/nodes/:node/memory/relative", "What a node uses memory for, in hundredths.", &[get(Monitoring, nodes::memory_relative)]),
    route("/auth/attempts/:node", "Log-ins that were tried.", &[get(Monitoring, nodes::auth_attempts), delete(Administrator, nodes::reset_auth_attempts)]),
    route("/auth/attempts/:node/source", "Log-ins that were tried, by who came from where.", &[get(Monitoring, nodes::auth_attempts_by_source), delete(Administrator, nodes::reset_auth_attempts_by_source)]),
    route("/connections", "Connections of clients.", &[get(User, connections::list)]),
    route("/connections/username/:user", "Connections of a user.", &[get(User, connections::list_of_user), delete(User, connections::close_all_of_user)]),
    route("/connections/:connection", "A connection.", &[get(User, connections::show), delete(User, connections::close)]),
    route("/connections/:connection/channels", "The channels of a connection.", &[get(User, connections::channels_of_connection)]),
    route("/channels", "Channels of all connections.", &[get(User, connections::channels)]),
    route("/channels/:channel", "A channel.", &[get(User, connections::show_channel)]),
    route("/consumers", "Consumers of all queues.", &[get(User, consumers::list)]),
    route("/consumers/:vhost", "Consumers of a virtual host.", &[get(Vhost, consumers::list_in_vhost)]),
    route("/exchanges", "Exchanges.", &[get(User, exchanges::list)]),
    route("/exchanges/:vhost", "Exchanges of a virtual host.", &[get(Vhost, exchanges::list_in_vhost)]),
    route("/exchanges/:vhost/:exchange", "An exchange.", &[get(Vhost, exchanges::show), put(Vhost, exchanges::declare), delete(Vhost, exchanges::delete)]),
    route("/exchanges/:vhost/:exchange/publish", "Publishes a message.", &[post(Vhost, messages::publish)]),
    route("/exchanges/:vhost/:exchange/bindings/source", "Bindings that leave an exchange.", &[get(Vhost, bindings::list_of_source)]),
    route("/exchanges/:vhost/:exchange/bindings/destination", "Bindings that lead to an exchange.", &[get(Vhost, bindings::list_of_exchange)]),
    route("/queues", "Queues.", &[get(User, queues::list)]),
    route("/queues/detailed", "Queues, with all that is known of them.", &[get(User, queues::list)]),
    route("/queues/:vhost", "Queues of a virtual host.", &[get(Vhost, queues::list_in_vhost)]),
    route("/queues/quorum/:vhost/:queue/status", "The members of a quorum queue.", &[get(Vhost, queues::quorum_status)]),
    route("/queues/:vhost/:queue", "A queue.", &[get(Vhost, queues::show), put(Vhost, queues::declare), delete(Vhost, queues::delete)]),
    route("/queues/:vhost/:queue/bindings", "Bindings that lead to a queue.", &[get(Vhost, bindings::list_of_queue)]),
    route("/queues/:vhost/:queue/contents", "The messages of a queue.", &[delete(Vhost, queues::purge)]),
    route("/queues/:vhost/:queue/get", "Gets messages.", &[post(Vhost, messages::get)]),
    route("/queues/:vhost/:queue/actions", "Historic; does nothing.", &[post(Administrator, queues::act)]),
    route("/leveret/queues/:vhost/:queue/messages", "Looks at the messages of a queue without taking them; moves, copies, sends back or deletes some.", &[get(Vhost, messages::browse::browse), post(Vhost, messages::sweep::act)]),
    route("/stream/connections", "Connections of the stream protocol, which is not spoken yet.", &[get(User, streams::list)]),
    route("/stream/connections/:vhost", "Those to a virtual host.", &[get(Vhost, streams::list_in_vhost)]),
    route("/stream/connections/:vhost/:connection", "One of them.", &[get(Vhost, streams::of_connection), delete(Vhost, streams::of_connection)]),
    route("/stream/connections/:vhost/:connection/consumers", "Its consumers.", &[get(Vhost, streams::of_connection)]),
    route("/stream/connections/:vhost/:connection/publishers", "Its publishers.", &[get(Vhost, streams::of_connection)]),
    route("/stream/consumers", "Consumers by the stream protocol.", &[get(User, streams::list)]),
    route("/stream/consumers/:vhost", "Those in a virtual host.", &[get(Vhost, streams::list_in_vhost)]),
    route("/stream/publishers", "Publishers by the stream protocol.", &[get(User, streams::list)]),
    route("/stream/publishers/:vhost", "Those in a virtual host.", &[get(Vhost, streams::list_in_vhost)]),
    route("/stream/publishers/:vhost/:queue", "Those of a stream.", &[get(Vhost, streams::list_of_stream)]),
    route("/stream/super-streams/:vhost/:name", "Several streams behind one exchange.", &[put(Vhost, super_streams::declare)]),
    route("/stream/:vhost/:queue/tracking", "What the stream protocol has stored in a stream: offsets of its consumers, and how far its publishers are.", &[get(Vhost, streams::tracking)]),
    route("/bindings", "Bindings.", &[get(User, bindings::list)]),
    route("/bindings/:vhost", "Bindings of a virtual host.", &[get(Vhost, bindings::list_in_vhost)]),
    route("/bindings/:vhost/e/:source/:kind/:destination", "Bindings from an exchange to a queue (`q`) or an exchange (`e`).", &[get(Vhost, bindings::list_between), post(Vhost, bindings::bind)]),
    route("/bindings/:vhost/e/:source/:kind/:destination/:properties_key", "A binding.", &[get(Vhost, bindings::show), delete(Vhost, bindings::unbind)]),
    route("/vhosts", "Virtual hosts.", &[get(User, vhosts::list)]),
    route("/vhosts/:vhost", "A virtual host.", &[get(User, vhosts::show), put(Administrator, vhosts::changes::put), delete(Administrator, vhosts::changes::delete)]),
    route("/vhosts/:vhost/deletion/protection", "Whether a virtual host can be deleted.", &[get(Administrator, vhosts::changes::show_protection), post(Administrator, vhosts::changes::protect), delete(Administrator, vhosts::changes::unprotect)]),
    route("/vhosts/:vhost/start/:node", "Starts a virtual host; all run.", &[post(Administrator, vhosts::changes::start)]),
    route("/vhosts/:vhost/permissions", "Who may do what in a virtual host.", &[get(Administrator, users::permissions_in_vhost)]),
    route("/vhosts/:vhost/topic-permissions", "Who may use which routing keys in a virtual host.", &[get(Administrator, users::topic_permissions_in_vhost)]),
    route("/vhosts/:vhost/connections", "Connections to a virtual host.", &[get(Vhost, connections::list_in_vhost)]),
    route("/vhosts/:vhost/channels", "Channels of connections to a virtual host.", &[get(Vhost, connections::channels_in_vhost)]),
    route("/users", "Users.", &[get(Administrator, users::list)]),
    route("/users/without-permissions", "Users who may do nothing.", &[get(Administrator, users::list_without_permissions)]),
    route("/users/bulk-delete", "Deletes users.", &[post(Administrator, users::changes::delete_some)]),
    route("/users/:user", "A user.", &[get(Administrator, users::show), put(Administrator, users::changes::put), delete(Administrator, users::changes::delete)]),
    route("/users/:user/permissions", "What a user may do.", &[get(Administrator, users::permissions_of_user)]),
    route("/users/:user/topic-permissions", "Which routing keys a user may use.", &[get(Administrator, users::topic_permissions_of_user)]),
    route("/users/:user/queues", "Queues that a user has declared.", &[get(User, queues::list_of_user)]),
    route("/permissions", "Who may do what where.", &[get(Administrator, users::permissions)]),
    route("/permissions/:vhost/:user", "What a user may do in a virtual host.", &[get(Administrator, users::show_permission), put(Administrator, users::changes::put_permissions), delete(Administrator, users::changes::delete_permissions)]),
    route("/topic-permissions", "Who may use which routing keys.", &[get(Administrator, users::topic_permissions)]),
    route("/topic-permissions/:vhost/:user", "Which routing keys a user may use in a virtual host.", &[get(Administrator, users::show_topic_permissions), put(Administrator, users::changes::put_topic_permissions), delete(Administrator, users::changes::delete_topic_permissions)]),
    route("/topic-permissions/:vhost/:user/:exchange", "Which routing keys a user may use with an exchange.", &[get(Administrator, users::show_topic_permissions), delete(Administrator, users::changes::delete_topic_permissions)]),
    route("/user-limits", "Limits of users.", &[get(Administrator, limits::list_users)]),
    route("/user-limits/:user", "Limits of a user.", &[get(User, limits::list_user)]),
    route("/user-limits/:user/:name", "A limit of a user.", &[put(Administrator, limits::put_user), delete(Administrator, limits::delete_user)]),
    route("/vhost-limits", "Limits of virtual hosts.", &[get(User, limits::list_vhosts)]),
    route("/vhost-limits/:vhost", "Limits of a virtual host.", &[get(Vhost, limits::list_vhost)]),
    route("/vhost-limits/:vhost/:name", "A limit of a virtual host.", &[put(Administrator, limits::put_vhost), delete(Administrator, limits::delete_vhost)]),
    route("/policies", "Policies.", &[get(User, policies::list_users)]),
    route("/policies/:vhost", "Policies of a virtual host.", &[get(Vhost, policies::list_users_in_vhost)]),
    route("/policies/:vhost/:name", "A policy.", &[get(VhostPolicymaker, policies::show_users), put(VhostPolicymaker, policies::put_users), delete(VhostPolicymaker, policies::delete_users)]),
    route("/operator-policies", "Policies of operators.", &[get(User, policies::list_operators)]),
    route("/operator-policies/:vhost", "Policies of operators for a virtual host.", &[get(Vhost, policies::list_operators_in_vhost)]),
    route("/operator-policies/:vhost/:name", "A policy of operators.", &[get(VhostPolicymaker, policies::show_operators), put(Administrator, policies::put_operators), delete(Administrator, policies::delete_operators)]),
    route("/parameters", "Parameters.", &[get(Policymaker, parameters::list)]),
    route("/parameters/:component", "Parameters of a component.", &[get(Policymaker, parameters::list_of_component)]),
    route("/parameters/:component/:vhost", "Parameters of a component in a virtual host.", &[get(VhostPolicymaker, parameters::list_in_vhost)]),
    route("/parameters/:component/:vhost/:name", "A parameter.", &[get(VhostPolicymaker, parameters::show), put(VhostPolicymaker, parameters::put), delete(VhostPolicymaker, parameters::delete)]),
    route("/shovels", "Shovels.", &[get(Monitoring, shovels::list)]),
    route("/shovels/:vhost", "Shovels of a virtual host.", &[get(Monitoring, shovels::list_in_vhost)]),
    route("/shovels/vhost/:vhost/:name", "The parameter of a shovel, without passwords.", &[get(Monitoring, shovels::show), delete(VhostPolicymaker, shovels::delete)]),
    route("/shovels/vhost/:vhost/:name/restart", "Has a shovel start anew.", &[delete(VhostPolicymaker, shovels::restart)]),
    route("/global-parameters", "Parameters of the cluster.", &[get(Policymaker, parameters::list_global)]),
    route("/global-parameters/:name", "A parameter of the cluster.", &[get(Policymaker, parameters::show_global), put(Administrator, parameters::put_global), delete(Administrator, parameters::delete_global)]),
    route("/definitions", "Everything that was declared.", &[get(Administrator, definitions::export), post(Administrator, definitions::import)]),
    route("/all-configuration", "The old name of definitions.", &[get(Administrator, definitions::export), post(Administrator, definitions::import)]),
    route("/definitions/:vhost", "Everything that was declared in a virtual host.", &[get(Administrator, definitions::export_vhost), post(Administrator, definitions::import_vhost)]),
    route("/rebalance/queues", "Spreads queues over nodes; there is one.", &[post(Administrator, nodes::rebalance)]),
    route("/reset", "Forgets samples.", &[delete(Administrator, nodes::reset_samples)]),
    route("/reset/:node", "Forgets samples of a node.", &[delete(Administrator, nodes::reset_samples)]),
    route("/health/checks/alarms", "No alarm in the cluster.", &[get(User, health::alarms)]),
    route("/health/checks/local-alarms", "No alarm on this node.", &[get(User, health::local_alarms)]),
    route("/health/checks/certificate-expiration/:within/:unit", "No certificate expires in that time.", &[get(User, certificates::check_expiration)]),
    route("/health/checks/port-listener/:port", "Something listens on the port.", &[get(User, health::port_listener)]),
    route("/health/checks/protocol-listener/:protocols", "These protocols are spoken.", &[get(User, health::protocol_listener)]),
    route("/health/checks/virtual-hosts", "All virtual hosts run.", &[get(User, health::ok)]),
    route("/health/checks/node-is-quorum-critical", "No queue needs this node.", &[get(User, health::quorum_critical)]),
    route("/health/checks/quorum-queues-without-elected-leaders/all-vhosts", "Every quorum queue has a leader.", &[get(User, health::ok)]),
    route("/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/:pattern", "These quorum queues have a leader.", &[get(User, health::ok)]),
    route("/health/checks/quorum-queues-without-elected-leaders/vhost/:vhost", "Every quorum queue has a leader.", &[get(User, health::ok)]),
    route("/health/checks/quorum-queues-without-elected-leaders/vhost/:vhost/pattern/:pattern", "These quorum queues have a leader.", &[get(User, health::ok)]),
    route("/health/checks/metadata-store/initialized", "The definitions are there.", &[get(User, health::ok)]),
    route("/health/checks/metadata-store/initialized/with-data", "The definitions are there, and not empty.", &[get(User, health::ok)]),
    route("/health/checks/is-in-service", "The node is not in maintenance.", &[get(Anyone, health::in_service)]),
    route("/health/checks/ready-to-serve-clients", "Clients can come.", &[get(Anyone, health::ready_for_clients)]),
    route("/health/checks/below-node-connection-limit", "More clients can come.", &[get(Anyone, health::connection_limit)]),
    route("/health/checks/reached-target-cluster-size", "All nodes are there.", &[get(Anyone, health::ok)]),
    route("/healthchecks/node", "Always well.", &[get(User, health::ok)]),
    route("/healthchecks/node/:node", "Always well.", &[get(User, health::ok)]),
    route("/aliveness-test/:vhost", "Always well.", &[get(User, health::ok)]),
    route("/feature-flags", "Feature flags.", &[get(User, features::flags)]),
    route("/feature-flags/:name/enable", "Enables a feature flag; all of them are.", &[put(Administrator, features::enable_flag)]),
    route("/deprecated-features", "Deprecated features.", &[get(User, features::deprecated)]),
    route("/deprecated-features/used", "Deprecated features in use.", &[get(User, features::deprecated_in_use)]),
    route("/config/effective", "The configuration, as text.", &[get(Administrator, operations::effective_configuration)]),
    route("/leveret/authenticate", "Tries somebody's password.", &[post(Administrator, operations::authenticate)]),
    route("/leveret/auth/cache", "Answers of authentication backends that are kept.", &[delete(Administrator, operations::clear_auth_cache)]),
    route("/leveret/auth/attempts/source", "Whether log-ins are counted by who came from where.", &[put(Administrator, operations::track_auth_attempt_source)]),
    route("/leveret/log", "The last lines of the log.", &[get(Administrator, operations::log)]),
    route("/leveret/log/level", "How much is logged.", &[put(Administrator, operations::set_log_level)]),
    route("/leveret/audit", "What administrators did last.", &[get(Administrator, operations::audit)]),
    route("/leveret/alarms/memory", "From which use of memory on publishers are held back.", &[put(Administrator, operations::set_memory_watermark)]),
    route("/leveret/alarms/disk", "Below which free disk publishers are held back.", &[put(Administrator, operations::set_disk_limit)]),
    route("/leveret/node/stop", "Stops the node.", &[post(Administrator, operations::stop)]),
    route("/leveret/node/stop_app", "Stops serving clients.", &[post(Administrator, operations::stop_app)]),
    route("/leveret/node/start_app", "Serves clients again.", &[post(Administrator, operations::start_app)]),
    route("/leveret/node/reset", "Drops all definitions and messages.", &[post(Administrator, operations::reset)]),
    route("/leveret/node/suspend_listeners", "Lets no new clients in.", &[post(Administrator, operations::suspend_listeners)]),
    route("/leveret/node/resume_listeners", "Lets clients in again.", &[post(Administrator, operations::resume_listeners)]),
    route("/leveret/node/drain", "Puts the node into maintenance.", &[post(Administrator, operations::drain)]),
    route("/leveret/node/revive", "Takes the node out of maintenance.", &[post(Administrator, operations::revive)]),
    route("/leveret/node/join_cluster", "Refused: there are no clusters yet.", &[post(Administrator, operations::refuse_cluster)]),
    route("/leveret/node/forget_cluster_node", "Refused: there are no clusters yet.", &[post(Administrator, operations::refuse_cluster)]),
    route("/leveret/eval", "Evaluates one of a few Erlang expressions.", &[post(Administrator, operations::evaluate)]),
    route("/leveret/tls", "TLS versions and cipher suites that are spoken.", &[get(Administrator, operations::tls)]),
    route("/leveret/process", "The command line and the environment of the process.", &[get(Administrator, operations::process)]),
    route("/leveret/machine", "Network interfaces, and the threads of the process.", &[get(Administrator, operations::machine)]),
    route("/leveret/message-sizes", "How large published messages were.", &[get(Administrator, operations::message_sizes)]),
    route("/leveret/certificates", "Certificates of the listeners.", &[get(Administrator, certificates::list)]),
    route("/leveret/events", "Events from now on, a line of JSON for each.", &[get(Administrator, events::listen)]),
];

/// What is not below `/api`.
static OTHERS: &[Route] = &[route(
    "/cli/rabbitmqadmin",
    "Where the command-line tool is to be had.",
    &[get(Anyone, features::rabbitmqadmin)],
)];

/// What a request leads to.
pub(crate) enum Found {
    Endpoint(&'static Endpoint, Parameters),
    /// It only asks for the methods, which these are.
    Options(String),
    /// The path takes these methods, and not the one that was asked for.
    OtherMethods(String),
    Nothing,
    /// The path can't be decoded.
    Malformed,
}

/// The route that a request takes.
pub(crate) fn find(method: &http::Method, path: &str) -> Found {
    let (routes, path) = match path.strip_prefix("/api") {
        Some(path) => (ROUTES, path),
        None => (OTHERS, path),
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let decode = |segment: &str| {
        let decoded = percent_decode_str(segment).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    let Some(segments) = path
        .split('/')
        .skip(1)
        .map(decode)
        .collect::<Option<Vec<_>>>()
    else {
        return Found::Malformed;
    };
    let matching = |route: &'static Route| Some((route, parameters(route.path, &segments)?));
    let Some((route, parameters)) = routes.iter().find_map(matching) else {
        return Found::Nothing;
    };
    if method == http::Method::OPTIONS {
        return Found::Options(methods(route));
    }
    let verb = Verb::of(method);
    let endpoint = route.endpoints.iter().find(|e| Some(e.verb) == verb);
    match endpoint {
        Some(endpoint) => Found::Endpoint(endpoint, parameters),
        None => Found::OtherMethods(methods(route)),
    }
}

/// What the names in `pattern` stand for in `segments`, if the two match.
fn parameters(pattern: &'static str, segments: &[String]) -> Option<Parameters> {
    let mut parameters = Vec::new();
    let mut rest = segments.iter();
    for part in pattern.split('/').skip(1) {
        let segment = rest.next()?;
        match part.strip_prefix(':') {
            Some(name) => parameters.push((name, segment.clone())),
            None if part == segment => {}
            None => return None,
        }
    }
    rest.next().is_none().then_some(parameters)
}

fn methods(route: &Route) -> String {
    let mut names = Vec::new();
    for endpoint in route.endpoints {
        if endpoint.verb == Verb::Get {
            names.push("HEAD");
        }
        names.push(endpoint.verb.name());
    }
    names.push("OPTIONS");
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_reached() {
        for route in ROUTES {
            let path = format!("/api{}", route.path.replace(':', "x"));
            for endpoint in route.endpoints {
                let method = endpoint.verb.name().parse().unwrap();
                let Found::Endpoint(found, _) = find(&method, &path) else {
                    panic!("{path} is not found");
                };
                assert!(std::ptr::eq(found, endpoint), "{path} is hidden by another");
            }
        }
    }
}
