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

    pub(super) fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.blocks.back()?.back()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.blocks.iter().flatten()
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
