//! The parts of the log in which no record can be read.

/// More ranges than this are joined.
const MAX_RANGES: usize = 10_000;

/// Ranges, ascending.
#[derive(Debug, Default)]
pub(crate) struct LostRanges(Vec<(u64, u64)>);

impl LostRanges {
    /// Adds a range behind all others.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        let full = self.0.len() >= MAX_RANGES;
        match self.0.last_mut() {
            Some(last) if full || last.1 == from => last.1 = to,
            _ => self.0.push((from, to)),
        }
    }

    pub(crate) fn contains(&self, offset: u64) -> bool {
        let at = self.0.partition_point(|(from, _)| *from <= offset);
        at.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| offset < *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found() {
        let mut lost = LostRanges::default();
        lost.add(10, 20);
        lost.add(20, 25);
        lost.add(40, 50);
        let found: Vec<bool> = [9, 10, 24, 25, 39, 40, 49, 50].map(|offset| lost.contains(offset)).into();
        assert_eq!(found, [false, true, true, false, false, true, true, false]);
        assert_eq!(lost.0.len(), 2);
    }
}
