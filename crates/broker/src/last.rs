//! Values of which most are like the one before, and so share its memory.

use std::sync::Arc;

/// The last of such values.
#[derive(Debug)]
pub(crate) struct Last<T>(Option<Arc<T>>);

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Last<T> {
    /// The value before, if `value` is like it; else `value`, which is the last one now.
    pub(crate) fn share(&mut self, value: impl Into<Arc<T>>) -> Arc<T> {
        let value = value.into();
        match &self.0 {
            Some(last) if *last == value => last.clone(),
            _ => self.0.insert(value).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_share_their_memory() {
        let mut last = Last::default();
        let values = [1, 1, 2, 1].map(|value| last.share(value));
        assert_eq!(values.each_ref().map(|value| **value), [1, 1, 2, 1]);
        let shared = [(0, 1), (1, 2), (1, 3)].map(|(a, b)| Arc::ptr_eq(&values[a], &values[b]));
        assert_eq!(shared, [true, false, false]);
    }
}
