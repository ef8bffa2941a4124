//! Points in time, handed in by the caller.

/// Milliseconds since the Unix epoch, from a clock that never goes backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The far end of time.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `ms` milliseconds later; the far end of time instead of an overflow.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
