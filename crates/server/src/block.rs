//! Read blocks: what sockets are read into. Each I/O thread has a few, lent for the time of one read, so that an idle
//! connection holds none. Messages may go on referring to a block; it is read into again when the last has let go.

use std::cell::RefCell;
use std::sync::Arc;

/// Large enough that one read takes what a busy socket has, small enough to stay in the second-level cache.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Blocks kept by a thread. When messages hold all of them, blocks are allocated and freed as they come.
const BLOCKS_KEPT: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Arc<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A block that nobody else refers to, with room to read behind `kept` bytes.
pub(crate) fn take(kept: usize) -> Arc<[u8]> {
    if kept > BLOCK_BYTES / 2 {
        // The rest of a frame that is larger than usual: a block for it alone.
        return std::iter::repeat_n(0, 2 * kept).collect();
    }
    let kept = KEPT.with_borrow_mut(|blocks| {
        let free = blocks
            .iter_mut()
            .rposition(|block| Arc::get_mut(block).is_some())?;
        Some(blocks.swap_remove(free))
    });
    kept.unwrap_or_else(|| std::iter::repeat_n(0, BLOCK_BYTES).collect())
}

/// Keeps the block for the next [`take`], also when messages refer to it still.
pub(crate) fn give_back(block: Arc<[u8]>) {
    KEPT.with_borrow_mut(|blocks| {
        if blocks.len() < BLOCKS_KEPT && block.len() == BLOCK_BYTES {
            blocks.push(block);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
        KEPT.with_borrow(|blocks| assert!(blocks.is_empty()));
        let block = || std::iter::repeat_n(0, BLOCK_BYTES).collect();
        (0..BLOCKS_KEPT * 2).for_each(|_| give_back(block()));
        KEPT.with_borrow(|blocks| assert_eq!(blocks.len(), BLOCKS_KEPT));
    }
}
