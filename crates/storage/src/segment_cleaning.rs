//! Cleaning of segments.

use crate::error::Failed;
use crate::paging::Paging;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct SegmentCleaner {}

impl Paging {
    /// A piece of the work. Says whether there may be more to do.
    pub(crate) fn clean_segments(&self) -> Result<bool, Failed> {
        self.segments.remove_dead()
    }
}
