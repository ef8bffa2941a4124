//! A double-ended queue that may be very long.

use std::collections::VecDeque;

/// Like a [`VecDeque`], but in blocks: a long one does not hold twice the memory it needs, never copies all of itself to
/// grow (which would stop the queue for tens of milliseconds at a million messages), and gives memory back as it
/// drains.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// None of them empty.
    blocks: VecDeque<VecDeque<T>>,
    /// A block that ran empty, so that a line that hovers around a length does not allocate.
    spare: Option<VecDeque<T>>,
}

/// Most entries of a block: 8 KiB of messages.
const BLOCK: usize = 128;

/// What an empty line may keep.
const CAPACITY_KEPT: usize = 16;

impl<T> Line<T> {
    pub(super) const fn new() -> Self {
        Self {
            blocks: VecDeque::new(),
            spare: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.blocks.iter().map(|block| block.len() as u64).sum()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.blocks.back()?.back()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.blocks.iter().flatten()
    }

    /// The entries from the first one on that is not before some place, in a line that is in order.
    pub(super) fn iter_from(&self, is_before: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let ends_before = |block: &VecDeque<T>| block.back().is_some_and(&is_before);
        let at = self.blocks.partition_point(ends_before);
        let block = self.blocks.get(at);
        let within = block.map_or(0, |block| block.partition_point(&is_before));
        self.blocks.range(at..).flatten().skip(within)
    }

    /// Takes the entry with this key out, in a line that is in the order of its keys.
    pub(super) fn remove(&mut self, key: u64, key_of: impl Fn(&T) -> u64) -> Option<T> {
        let ends_before = |block: &VecDeque<T>| block.back().is_some_and(|it| key_of(it) < key);
        let at = self.blocks.partition_point(ends_before);
        let block = self.blocks.get_mut(at)?;
        let within = block.binary_search_by_key(&key, &key_of).ok()?;
        let value = block.remove(within);
        if block.is_empty() {
            self.blocks.remove(at);
        } else if block.len() <= block.capacity() / 4 {
            // Many entries may go so, and the blocks they leave would hold far more than is in them.
            block.shrink_to(2 * block.len());
        }
        value
    }

    /// Takes the first `count` out, as a line of their own.
    pub(super) fn take_front(&mut self, count: usize) -> Self {
        let mut front = Self::new();
        let taken = (0..count).map_while(|_| self.pop_front());
        taken.for_each(|value| front.push_back(value));
        front
    }

    pub(super) fn push_back(&mut self, value: T) {
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push_back(value),
            _ => {
                let mut block = self.block();
                block.push_back(value);
                self.blocks.push_back(block);
            }
        }
    }

    pub(super) fn push_front(&mut self, value: T) {
        match self.blocks.front_mut() {
            Some(block) if block.len() < BLOCK => block.push_front(value),
            _ => {
                let mut block = self.block();
                block.push_front(value);
                self.blocks.push_front(block);
            }
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.blocks.front_mut()?;
        let value = first.pop_front();
        if first.is_empty() {
            self.spare = self.blocks.pop_front();
            if self.blocks.is_empty() {
                self.spare.take_if(|block| block.capacity() > CAPACITY_KEPT);
                self.blocks.shrink_to(CAPACITY_KEPT);
            }
        }
        value
    }

    /// An empty block. The first of a line grows as it must, the others will be full.
    fn block(&mut self) -> VecDeque<T> {
        let capacity = if self.blocks.is_empty() { 0 } else { BLOCK };
        let new = || VecDeque::with_capacity(capacity);
        self.spare.take().unwrap_or_else(new)
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_order_at_both_ends() {
        let mut line = Line::new();
        let mut model = VecDeque::new();
        // Grows by one in three steps, so that it crosses the blocks' borders often.
        for n in 0..6 * BLOCK {
            match n % 3 {
                0 => {
                    line.push_front(n);
                    model.push_front(n);
                }
                1 => {
                    line.push_back(n);
                    model.push_back(n);
                }
                _ => assert_eq!(line.pop_front(), model.pop_front()),
            }
            assert_eq!(line.front(), model.front());
            assert_eq!(line.back(), model.back());
        }
        while let Some(value) = model.pop_front() {
            assert_eq!(line.pop_front(), Some(value));
        }
        assert!(line.is_empty());
        assert_eq!(line.pop_front(), None);
    }

    #[test]
    fn entries_are_found_and_leave_by_their_keys() {
        let mut line = Line::new();
        (0..4 * BLOCK as u64).for_each(|n| line.push_back(2 * n));
        for start in [0, 1, 2, 255, 256, 257, 1023, 5000] {
            let found = line.iter_from(|it| *it < start).copied();
            let expected = (0..1024).filter(|it| it % 2 == 0 && *it >= start);
            assert!(found.eq(expected), "from {start}");
        }
        assert_eq!(line.remove(3, |it| *it), None);
        for key in (0..1024).step_by(2).filter(|key| key % 10 != 0) {
            assert_eq!(line.remove(key, |it| *it), Some(key));
            assert_eq!(line.remove(key, |it| *it), None);
        }
        assert!(line.iter().copied().eq((0..1024).step_by(10)));
        let capacity: usize = line.blocks.iter().map(VecDeque::capacity).sum();
        assert!(capacity <= BLOCK * 2, "{capacity} places for 103 entries");
        (0..1024).for_each(|key| {
            assert!(line.remove(key, |it| *it).is_some_and(|it| it == key) == (key % 10 == 0))
        });
        assert!(line.is_empty());
    }

    #[test]
    fn its_front_can_be_taken() {
        let mut line = Line::new();
        (0..3 * BLOCK).for_each(|n| line.push_back(n));
        let front = line.take_front(BLOCK + 1);
        assert!(front.iter().copied().eq(0..=BLOCK));
        assert!(line.iter().copied().eq(BLOCK + 1..3 * BLOCK));
    }

    #[test]
    fn an_empty_line_keeps_little_memory() {
        let mut line = Line::new();
        for burst in [3, 10 * BLOCK, 3] {
            (0..burst).for_each(|n| line.push_back(n));
            while line.pop_front().is_some() {}
            let kept = line.spare.as_ref().map_or(0, VecDeque::capacity);
            assert!(kept <= CAPACITY_KEPT && line.blocks.capacity() <= CAPACITY_KEPT);
        }
    }
}
