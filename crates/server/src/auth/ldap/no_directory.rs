//! What stands for LDAP servers where the feature `ldap` is left out: there are none.

use super::evaluate::{Directory, Entry, Search};
use super::{Credentials, Options, Unbound};

pub(super) enum Servers {}

pub(super) enum Session {}

impl Servers {
    pub(super) fn new(_: &Options) -> Result<Self, String> {
        Err("auth_backends: this program was built without the feature ldap".to_owned())
    }

    pub(super) async fn bind(&self, _: &Credentials) -> Result<Session, Unbound> {
        match *self {}
    }

    pub(super) fn put_back(&self, _: Session) {
        match *self {}
    }
}

impl Directory for Session {
    async fn search(&mut self, _: Search<'_>) -> Result<Vec<Entry>, String> {
        match *self {}
    }
}
