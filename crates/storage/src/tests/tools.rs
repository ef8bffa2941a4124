//! What tells people about a log.

use super::Stepped;
use super::pages::{closed_log, options};
use crate::check::check;
use crate::disk::Disk;
use crate::dump::dump;
use crate::error::OpenError;
use crate::format::FILE_HEADER;

#[test]
fn whole_log_is_whole() {
    let (disk, state) = closed_log();
    let changes = disk.changes();
    let checked = check(&disk, &mut |loss| panic!("{loss}")).unwrap();
    assert_eq!(checked.damaged, 0);
    assert_eq!(checked.pages, state.pages.len() as u64);
    assert_eq!((checked.records, checked.segments), (10, 1));
    assert_eq!(disk.changes(), changes, "it changes nothing");
}

/// Whatever keeps a log from opening or a page from being read is reported, and what is reported is in that file.
#[test]
fn every_flip_is_reported_or_of_no_matter() {
    let (disk, state) = closed_log();
    let names = disk.list().unwrap();
    for name in names.iter().filter(|name| !name.ends_with(".spare")) {
        let len = disk.contents(name).unwrap().len();
        for offset in (0..64).chain((FILE_HEADER as usize - 8..len).step_by(11)) {
            let flipped = disk.duplicate();
            flipped.flip(name, offset, (offset % 8) as u8);
            let mut reported = 0;
            let checked = check(&flipped, &mut |loss| {
                // The first is the cause of the others.
                let is_before = loss.offset <= offset as u64 + 4 && loss.file == *name;
                assert!(is_before || reported > 0, "{loss}");
                reported += 1;
            });
            let opened = Stepped::open_unread(&flipped, &options());
            let is_whole = opened.is_ok_and(|(stepped, mut found)| {
                found.read_pages(&stepped.log).is_ok() && found == state
            });
            match checked {
                Ok(checked) => assert_eq!(checked.damaged, reported),
                Err(OpenError::NewerFormat { .. }) => reported = 1,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(is_whole, reported == 0, "{name} at {offset}");
        }
    }
}

#[test]
fn log_in_use_is_left_alone() {
    let (disk, _) = closed_log();
    let _open = Stepped::open(&disk, &options()).unwrap();
    assert!(matches!(
        check(&disk, &mut |_| {}),
        Err(OpenError::InUse { .. })
    ));
    assert!(matches!(
        dump(&disk, &mut |_| {}),
        Err(OpenError::InUse { .. })
    ));
}

#[test]
fn dump_tells_it_all() {
    let (disk, _) = closed_log();
    let mut text = String::new();
    dump(&disk, &mut |line| text.push_str(&format!("{line}\n"))).unwrap();
    for expected in [
        "00000001.log: from frame 1\n4096: frame 1, durable 0, oldest file 1\n  put 1 of 1, 300 bytes\n",
        "  put 9 of 1 2, 300 bytes\n",
        "  mark 2 of 1 with 3\n",
        "  page 0 of 1, 6 records from 1 to 6, 6 own, 0 shared, ",
        "  relocated 9, 300 bytes at 00000001.seg ",
        "  unpage 1 of 1\n  placed 7 of 1, 300 bytes at 00000001.seg ",
        "  close\n",
        "\npage 0 of 1, ",
        "  record 2, mark 3, note 20, 300 bytes\n",
        "  shared record 9, note 90\n",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    disk.flip("00000001.log", 4096 + 500, 1);
    dump(&disk, &mut |line| text.push_str(&format!("{line}\n"))).unwrap();
    assert!(text.contains(": not valid up to "), "{text}");
}
