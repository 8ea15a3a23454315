//! Bits of flags that travel in headers. Sources: common/sysflag/*.java, common/constant/PermName.java.

/// Of a pull request.
pub mod pull {
    /// The request commits `commitOffset`.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The request may be held until a message arrives.
    pub const SUSPEND: i32 = 0x2;
    /// The request brings its own subscription.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// Filter by class, long gone.
    pub const CLASS_FILTER: i32 = 0x8;
    /// A lite pull.
    pub const LITE_PULL: i32 = 0x10;
}

/// Of a topic.
pub mod topic {
    /// Belongs to a unit.
    pub const UNIT: i32 = 0x1;
    /// Has unit subscribers.
    pub const UNIT_SUB: i32 = 0x2;

    /// Builds the flag.
    pub fn build(unit: bool, has_unit_sub: bool) -> i32 {
        i32::from(unit) * UNIT + i32::from(has_unit_sub) * UNIT_SUB
    }
}

/// Permission of a broker or topic.
pub mod perm {
    /// New topics may be made after this one.
    pub const INHERIT: i32 = 0x1;
    /// May be written to.
    pub const WRITE: i32 = 0x2;
    /// May be read from.
    pub const READ: i32 = 0x4;
    /// Highest possible value.
    pub const PRIORITY: i32 = 0x8;

    /// True when the read bit is set.
    pub fn is_readable(perm: i32) -> bool {
        perm & READ != 0
    }

    /// True when the write bit is set.
    pub fn is_writeable(perm: i32) -> bool {
        perm & WRITE != 0
    }

    /// True when the inherit bit is set.
    pub fn is_inherited(perm: i32) -> bool {
        perm & INHERIT != 0
    }
}
