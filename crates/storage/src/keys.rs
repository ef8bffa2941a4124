//! A set of keys in few bytes: keys of one queue come in runs.
//!
//! ```text
//! { gap varint | more varint } …     keys: the one after the last run's end plus `gap`, and `more` behind it
//! varint     seven bits a byte, the lowest first; the highest bit says that there are more
//! ```

/// A set of keys, ascending, not yet unpacked. Its form has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys<'a>(&'a [u8]);

/// The keys of a page at most: what bounds the work that a few bytes can ask for.
pub(crate) const KEYS_MAX: u64 = 1 << 20;

/// Packs keys that ascend.
pub(crate) fn pack(keys: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut end = 0;
    let mut run: Option<(u64, u64)> = None;
    for key in keys {
        match &mut run {
            Some((first, more)) if *first + *more + 1 == key => *more += 1,
            _ => {
                end = push_run(&mut packed, end, run);
                run = Some((key, 0));
            }
        }
    }
    push_run(&mut packed, end, run);
    packed
}

/// Adds a run after one that ended before `end`. Gives its own end.
fn push_run(packed: &mut Vec<u8>, end: u64, run: Option<(u64, u64)>) -> u64 {
    let Some((first, more)) = run else {
        return end;
    };
    debug_assert!(first >= end, "the keys ascend");
    push_varint(packed, first - end);
    push_varint(packed, more);
    first + more + 1
}

impl<'a> Keys<'a> {
    pub(crate) const NONE: Self = Self(&[]);

    /// Reads what [`pack`] has written; `None` if it was not that.
    pub(crate) fn new(packed: &'a [u8]) -> Option<Self> {
        let (mut rest, mut end, mut count) = (packed, 0_u64, 0_u64);
        while !rest.is_empty() {
            let (first, more) = take_run(&mut rest, end)?;
            count = count.checked_add(more)?.checked_add(1)?;
            end = first.checked_add(more)?.checked_add(1)?;
        }
        (count <= KEYS_MAX).then_some(Self(packed))
    }

    pub(crate) fn packed(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (mut rest, mut end) = (self.0, 0);
        std::iter::from_fn(move || {
            let (first, more) = take_run(&mut rest, end)?;
            end = first + more + 1;
            Some(first..end)
        })
        .flatten()
    }
}

fn take_run(rest: &mut &[u8], end: u64) -> Option<(u64, u64)> {
    let first = end.checked_add(take_varint(rest)?)?;
    Some((first, take_varint(rest)?))
}

fn push_varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push(n as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Random;

    fn check(keys: &[u64]) -> usize {
        let packed = pack(keys.iter().copied());
        let unpacked: Vec<_> = Keys::new(&packed).unwrap().iter().collect();
        assert_eq!(unpacked, keys);
        packed.len()
    }

    #[test]
    fn keys_come_back() {
        assert_eq!(check(&[]), 0);
        check(&[0]);
        check(&[u64::MAX - 1]);
        assert!(check(&(1_000_000..1_004_096).collect::<Vec<_>>()) <= 5);
        assert!(check(&(0..4096).map(|n| n * 2 + 1).collect::<Vec<_>>()) <= 2 * 4096);
        let mut random = Random::new(1);
        for _ in 0..100 {
            let bits = random.below(60) + 1;
            let mut keys: Vec<_> = (0..random.below(50))
                .map(|_| random.below(1 << bits))
                .collect();
            keys.sort_unstable();
            keys.dedup();
            check(&keys);
        }
    }

    #[test]
    fn foreign_bytes_are_refused_or_few() {
        let mut too_many = Vec::new();
        push_varint(&mut too_many, 5);
        push_varint(&mut too_many, KEYS_MAX);
        assert_eq!(Keys::new(&too_many), None);
        assert_eq!(Keys::new(&[1]), None);
        assert_eq!(Keys::new(&[0xff; 10]), None);
        let mut random = Random::new(2);
        for _ in 0..10_000 {
            let bytes: Vec<_> = (0..random.below(12)).map(|_| random.draw() as u8).collect();
            if let Some(keys) = Keys::new(&bytes) {
                assert!(keys.iter().count() as u64 <= KEYS_MAX);
            }
        }
    }
}
