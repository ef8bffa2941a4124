//! Power cuts, killed processes and failing calls at any moment: what was durable is there, what is there was appended, and
//! batches are whole.

use super::model::Model;
use super::{Stepped, for_seeds};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::error::{OpenError, PageError};
use crate::format::number_in;
use crate::log::{Options, Stats};
use crate::sim::{Fault, Random, SimDisk};

/// A run of random batches and turns with crashes in between, on one disk.
pub(super) struct Run {
    random: Random,
    pub(super) disk: SimDisk,
    pub(super) options: Options,
    pub(super) model: Model,
    /// Bytes of a record, at most.
    bytes_max: u64,
    /// How often something happens to pages.
    pub(super) paging_percent: u64,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.draw());
        let file_bytes = [8 << 10, 16 << 10, 32 << 10][random.below(3) as usize];
        let bytes_max = [20, 200, 1000, 6000][random.below(4) as usize];
        let segment_bytes = [8 << 10, 16 << 10, 32 << 10][random.below(3) as usize];
        let paging_percent = [0, 20, 80][random.below(3) as usize];
        let options = Options {
            file_bytes,
            segment_bytes,
            ..Options::default()
        };
        let mut model = Model::new();
        model.hoards = random.chance(30);
        Self {
            random,
            disk,
            options,
            model,
            bytes_max,
            paging_percent,
        }
    }

    /// Opens the log, however often the power goes meanwhile, and compares it with the model.
    pub(super) fn open(&mut self, durable: u64) -> Stepped {
        loop {
            match self.try_open(durable) {
                Some(stepped) => return stepped,
                None if !self.disk.has_power() => self.disk.power_on(),
                None => panic!("the disk failed"),
            }
        }
    }

    /// The same, if the disk does not fail meanwhile.
    fn try_open(&mut self, durable: u64) -> Option<Stepped> {
        match Stepped::open(&self.disk, &self.options) {
            Ok((stepped, found)) => {
                let lsn = stepped.log.durable().0;
                self.model.check_reopened(durable, lsn, &found);
                Some(stepped)
            }
            Err(OpenError::Io { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Appends and turns until the disk fails or it is enough. Gives what is durable at the end.
    pub(super) fn work(&mut self, stepped: &mut Stepped, steps: u64) -> u64 {
        for _ in 0..steps {
            let appends = self.random.below(4);
            for _ in 0..appends {
                self.model
                    .append(&mut self.random, &stepped.log, self.bytes_max);
            }
            if stepped.turn().is_err() {
                break;
            }
            match self.page(stepped) {
                // It is tried again some other time.
                Ok(()) | Err(PageError::NoSpace) => {}
                Err(_) => break,
            }
            self.model.settle(stepped.log.durable().0);
            self.read_some(stepped);
        }
        stepped.log.durable().0
    }

    /// Pages out or in, if this run does.
    fn page(&mut self, stepped: &mut Stepped) -> Result<(), PageError> {
        if !self.random.chance(self.paging_percent) {
            return Ok(());
        }
        if self.random.chance(50) {
            // Not until it is settled: of files this small half is header, and they are cleaned without end.
            while stepped.log.shared().has_frames() {
                stepped.turn()?;
            }
        }
        self.model.settle(stepped.log.durable().0);
        self.model
            .page(&mut self.random, &stepped.log, self.bytes_max)
    }

    /// Reads a record that is durable and alive.
    fn read_some(&mut self, stepped: &Stepped) {
        let records = &self.model.durable_state().records;
        if let Some((key, record)) = records
            .iter()
            .nth(self.random.below(records.len().max(1) as u64) as usize)
        {
            assert_eq!(stepped.log.read(*key).unwrap(), record.bytes);
        }
    }
}

/// The wide net: many seeds, each a life of several crashes of all kinds.
#[test]
fn random_lives() {
    for_seeds(1000, |seed| {
        let mut run = Run::new(seed);
        let mut durable = 0;
        for _ in 0..=run.random.below(4) {
            if run.random.chance(30) {
                // Also while it opens.
                run.disk.fail_after(run.random.below(12), Fault::PowerCut);
            }
            let mut stepped = run.open(durable);
            run.disk.heal();
            match run.random.below(5) {
                0 => {
                    run.disk.fail_after(run.random.below(150), Fault::PowerCut);
                    durable = run.work(&mut stepped, 60);
                    drop(stepped);
                    run.disk.power_on();
                }
                1 => {
                    // Killed: the kernel has everything, for as long as there is power.
                    durable = run.work(&mut stepped, 30);
                    drop(stepped);
                }
                2 => {
                    // A call fails, and the process ends; then perhaps also the power goes.
                    run.disk.fail_after(run.random.below(150), Fault::Io);
                    durable = run.work(&mut stepped, 60);
                    run.disk.heal();
                    drop(stepped);
                    if run.random.chance(50) {
                        run.disk.power_on();
                    }
                }
                3 => {
                    // A call finds no space. If it was not to make a file, the process ends.
                    run.disk.fail_after(run.random.below(150), Fault::NoSpace);
                    durable = run.work(&mut stepped, 60);
                    run.disk.heal();
                    drop(stepped);
                }
                _ => {
                    run.work(&mut stepped, 30);
                    durable = stepped.close().unwrap().0;
                    run.disk.power_on();
                }
            }
        }
        run.open(durable);
    });
}

/// The fine net: the power goes at each call of one life that fills, cleans and uses again several files.
#[test]
fn power_cut_at_every_call() {
    let live = |cut: Option<u64>, seed: u64| {
        let mut run = Run::new(7);
        run.paging_percent = 0;
        run.options.file_bytes = 8 << 10;
        run.bytes_max = 300;
        run.disk = SimDisk::new(seed);
        if let Some(cut) = cut {
            run.disk.fail_after(cut, Fault::PowerCut);
        }
        let mut stepped = run.open(0);
        let durable = run.work(&mut stepped, 120);
        let (changes, moved) = (run.disk.changes(), stepped.log.stats().moved_bytes);
        drop(stepped);
        run.disk.power_on();
        run.open(durable);
        (run, changes, moved)
    };
    let (run, changes, moved) = live(None, 0);
    assert!(moved > 0, "the run cleans");
    let newest = run
        .disk
        .list()
        .unwrap()
        .iter()
        .filter_map(|name| number_in(name, ".log"))
        .max();
    assert!(
        newest > Some(run.disk.created() as u32),
        "the run uses files again"
    );
    for cut in 0..changes {
        live(Some(cut), cut);
    }
}

/// The same of a life that pages out and in, and cleans and removes segments.
#[test]
fn power_cut_at_every_call_with_pages() {
    let (run, changes, stats) = paging_life(None, 0);
    assert!(
        stats.moved_bytes > 0 && stats.relocated_bytes > 0,
        "{stats:?}"
    );
    let names = run.disk.list().unwrap();
    let segments: Vec<_> = names
        .iter()
        .filter_map(|name| number_in(name, ".seg"))
        .collect();
    let newest = segments.iter().max().copied().unwrap();
    assert!(
        newest as usize > 2 * segments.len(),
        "segments are removed: {segments:?}"
    );
    for cut in 0..changes {
        paging_life(Some((cut, Fault::PowerCut)), cut);
    }
}

/// The process ends at any call of that life, and the kernel keeps what it has.
#[test]
fn killed_at_every_call_with_pages() {
    let (_, changes, _) = paging_life(None, 0);
    for call in 0..changes {
        paging_life(Some((call, Fault::Io)), call);
    }
}

/// There is no space for any call of that life. Where a file was to be made it goes on; elsewhere the process ends.
#[test]
fn no_space_at_every_call_with_pages() {
    let (_, changes, whole) = paging_life(None, 0);
    let lives = (0..changes).map(|call| paging_life(Some((call, Fault::NoSpace)), call));
    let went_on = lives.filter(|(_, _, stats)| stats.syncs >= whole.syncs / 2 && stats.syncs > 0);
    assert!(went_on.count() > 0);
}

fn paging_life(fault: Option<(u64, Fault)>, seed: u64) -> (Run, u64, Stats) {
    let mut run = Run::new(9);
    run.paging_percent = 80;
    run.model.hoards = true;
    run.options.file_bytes = 16 << 10;
    run.options.segment_bytes = 8 << 10;
    run.bytes_max = 600;
    run.disk = SimDisk::new(seed);
    if let Some((call, fault)) = fault {
        run.disk.fail_after(call, fault);
    }
    let Some(mut stepped) = run.try_open(0) else {
        run.disk.heal();
        run.open(0);
        return (run, 0, Stats::default());
    };
    let durable = run.work(&mut stepped, 110);
    let (changes, stats) = (run.disk.changes(), stepped.log.stats());
    drop(stepped);
    if fault.is_some_and(|(_, fault)| fault == Fault::PowerCut) {
        run.disk.power_on();
    }
    run.disk.heal();
    run.open(durable);
    (run, changes, stats)
}

/// A file's name is not durable when the process ends, and the next process finds it and writes to it.
#[test]
fn name_of_a_new_file_is_made_durable_by_the_next_process() {
    for_seeds(20, |seed| {
        let disk = SimDisk::new(seed);
        let options = Options {
            file_bytes: 8 << 10,
            ..Options::default()
        };
        let put = |stepped: &mut Stepped, len: usize| {
            let mut batch = Batch::new();
            batch.put(&[1], &[&vec![7; len]]);
            stepped.log.append(&mut batch);
            stepped.turn()
        };
        let (mut stepped, _) = Stepped::open(&disk, &options).unwrap();
        put(&mut stepped, 3500).unwrap();
        stepped.close().unwrap();

        // Closed, so the log goes on in the file, but the next frame needs another: header, sync, rename, and then the
        // names can't be synced.
        let (mut stepped, _) = Stepped::open(&disk, &options).unwrap();
        disk.fail_after(3, Fault::Io);
        put(&mut stepped, 1000).unwrap_err();
        assert!(disk.contents("00000002.log").is_some());
        drop(stepped);

        let (mut stepped, _) = Stepped::open(&disk, &options).unwrap();
        put(&mut stepped, 1000).unwrap();
        drop(stepped);
        disk.power_on();
        let (_, found) = Stepped::open(&disk, &options).unwrap();
        assert_eq!(found.records.len(), 2);
    });
}

/// Behind the last frame there may be a whole file of an earlier life, which has to be looked through for frames: once.
#[test]
fn what_is_behind_the_end_is_read_once() {
    const FILE_BYTES: u64 = 8 << 20;
    let disk = SimDisk::new(1);
    let options = Options {
        file_bytes: FILE_BYTES,
        ..Options::default()
    };
    let (stepped, _) = Stepped::open(&disk, &options).unwrap();
    let mut batch = Batch::new();
    batch.put(&[1], &[b"all there is"]);
    stepped.log.append(&mut batch);
    stepped.close().unwrap();
    let before = disk.read_bytes();
    let (_, found) = Stepped::open(&disk, &options).unwrap();
    assert_eq!(found.records.len(), 1);
    let read = disk.read_bytes() - before;
    assert!(read < FILE_BYTES * 3 / 2, "{read} bytes");
}
