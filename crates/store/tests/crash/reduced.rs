//! Single states of the disk that a start did not master once, without chance.

use std::path::Path;
use std::sync::Arc;

use store::FlushDiskType;

use crate::common::settle;
use crate::disk::Disk;
use crate::history::History;
use crate::random::Random;
use crate::recorder::{Recorder, Tree};
use crate::scenario::{FIRST_BOOT, Run, Sizes, Worker};
use crate::trial::Trial;

const SIZES: Sizes = Sizes { queue_units: 400, index_slots: 400, index_entries: 2000 };

/// A store whose threads flush nothing by themselves but what is waited for.
struct Case {
    worker: Worker,
    sizes: Sizes,
    _dir: tempfile::TempDir,
}

impl Case {
    fn new(flush: FlushDiskType) -> Self {
        Self::with(SIZES, flush)
    }

    fn with(sizes: Sizes, flush: FlushDiskType) -> Self {
        let dir = crate::scratch();
        let mut config = sizes.config(dir.path());
        config.flush_disk_type = flush;
        config.flush_interval_commit_log_ms = 3_600_000;
        config.flush_interval_consume_queue_ms = 3_600_000;
        config.flush_consume_queue_thorough_interval_ms = 3_600_000;
        let recorder = Arc::new(Recorder::new(dir.path(), FIRST_BOOT));
        let mut worker = Worker::new(recorder, config, History::default(), Random::new(1), "r".to_owned());
        worker.open();
        Self { worker, sizes, _dir: dir }
    }

    /// Messages that are in log, queues and index, and on the disk as far as the flush type promises.
    fn put(&mut self, count: usize, len: usize) {
        self.worker.put_to("T", count, len);
        self.worker.await_flush();
        settle(self.worker.store());
    }

    fn restart(&mut self) {
        self.worker.finish();
        self.worker.open();
    }

    fn kill(&mut self) {
        self.worker.store().abandon();
        self.worker.store = None;
        self.worker.open();
    }

    /// All of it, and a loss of power now that leaves everything but what `lost` names.
    fn lose(self, lost: impl Fn(&Path, Option<usize>) -> bool) -> (Run, Tree) {
        let run = self.worker.run(self.sizes);
        self.worker.store().abandon();
        let mut disk = Disk::new(&run.record);
        run.record.events.iter().for_each(|event| disk.step(event));
        let tree = disk.after_loss_of(lost);
        (run, tree)
    }
}

fn trial(run: &Run, tree: Tree) -> Trial<'_> {
    let mut disk = Disk::new(&run.record);
    run.record.events.iter().for_each(|event| disk.step(event));
    Trial { tree, ..Trial::new(run, &disk, 1) }
}

fn check((run, tree): (Run, Tree)) {
    trial(&run, tree).look(true).unwrap();
}

/// Loses power again at each moment of the start and after it, in several ways.
fn check_again((run, tree): (Run, Tree)) {
    for seed in 0..12 {
        let mut trial = Trial { random: Random::new(seed), ..trial(&run, tree.clone()) };
        assert!(trial.lose_power_again().unwrap() > 10);
    }
}

#[test]
fn units_that_are_missing_before_others_are_written_again() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(30, 10);
    case.restart();
    case.put(230, 10);
    check(case.lose(|path, sector| path.starts_with("consumequeue") && matches!(sector, Some(2048..3072))));
}

#[test]
fn a_torn_unit_is_written_again() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(25, 400);
    case.restart();
    case.put(10, 400);
    // Unit 25 lies in the first sector up to its size.
    check(case.lose(|path, sector| path.starts_with("consumequeue") && sector == Some(512)));
}

#[test]
fn a_torn_unit_of_a_record_that_is_gone_is_no_message() {
    let mut case = Case::new(FlushDiskType::AsyncFlush);
    case.put(102, 10);
    case.restart();
    case.put(1, 10);
    // Unit 102 lies in that sector with its offset: it seems to point to the start of the log.
    check(case.lose(|path, sector| {
        path.starts_with("commitlog") || path.starts_with("consumequeue") && sector == Some(1536)
    }));
}

#[test]
fn a_torn_unit_behind_others_that_are_missing_is_not_the_end() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(60, 10);
    case.restart();
    case.put(60, 10);
    // Of unit 76 the end is missing; unit 102 has no offset, and a size.
    check(case.lose(|path, sector| path.starts_with("consumequeue") && sector == Some(1536)));
}

#[test]
fn a_topic_made_anew_begins_at_0_whatever_came_back_of_the_old_one() {
    let mut case = Case::with(Sizes { queue_units: 30, ..SIZES }, FlushDiskType::SyncFlush);
    case.put(40, 10);
    case.restart();
    case.worker.history.deleted(case.worker.recorder.position(), "T");
    case.worker.store().delete_topic("T");
    case.put(1, 10);
    // The directory is the old one, and lacks its first file.
    let first = Path::new("consumequeue/T/0/00000000000000000000");
    check(case.lose(|path, sector| sector.is_none() && path.starts_with("consumequeue/T") && path != first));
}

#[test]
fn index_files_keep_their_names() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(30, 10);
    case.restart();
    check(case.lose(|path, sector| path.starts_with("index") && sector.is_none()));
}

#[test]
fn slots_without_the_header_that_knows_them_make_no_whole_index_file() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(150, 10);
    case.restart();
    case.put(150, 10);
    check(case.lose(|path, sector| path.starts_with("index") && sector == Some(0)));
}

#[test]
fn an_index_that_was_being_built_again_is_built_again() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(60, 10);
    case.restart();
    case.put(60, 10);
    check_again(case.lose(|_, _| false));
}

#[test]
fn what_a_killed_process_wrote_is_flushed_before_it_is_relied_on() {
    let mut case = Case::new(FlushDiskType::AsyncFlush);
    case.put(5, 1000);
    case.restart();
    case.put(30, 1000);
    case.kill();
    let end = case.worker.store().status().flushed_offset;
    assert_eq!(end, case.worker.store().status().max_offset);
    check(case.lose(|_, _| true));
}

#[test]
fn a_cut_log_has_no_gap_whenever_power_is_lost() {
    let mut case = Case::new(FlushDiskType::AsyncFlush);
    case.put(60, 1000);
    check_again(case.lose(|path, sector| path == Path::new("commitlog/00000000000000016384") && sector == Some(0)));
}

#[test]
fn a_torn_checkpoint_promises_nothing_while_queues_are_built_again() {
    let mut case = Case::new(FlushDiskType::SyncFlush);
    case.put(120, 10);
    case.restart();
    case.put(30, 10);
    check_again(case.lose(|path, sector| path == Path::new("checkpoint") && sector == Some(0)));
}
