//! Memory maps.

/// A range of published bytes of a mapped file. Keeps the file mapped as long as it lives, also when the file has been
/// deleted meanwhile; cheap to clone.
#[derive(Debug, Clone)]
pub struct MappedSlice {
    bytes: std::sync::Arc<[u8]>,
}

impl std::ops::Deref for MappedSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for MappedSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
