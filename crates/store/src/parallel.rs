//! The same work on many things, on a few threads: it is mostly waiting for the disk.

use std::io;

/// Does `work` on each of `items`; the first error ends the thread that met it.
/// # Errors
/// One of those that `work` returned.
pub(crate) fn try_for_each<T: Sync>(items: &[T], work: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(items.len().div_ceil(threads).max(1))
            .map(|chunk| scope.spawn(move || chunk.iter().try_for_each(work)))
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked while reading consume queues")))?;
        }
        Ok(())
    })
}
