//! The handlers, one file for each kind of object.

pub(crate) mod access;
pub(crate) mod bindings;
pub(crate) mod certificates;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod definitions;
mod eval;
pub(crate) mod exchanges;
pub(crate) mod features;
pub(crate) mod flows;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod messages;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod overview;
pub(crate) mod parameters;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod shovels;
pub(crate) mod streams;
pub(crate) mod super_streams;
pub(crate) mod users;
pub(crate) mod vhosts;
