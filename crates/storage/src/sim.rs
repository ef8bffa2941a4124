//! A disk in memory that does what disks do when things go wrong. For tests, also of those who build on the log: the same
//! seed and the same calls give the same disk.
//!
//! What is written is not durable before it is synced. At a power loss each unsynced sector of 512 bytes has, on its own,
//! one of the contents it had since it was synced, so writes are lost, torn and reordered. Names are durable when they are
//! synced; before that, some of the first changes to them may be.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::disk::{Disk, DiskFile};

const SECTOR: u64 = 512;

/// See the module's page. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

/// What to do when a call comes that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with an input/output error. Later ones succeed, and after a sync that failed the disk thinks that all
    /// is well, although part of what was written will never be durable: as kernels do.
    Io,
    /// There is no space for the call; later ones have some. Only calls that make files need any, but not all filesystems
    /// keep what they have allocated: there it may be any call, and it is like [`Fault::Io`].
    NoSpace,
    /// The power goes: this call may have happened in part, and nothing works until [`SimDisk::power_on`].
    PowerCut,
}

struct Shared {
    state: Mutex<State>,
    resumed: Condvar,
}

struct State {
    random: Random,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    inodes: Vec<Inode>,
    capacity: u64,
    /// Calls that changed the disk, so far.
    changes: u64,
    /// Bytes that were read, so far.
    read_bytes: u64,
    fault: Option<(u64, Fault)>,
    has_power: bool,
    is_stalled: bool,
    is_locked: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

/// A file's contents.
#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// The contents that unsynced sectors had, in order.
    unsynced: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// A small generator of pseudo-random numbers (splitmix64): all that is asked of it is to be repeatable.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl SimDisk {
    /// An empty disk without a limit.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            inodes: Vec::new(),
            capacity: u64::MAX,
            changes: 0,
            read_bytes: 0,
            fault: None,
            has_power: true,
            is_stalled: false,
            is_locked: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                resumed: Condvar::new(),
            }),
        }
    }

    /// Another disk with the same files.
    pub fn duplicate(&self) -> Self {
        let mut state = self.shared.state.lock();
        let seed = state.random.draw();
        let other = Self::new(seed);
        let mut copy = other.shared.state.lock();
        copy.names.clone_from(&state.names);
        copy.durable_names.clone_from(&state.durable_names);
        copy.name_changes.clone_from(&state.name_changes);
        copy.inodes.clone_from(&state.inodes);
        copy.capacity = state.capacity;
        drop(copy);
        other
    }

    /// Sets how many bytes fit.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.state.lock().capacity = bytes;
    }

    /// Bytes that files take.
    pub fn used_bytes(&self) -> u64 {
        self.shared.state.lock().used()
    }

    /// Files ever created.
    pub fn created(&self) -> usize {
        self.shared.state.lock().inodes.len()
    }

    /// Calls that changed the disk, so far.
    pub fn changes(&self) -> u64 {
        self.shared.state.lock().changes
    }

    /// Bytes that were read, so far.
    pub fn read_bytes(&self) -> u64 {
        self.shared.state.lock().read_bytes
    }

    /// Lets the call that changes the disk after `skip` others fail.
    pub fn fail_after(&self, skip: u64, fault: Fault) {
        let mut state = self.shared.state.lock();
        state.fault = Some((state.changes + skip, fault));
    }

    /// Forgets a fault that has not happened.
    pub fn heal(&self) {
        self.shared.state.lock().fault = None;
    }

    /// Whether the power is there.
    pub fn has_power(&self) -> bool {
        self.shared.state.lock().has_power
    }

    /// The power goes now.
    pub fn cut_power(&self) {
        self.shared.state.lock().has_power = false;
    }

    /// The power is back, and the disk has what it has kept.
    pub fn power_on(&self) {
        let mut state = self.shared.state.lock();
        state.forget_unsynced();
        state.has_power = true;
        state.fault = None;
        state.is_locked = false;
    }

    /// Lets syncs wait until [`SimDisk::resume`]: a disk that does not answer.
    pub fn stall(&self) {
        self.shared.state.lock().is_stalled = true;
    }

    /// Lets syncs go on.
    pub fn resume(&self) {
        self.shared.state.lock().is_stalled = false;
        self.shared.resumed.notify_all();
    }

    /// The bytes of a file, as they are read now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        state
            .names
            .get(name)
            .map(|inode| state.inodes[*inode].bytes.clone())
    }

    /// Flips a bit of a file, durably.
    ///
    /// # Panics
    /// If there is no such file or bit.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.shared.state.lock();
        let inode = state.names[name];
        let inode = &mut state.inodes[inode];
        inode.bytes[offset] ^= 1 << bit;
        inode.durable[offset] ^= 1 << bit;
    }
}

