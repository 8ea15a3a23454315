//! RocketMQ's names: request and response codes, the headers and bodies that go with them, flags and limits.
//!
//! Start at [`operation`]: one line per request code names its request and response header.
#![forbid(unsafe_code)]

pub mod body;
pub mod header;
pub mod names;
pub mod operation;
pub mod request_code;
pub mod response_code;
pub mod sys_flag;

/// Ordinal of V5_5_0 in Java's MQVersion: the release we say we are.
pub const CURRENT_VERSION: i32 = 513;

/// Ordinals of releases from which a peer is treated differently. Source: common/MQVersion.java.
pub mod version {
    /// Consumers can be told to reset their offsets, and asked for them, from here on.
    pub const V3_0_7_SNAPSHOT: i32 = 28;
    /// Registration bodies are RegisterBrokerBody from here on.
    pub const V3_0_11: i32 = 37;
    /// Consumers can be asked for their state, and given a message to consume, from here on.
    pub const V3_1_8_SNAPSHOT: i32 = 62;
    /// Retry sends may carry their own maximum from here on.
    pub const V3_4_9: i32 = 121;
    /// Route look-ups are answered in standard JSON from here on.
    pub const V4_9_4: i32 = 401;
    /// Compressed registrations carry queue mappings from here on.
    pub const V5_0_0: i32 = 413;

    /// The name Java gives an ordinal, such as `V5_5_0`.
    ///
    /// Only releases from 3.0.0 on whose patch numbers Java enumerates regularly are named; others show their ordinal.
    pub fn describe(ordinal: i32) -> String {
        // Java lists X.Y.0 … X.Y.9 each with a snapshot before it; these are the first ordinals of such rows.
        const ROWS: &[(i32, &str)] = &[
            (46, "3_1"),
            (66, "3_2"),
            (212, "4_0"),
            (232, "4_1"),
            (252, "4_2"),
            (272, "4_3"),
            (292, "4_4"),
            (312, "4_5"),
            (332, "4_6"),
            (352, "4_7"),
            (372, "4_8"),
            (392, "4_9"),
            (412, "5_0"),
            (432, "5_1"),
            (452, "5_2"),
            (472, "5_3"),
            (492, "5_4"),
            (512, "5_5"),
            (532, "5_6"),
            (552, "5_7"),
            (572, "5_8"),
            (592, "5_9"),
        ];
        let named = |first: i32, row: &str| {
            let step = ordinal - first;
            format!("V{row}_{}{}", step / 2, if step % 2 == 0 { "_SNAPSHOT" } else { "" })
        };
        match ROWS.iter().rev().find(|(first, _)| ordinal >= *first) {
            Some((first, row)) if ordinal < first + 20 => named(*first, row),
            // 3.0.1 to 3.0.15; what comes before has names of its own.
            None if ordinal >= 16 => named(14, "3_0"),
            _ => ordinal.to_string(),
        }
    }
}
