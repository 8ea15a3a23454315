//! Which files a store has: enough to notice at the next start that one was taken away.

/// How many there are, and the exclusive or of a hash of each name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Inventory {
    pub(crate) count: i64,
    pub(crate) hash: i64,
}

impl Inventory {
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Inventory {
        let mut inventory = Inventory::default();
        names.into_iter().for_each(|name| inventory.add(name));
        inventory
    }

    pub(crate) fn add(&mut self, name: &str) {
        self.count += 1;
        self.hash ^= fnv_1a(name);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.count -= 1;
        self.hash ^= fnv_1a(name);
    }

    pub(crate) fn add_all(&mut self, files: &Inventory) {
        self.count += files.count;
        self.hash ^= files.hash;
    }

    pub(crate) fn remove_all(&mut self, files: &Inventory) {
        self.count -= files.count;
        self.hash ^= files.hash;
    }

    /// Whether something noted here is not in `found`. More than was noted is fine: files are noted after they are made,
    /// and struck off before they are removed.
    pub(crate) fn has_lost(&self, found: &Inventory) -> bool {
        found.count < self.count || (found.count == self.count && found.hash != self.hash)
    }
}

/// Not a CRC: those of `T1/0`, `T2/1` and of `T1/1`, `T2/0` cancel out alike.
fn fnv_1a(name: &str) -> i64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_noticed() {
        let noted = Inventory::of(["T1/0", "T2/1"]);
        assert!(!noted.has_lost(&Inventory::of(["T2/1", "T1/0"])));
        assert!(!noted.has_lost(&Inventory::of(["T2/1", "T1/0", "T3/0"])));
        assert!(noted.has_lost(&Inventory::of(["T1/0"])));
        assert!(noted.has_lost(&Inventory::of(["T1/1", "T2/0"])));
        assert!(noted.has_lost(&Inventory::default()));
        let mut less = noted;
        less.remove("T1/0");
        assert_eq!(less, Inventory::of(["T2/1"]));
        assert!(!Inventory::default().has_lost(&noted));
        let mut all = Inventory::of(["T3/0"]);
        all.add_all(&noted);
        assert_eq!(all, Inventory::of(["T1/0", "T2/1", "T3/0"]));
        all.remove_all(&Inventory::of(["T1/0", "T3/0"]));
        assert_eq!(all, Inventory::of(["T2/1"]));
    }
}
