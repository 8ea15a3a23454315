//! What can be done about each kind of damage, as the exact command.

use crate::files::StoreDir;

/// The commands for one store.
#[derive(Debug, Clone)]
pub(crate) struct Remedies {
    arguments: String,
}

impl Remedies {
    pub(crate) fn new(store: &StoreDir) -> Remedies {
        Remedies { arguments: store.arguments() }
    }

    pub(crate) fn rebuild(&self, what: &str) -> String {
        format!("mqstore rebuild {what} {} --apply", self.arguments)
    }

    /// The log itself is damaged, and goes on behind the damage.
    pub(crate) fn damaged_log(&self, offset: u64) -> String {
        format!(
            "restore the file from a backup or a replica; or go on without what is damaged: {}; or give up everything \
             from here on: {}",
            self.bridge(),
            self.cut(offset)
        )
    }

    /// A record that is damaged, in a place that is known.
    pub(crate) fn damaged_record(&self, offset: u64) -> String {
        format!(
            "restore the file from a backup or a replica; or go on without the message: mqstore bridge {} --records \
             --apply; or give up everything from here on: {}",
            self.arguments,
            self.cut(offset)
        )
    }

    /// Recovery stops at damage; a filler in its place makes it go on.
    pub(crate) fn bridge(&self) -> String {
        format!("mqstore bridge {} --apply", self.arguments)
    }

    /// Nothing sound lies behind this offset.
    pub(crate) fn cut(&self, offset: u64) -> String {
        format!("mqstore cut {} --at {offset} --apply", self.arguments)
    }
}
