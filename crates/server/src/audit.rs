//! What administrators did last, for those who ask. All of it is in the log, too.

use std::collections::VecDeque;

use hyper::StatusCode;
use leveret_broker::time::Timestamp;
use leveret_management::{Admitted, AuditEntry, Caller};
use parking_lot::Mutex;
use tracing::info;

use crate::control;

/// Older entries are forgotten.
const ENTRIES_MAX: usize = 1000;
/// A longer path is cut.
const PATH_CHARS_MAX: usize = 512;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Audit(Mutex<VecDeque<AuditEntry>>);

impl Audit {
    /// Notes what somebody has changed, or tried to. Bodies have passwords in them, and queries may have.
    pub(crate) fn note(&self, admitted: &Admitted, status: StatusCode, time: Timestamp) {
        let head = admitted.head();
        if head.method.is_safe() {
            return;
        }
        let peer = match admitted.caller() {
            Caller::At(address) => address.to_string(),
            Caller::Operator => control::SOCKET.to_owned(),
        };
        let user = admitted.user_name();
        let (method, path, status) = (head.method.as_str(), head.uri.path(), status.as_u16());
        info!(target: "audit", user, %peer, method, path, status, "administration");
        self.keep(AuditEntry {
            time,
            user: user.unwrap_or_default().to_owned(),
            peer,
            method: method.to_owned(),
            path: path.chars().take(PATH_CHARS_MAX).collect(),
            status,
        });
    }

    fn keep(&self, entry: AuditEntry) {
        let mut entries = self.0.lock();
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The last `count`, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<AuditEntry> {
        let entries = self.0.lock();
        let skipped = entries.len().saturating_sub(count);
        entries.iter().skip(skipped).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_kept() {
        let audit = Audit::default();
        for number in 0..ENTRIES_MAX as u64 + 5 {
            audit.keep(AuditEntry {
                time: Timestamp(number),
                user: "guest".to_owned(),
                peer: "::1".to_owned(),
                method: "PUT".to_owned(),
                path: "/api/x".to_owned(),
                status: 204,
            });
        }
        let times = |count| -> Vec<u64> { audit.last(count).iter().map(|it| it.time.0).collect() };
        assert_eq!(times(2), [1003, 1004]);
        assert_eq!(times(usize::MAX).first(), Some(&5));
        assert!(times(0).is_empty());
    }
}
