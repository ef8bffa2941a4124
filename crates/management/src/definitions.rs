//! Definitions files: everything that was declared, as one JSON document, out of a node and into one (RabbitMQ: the page
//! "Definition Export and Import").

mod export;
mod import;

pub(crate) use export::{cluster, one_vhost};
pub(crate) use import::Import;
pub use import::{ImportError, Report};

/// `users`, `queues`, … as the document and reports name them, in the order of an import.
pub(crate) const CATEGORIES: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "exchanges",
    "topic_permissions",
    "global_parameters",
    "policies",
    "parameters",
    "queues",
    "bindings",
];