impl State {
    /// Counts a call that changes the disk, and says whether it goes wrong.
    fn change(&mut self) -> Option<Fault> {
        self.changes += 1;
        match self.fault {
            Some((at, fault)) if self.changes > at => {
                self.fault = None;
                self.has_power &= fault != Fault::PowerCut;
                Some(fault)
            }
            _ => None,
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.has_power {
            Ok(())
        } else {
            Err(io::Error::other("the power is gone"))
        }
    }

    fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        self.check_power()?;
        let fault = self.change();
        if matches!(fault, None | Some(Fault::PowerCut)) {
            change.apply(&mut self.names);
            self.name_changes.push(change);
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|inode| self.inodes[*inode].bytes.len() as u64)
            .sum()
    }

    fn forget_unsynced(&mut self) {
        let kept = self.random.below(self.name_changes.len() as u64 + 1) as usize;
        for change in &self.name_changes[..kept] {
            change.apply(&mut self.durable_names);
        }
        self.name_changes.clear();
        self.names.clone_from(&self.durable_names);
        for inode in &mut self.inodes {
            inode.settle(&mut self.random);
            inode.bytes.clone_from(&inode.durable);
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => {
                names.retain(|_, other| other != inode);
                names.insert(name.clone(), *inode);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        let start = offset as usize;
        if self.bytes.len() < start + bytes.len() {
            self.bytes.resize(start + bytes.len(), 0);
        }
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        let end = offset + bytes.len() as u64;
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let contents = sector_of(&self.bytes, sector).to_vec();
            self.unsynced.entry(sector).or_default().push(contents);
        }
    }

    /// Decides for each unsynced sector what it will be.
    fn settle(&mut self, random: &mut Random) {
        // Also the extremes happen: all is there, nothing is.
        let mood = random.below(4);
        let keep_len = random.chance(50);
        if self.bytes.len() != self.durable.len() && keep_len {
            self.durable.resize(self.bytes.len(), 0);
        }
        for (sector, contents) in std::mem::take(&mut self.unsynced) {
            let pick = match mood {
                0 => 0,
                1 => contents.len() as u64,
                _ => random.below(contents.len() as u64 + 1),
            };
            if pick > 0 {
                put_sector(&mut self.durable, sector, &contents[pick as usize - 1]);
            }
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.bytes.len(), 0);
        for sector in std::mem::take(&mut self.unsynced).into_keys() {
            put_sector(&mut self.durable, sector, sector_of(&self.bytes, sector));
        }
    }
}

fn sector_of(bytes: &[u8], sector: u64) -> &[u8] {
    let start = ((sector * SECTOR) as usize).min(bytes.len());
    let end = (((sector + 1) * SECTOR) as usize).min(bytes.len());
    &bytes[start..end]
}

/// Sets a sector, as far as the file reaches.
fn put_sector(bytes: &mut [u8], sector: u64, contents: &[u8]) {
    let start = ((sector * SECTOR) as usize).min(bytes.len());
    let end = (start + contents.len()).min(bytes.len());
    bytes[start..end].copy_from_slice(&contents[..end - start]);
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::Io | Self::PowerCut => io::Error::other("input/output error"),
        }
    }
}

struct Guard(SimDisk);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.shared.state.lock().is_locked = false;
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.shared.state.lock();
        state.check_power()?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Guard(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.shared.state.lock();
        state.check_power()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.shared.state.lock();
        state.check_power()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        if state.used().saturating_add(len) > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.check_power()?;
        let zeros = vec![0; len as usize];
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            bytes: zeros.clone(),
            durable: zeros,
            unsynced: BTreeMap::new(),
        });
        state.change_names(NameChange::Set(name.to_owned(), inode))?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_names(NameChange::Set(to.to_owned(), inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(NameChange::Remove(name.to_owned()))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.check_power()?;
        if let Some(fault) = state.change() {
            return Err(fault.error());
        }
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn salt(&self) -> io::Result<u64> {
        Ok(self.shared.state.lock().random.draw())
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    /// Runs a change of the file, or lets it fail.
    fn change(
        &self,
        apply: impl FnOnce(&mut Inode),
        fail: impl FnOnce(&mut Inode, &mut Random),
    ) -> io::Result<()> {
        let mut state = self.disk.shared.state.lock();
        state.check_power()?;
        let fault = state.change();
        let State { inodes, random, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        if let Some(fault) = fault {
            fail(inode, random);
            return Err(fault.error());
        }
        apply(inode);
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.shared.state.lock();
        state.check_power()?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.shared.state.lock();
        state.check_power()?;
        state.read_bytes += into.len() as u64;
        let start = offset as usize;
        let bytes = state.inodes[self.inode]
            .bytes
            .get(start..start.saturating_add(into.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.concat();
        self.change(
            |inode| inode.write(&bytes, offset),
            |inode, random| {
                let written = random.below(bytes.len() as u64 + 1) as usize;
                inode.write(&bytes[..written], offset);
            },
        )
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.shared.state.lock();
        while state.is_stalled {
            self.disk.shared.resumed.wait(&mut state);
        }
        drop(state);
        self.change(Inode::sync, Inode::settle)
    }

    fn will_need(&self, _offset: u64, _len: u64) {}

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(
            |inode| {
                inode.bytes.truncate(len as usize);
                inode.unsynced.retain(|sector, _| sector * SECTOR < len);
            },
            |_, _| {},
        )
    }
}
