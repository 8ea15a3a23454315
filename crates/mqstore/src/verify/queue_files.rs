//! Names and lengths of the files of queues, their extensions and queues of batches.

use super::report::{Kind, Report};
use crate::files::QueueFiles;
use crate::remedy::Remedies;

pub(crate) fn check(files: &QueueFiles, live: bool, remedies: &Remedies, report: &mut Report) {
    let bytes = files.file_bytes;
    let remedy = || remedies.rebuild("queues");
    for queue in &files.queues {
        let last = queue.files.len().saturating_sub(1);
        let mut expected = None;
        for (index, file) in queue.files.iter().enumerate() {
            let at = |position| (file.path.clone(), Some(position));
            if file.len != bytes && !(index == last && (file.len == 0 || live)) {
                let what = format!("the file has {} bytes where all others have {bytes}", file.len);
                report.find(Kind::QueueFile, at(file.len.min(bytes)), what, remedy());
            }
            if !file.first.is_multiple_of(bytes) {
                let what = format!("the file is named after no multiple of {bytes}");
                report.find(Kind::QueueFile, at(0), what, remedy());
            } else if let Some(expected) = expected.filter(|expected| *expected != file.first) {
                let missing = file.path.with_file_name(format!("{expected:020}"));
                let what = format!("the file is missing; the next one begins at {}", file.first);
                report.find(Kind::QueueFile, (missing, None), what, remedy());
            }
            expected = Some(file.first.saturating_add(bytes));
        }
    }
}
