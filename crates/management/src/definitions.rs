//! Definitions files: everything that was declared, as one JSON document, out of a node and into one (RabbitMQ: the page
//! "Definition Export and Import").

use std::fmt::Write as _;
use std::sync::Arc;

use leveret_broker::broker::Broker;
use leveret_broker::broker::administration::{Detail, Report};
use leveret_broker::time::Timestamp;
use sha2::{Digest, Sha256};

mod export;
mod import;

pub(crate) use export::{cluster, one_vhost};
use import::Import;
pub use import::ImportError;
pub(crate) use import::report_json;

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

/// The global parameter that has the hash of the definitions that were taken in last, where somebody asked to have them
/// skipped when they are the same again (RabbitMQ: `definitions.skip_if_unchanged`). It does not leave the node.
pub(crate) const IMPORTED_HASH: &str = "imported_definition_hash_value";

/// A document that is not taken in again while it stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    TakeIn,
    /// RabbitMQ's `skip_if_unchanged`.
    Skip,
}

/// How documents are taken in.
pub(crate) struct How<'a> {
    /// The one vhost that they are for.
    pub(crate) vhost: Option<&'a str>,
    /// Who takes them in.
    pub(crate) by: Option<Arc<str>>,
    pub(crate) repetition: Repetition,
    pub(crate) detail: Detail,
}

/// Takes definitions in, as RabbitMQ does from files when it starts: all documents, or none. `None`: they are those of the
/// last time.
pub fn import(
    broker: &Broker,
    documents: &[&[u8]],
    repetition: Repetition,
    now: Timestamp,
) -> Result<Option<Report>, ImportError> {
    let how = How {
        vhost: None,
        by: None,
        repetition,
        detail: Detail::Counts,
    };
    take_in(broker, documents, &how, now)
}

/// Takes documents in, all of them or none; `None`: they are those of the last time, and nothing has been done.
pub(crate) fn take_in(
    broker: &Broker,
    documents: &[&[u8]],
    how: &How<'_>,
    now: Timestamp,
) -> Result<Option<Report>, ImportError> {
    let hash = (how.repetition == Repetition::Skip).then(|| hash(documents, how.vhost));
    if hash.as_deref().is_some_and(|hash| is_known(broker, hash)) {
        return Ok(None);
    }
    let mut import = read(broker, documents, how)?;
    if let Some(hash) = hash {
        import.remember(&hash);
    }
    import.apply(broker, how.detail, now).map(Some)
}

/// What taking documents in would come to.
pub(crate) fn preview(
    broker: &Broker,
    documents: &[&[u8]],
    how: &How<'_>,
) -> Result<Report, ImportError> {
    read(broker, documents, how)?.preview(broker, how.detail)
}

fn read(broker: &Broker, documents: &[&[u8]], how: &How<'_>) -> Result<Import, ImportError> {
    let mut import = Import::default();
    for (index, document) in documents.iter().enumerate() {
        let read = import.read(document, how.vhost);
        read.map_err(|error| error.of_document(index))?;
    }
    if let Some(user) = &how.by {
        import.sign(user);
        import.grant(broker, user);
    }
    Ok(import)
}

fn is_known(broker: &Broker, hash: &str) -> bool {
    let parameters = broker.stored_global_parameters();
    let known = parameters.iter().find(|(name, _)| **name == *IMPORTED_HASH);
    known.is_some_and(|(_, known)| known.as_str() == Some(hash))
}

/// In hexadecimal, of the documents' own hashes: where one ends and the next begins matters.
fn hash(documents: &[&[u8]], vhost: Option<&str>) -> String {
    let mut all = Sha256::new();
    for part in vhost
        .iter()
        .map(|vhost| vhost.as_bytes())
        .chain(documents.iter().copied())
    {
        all.update(Sha256::digest(part));
    }
    all.finalize()
        .iter()
        .fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        })
}
