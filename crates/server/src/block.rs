//! Read blocks: what sockets are read into. Each I/O thread has some, lent for the time of one read, so that an idle
//! connection holds none. Messages may go on referring to a block; it is read into again when the last has let go.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Large enough that one read takes what a busy socket has, small enough to stay in the second-level cache.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Blocks kept by a thread at most: those used last. When messages hold all of them, blocks are allocated as they are needed.
const BLOCKS_MAX: usize = 128;
/// So many are kept however few are used.
const BLOCKS_LEAST: usize = 16;
/// Blocks that are looked at for one that is free, besides the last one.
const LOOKS: usize = 4;
/// Of more than [`BLOCKS_LEAST`] blocks, one is given up after so many reads that did not need it.
const IDLE_READS: u32 = 64;

thread_local! {
    static KEPT: RefCell<Kept> = const {
        RefCell::new(Kept {
            blocks: VecDeque::new(),
            idle: 0,
        })
    };
}

#[derive(Debug, Default)]
struct Kept {
    /// The one used last is the last one.
    blocks: VecDeque<Arc<[u8]>>,
    /// Reads for which the block used last was free, and the one used first as well.
    idle: u32,
}

/// A block that nobody else refers to, with room to read behind `kept` bytes.
pub(crate) fn take(kept: usize) -> Arc<[u8]> {
    if kept > BLOCK_BYTES / 2 {
        // The rest of a frame that is larger than usual: a block for it alone.
        return std::iter::repeat_n(0, 2 * kept).collect();
    }
    let kept = KEPT.with_borrow_mut(Kept::take);
    kept.unwrap_or_else(|| std::iter::repeat_n(0, BLOCK_BYTES).collect())
}

/// Keeps the block for the next [`take`], also when messages refer to it still.
pub(crate) fn give_back(block: Arc<[u8]>) {
    KEPT.with_borrow_mut(|kept| {
        if block.len() == BLOCK_BYTES {
            if kept.blocks.len() == BLOCKS_MAX {
                kept.blocks.pop_front();
            }
            kept.blocks.push_back(block);
        }
    });
}

impl Kept {
    /// A block that is free: the one used last, since the processor still has it, or else one of those used first, whose
    /// messages have had most time to go.
    fn take(&mut self) -> Option<Arc<[u8]>> {
        if self.blocks.back_mut().is_some_and(is_free) {
            self.give_up_idle();
            return self.blocks.pop_back();
        }
        self.idle = 0;
        let free = self.blocks.iter_mut().take(LOOKS).position(is_free)?;
        self.blocks.remove(free)
    }

    fn give_up_idle(&mut self) {
        if self.blocks.len() > BLOCKS_LEAST && self.blocks.front_mut().is_some_and(is_free) {
            self.idle += 1;
            if self.idle == IDLE_READS {
                self.idle = 0;
                self.blocks.pop_front();
            }
        }
    }
}

fn is_free(block: &mut Arc<[u8]>) -> bool {
    Arc::get_mut(block).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_block() -> Arc<[u8]> {
        std::iter::repeat_n(0, BLOCK_BYTES).collect()
    }

    #[test]
    fn a_block_is_lent_again_only_when_nobody_refers_to_it() {
        let first = take(0);
        assert_eq!(first.len(), BLOCK_BYTES);
        let message = Arc::clone(&first);
        give_back(first);

        let mut second = take(0);
        assert!(Arc::get_mut(&mut second).is_some());
        assert!(!Arc::ptr_eq(&second, &message));
        give_back(second);

        let address = Arc::as_ptr(&message);
        drop(message);
        let again = [take(0), take(0)];
        assert!(
            again
                .iter()
                .any(|block| std::ptr::addr_eq(Arc::as_ptr(block), address))
        );
    }

    #[test]
    fn the_number_kept_is_bounded() {
        give_back(take(BLOCK_BYTES));
        KEPT.with_borrow(|kept| assert!(kept.blocks.is_empty()));
        (0..BLOCKS_MAX * 2).for_each(|_| give_back(new_block()));
        KEPT.with_borrow(|kept| assert_eq!(kept.blocks.len(), BLOCKS_MAX));
    }

    #[test]
    fn blocks_are_read_into_in_the_order_in_which_messages_let_go() {
        let mut kept = Kept::default();
        let mut messages = VecDeque::new();
        for _ in 0..BLOCKS_MAX / 2 {
            let block = kept.take().unwrap_or_else(new_block);
            messages.push_back(block.clone());
            kept.blocks.push_back(block);
        }
        // Of one of them a message stays.
        let _stuck = messages.pop_front();
        for _ in 0..BLOCKS_MAX {
            messages.pop_front();
            let block = kept.take().expect("the oldest but one is free");
            messages.push_back(block.clone());
            kept.blocks.push_back(block);
        }
        assert_eq!(kept.blocks.len(), BLOCKS_MAX / 2);
    }

    #[test]
    fn blocks_that_are_not_needed_are_given_up_one_by_one() {
        let mut kept = Kept::default();
        kept.blocks.extend((0..BLOCKS_MAX).map(|_| new_block()));
        let mut reads = |n: u32| {
            for _ in 0..n {
                let block = kept.take().expect("all are free");
                kept.blocks.push_back(block);
            }
            kept.blocks.len()
        };
        assert_eq!(reads(IDLE_READS), BLOCKS_MAX - 1);
        assert_eq!(reads(IDLE_READS * BLOCKS_MAX as u32), BLOCKS_LEAST);
    }
}
