//! How much of the disk has to stay free when nobody has said so (`disk_free_limit`).
//!
//! When publishers are held back, room is still needed: for what they had on its way, for a backlog in memory to be paged
//! out, for cleaning, which writes before it gives back. And free space is looked at now and then only, so a fast publisher
//! must be held back earlier than a slow one. RabbitMQ's 50 MB are neither.

/// Room for all that goes on without publishers.
const BASE: u64 = 512 << 20;
/// Of a small disk the base takes no more than this part.
const PART: u64 = 10;
/// Looks that the fastest loss seen must leave room for: one until it is noticed, the rest for what is on its way.
const LOOKS: u64 = 4;
/// How much of a loss is forgotten with each look: it counts for about a minute, so that publishers who are held back for
/// being fast are not let go for being held back.
const FORGOTTEN: u64 = 32;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct DiskFloor {
    base: u64,
    /// Free bytes at the last look.
    last: Option<u64>,
    /// The largest loss of free bytes from one look to the next, slowly forgotten.
    fastest: u64,
}

impl DiskFloor {
    /// For a disk of `size` bytes, as far as that is known.
    pub(crate) fn new(size: Option<u64>) -> Self {
        Self {
            base: size.map_or(BASE, |size| BASE.min(size / PART)),
            last: None,
            fastest: 0,
        }
    }

    /// Free bytes are so many now. Gives how many there should be.
    pub(crate) fn look(&mut self, free: u64) -> u64 {
        let lost = self.last.map_or(0, |last| last.saturating_sub(free));
        self.last = Some(free);
        self.fastest = lost.max(self.fastest - self.fastest / FORGOTTEN);
        self.base + LOOKS * self.fastest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_quiet_node_keeps_the_base_free() {
        let mut floor = DiskFloor::new(Some(100 << 30));
        assert_eq!(floor.look(50 << 30), 512 * MIB);
        assert_eq!(
            floor.look(60 << 30),
            512 * MIB,
            "space that comes back is no loss"
        );
        let mut floor = DiskFloor::new(Some(1000 * MIB));
        assert_eq!(floor.look(500 * MIB), 100 * MIB);
    }

    #[test]
    fn a_fast_publisher_is_held_back_earlier_and_for_a_while() {
        let mut floor = DiskFloor::new(Some(100 << 30));
        floor.look(50_000 * MIB);
        assert_eq!(floor.look(49_500 * MIB), (512 + 4 * 500) * MIB);
        let soon = floor.look(49_500 * MIB);
        assert!(soon > (512 + 4 * 480) * MIB, "{soon}");
        let later = (0..300).map(|_| floor.look(49_500 * MIB)).last();
        assert_eq!(later.map(|bytes| bytes / MIB), Some(512));
    }
}
