//! The files of a recording that consists of several files (`record --rotate`).
//!
//! `build.ttr` becomes `build.000001.ttr`, `build.000002.ttr` and so on. The directory is opened once; files are created and
//! removed in it, whatever happens to its path. A file is never replaced, and only one that this trace wrote is removed.

use super::metrics;
use crate::cli::{Record, Rotate};
use crate::command::messages::name;
use crate::command::output_file::{Watched, random_id};
use crate::recorder::Recorder;
use crate::recorder::RecordingFiles;
use anyhow::{Result, anyhow};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, renameat, statat, unlinkat};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::recording::file::{RecordingFile, is_being_written, lock};
use tracetui_events::recording::file_names::{DIGITS_MOST, FileNames};
use tracetui_events::text::grouped;
use tracetui_host::clock;
use tracetui_host::confine::{FileAccess, enter_files};
use tracetui_host::invoker::Invoker;

/// How many numbers to try for a new file. Another process may create files with these names.
const TRIES: u64 = 4096;

/// The lowest number that does not count as the number of an existing file. As many numbers follow it as can be tried.
const LAST: u64 = 10u64.pow(DIGITS_MOST as u32) - (1 << 32);

/// Starts a recording in several files. The next file begins when the current one has its size or its time. With `--resume`, the files
/// of earlier traces count as its own. Call it before privileges are dropped.
pub(super) fn start(path: &Path, rotate: Rotate, args: &Record) -> Result<Recorder> {
    let names = FileNames::of(path).ok_or_else(|| anyhow!("{}: not a file name", name(path)))?;
    let invoker = Invoker::of_environment()?;
    let metrics = args.metrics.clone().flatten();
    let (directory, other) = (PathBuf::from(&names.directory), metrics.clone());
    let id = random_id()?;
    let (group_read, resume) = (args.group_read, args.resume);
    let files = Series { names, rotate, id, metrics, group_read, resume, ..Series::default() };
    let prepare = move || {
        let directories: Vec<_> = [&*directory].into_iter().chain(other.as_deref()).collect();
        enter_files(invoker.as_ref(), FileAccess::Create(&directories))
    };
    let recorder = Recorder::start_files(files, name(path), prepare);
    recorder.map_err(|error| anyhow!("cannot write {}: {error}", name(path)))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Written {
    number: u64,
    identity: Identity,
}

/// The evidence that a file is the one this trace wrote, and that nobody has written to it since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl From<Stat> for Identity {
    fn from(stat: Stat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            changed: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }
    }
}

#[derive(Default)]
struct Series {
    /// The directory, opened as the user on the thread that writes.
    directory: Option<OwnedFd>,
    /// The directory of the metrics, if it is another one.
    metrics: Option<PathBuf>,
    /// Whether the group may read the files.
    group_read: bool,
    names: FileNames,
    rotate: Rotate,
    /// Whether files of earlier traces are still to be counted as its own.
    resume: bool,
    /// Bytes of those files.
    earlier: u64,
    /// The numbers of the files that exist when it starts.
    existing: Vec<u64>,
    /// Random bytes. They identify the trace in the headers, and give the files their ids.
    id: [u8; 16],
    /// The number of the next part.
    part: u32,
    /// The number in the name of the last file opened.
    number: u64,
    /// With its identity when it was created.
    opened: Option<Written>,
    /// The file before `opened`, until it is completely written.
    before: Option<Written>,
    /// Completely written files that were not removed, oldest first.
    ended: VecDeque<Written>,
    removed: u64,
    /// Bytes of files that this trace or another process removed, and of files that another process changed.
    gone: u64,
    /// Messages about old files that were not removed because they had been changed.
    kept_on: Vec<String>,
    /// Bytes of the largest file.
    largest: u64,
    /// Why the last metrics were not written.
    unwritten: Option<io::Error>,
}

impl Series {
    fn directory(&mut self) -> io::Result<&OwnedFd> {
        if self.directory.is_none() {
            let directory = open_directory(Path::new(&self.names.directory))?;
            // Numbers continue after the existing ones, so that names sort by time.
            self.existing = existing(&directory, &self.names);
            self.number = self.existing.last().copied().unwrap_or_default();
            self.directory = Some(directory);
        }
        self.directory.as_ref().ok_or_else(|| io::Error::other("no directory"))
    }

    fn create(&mut self) -> io::Result<File> {
        let names = self.names.clone();
        self.directory()?;
        let first = self.number.saturating_add(1);
        for number in first..first.saturating_add(TRIES) {
            let group = if self.group_read { Mode::RGRP } else { Mode::empty() };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(self.directory()?, names.file(number), flags, Mode::RUSR | Mode::WUSR | group) {
                Ok(file) => {
                    let stat = rustix::fs::fstat(&file)?;
                    self.number = number;
                    self.before = self.opened.replace(Written { number, identity: stat.into() });
                    if std::mem::take(&mut self.resume) {
                        let existing = std::mem::take(&mut self.existing);
                        let earlier = |number| earlier(self.directory.as_ref()?, &names, number, stat.st_uid);
                        self.ended = existing.into_iter().filter_map(earlier).collect();
                        self.earlier = self.ended.iter().map(|file| file.identity.size).sum();
                    }
                    return Ok(File::from(file));
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(rustix::io::Errno::NOENT) => {
                    let file = name(names.file(number));
                    return Err(io::Error::other(format!("cannot create {file}: the directory was removed")));
                }
                Err(error) => return Err(failed("cannot create", &names.file(number), error)),
            }
        }
        Err(io::Error::other(format!("{} and the next {} names are taken", name(names.file(first)), TRIES - 1)))
    }

    /// Removes the oldest files until at most `left` completely written ones remain.
    fn leave(&mut self, left: usize) -> io::Result<()> {
        while self.ended.len() > left {
            let Some(oldest) = self.ended.pop_front() else { break };
            let file = self.names.file(oldest.number);
            let directory = self.directory()?;
            match statat(directory, &file, AtFlags::SYMLINK_NOFOLLOW).map(Identity::from) {
                Ok(found) if found == oldest.identity => {
                    unlinkat(directory, &file, AtFlags::empty())
                        .map_err(|error| failed("cannot remove", &file, error))?;
                    self.removed += 1;
                }
                Err(rustix::io::Errno::NOENT) => {}
                Ok(_) => self.kept_on.push(format!("{}: not removed: changed since it was written", name(&file))),
                Err(error) => return Err(failed("cannot remove", &file, error)),
            }
            self.gone += oldest.identity.size;
        }
        Ok(())
    }

    /// Replaces NAME.prom at once, so that nobody reads a part of it.
    fn write_metrics(&mut self, text: &str) -> io::Result<()> {
        let (file, made) = (self.names.beside("prom"), self.names.beside("prom.new"));
        let other = self.metrics.as_deref().map(open_directory).transpose()?;
        let directory = match &other {
            Some(other) => other,
            None => self.directory()?,
        };
        // One that a killed recorder left.
        let _ = unlinkat(directory, &made, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        File::from(openat(directory, &made, flags, mode)?).write_all(text.as_bytes())?;
        Ok(renameat(directory, &made, directory, &file)?)
    }

    fn header(&mut self) -> FileHeader {
        let mut id = self.id;
        for (byte, part) in id.iter_mut().zip(self.part.to_le_bytes()) {
            *byte ^= part;
        }
        let mut run = [0; 8];
        run.copy_from_slice(&self.id[8..]);
        run[0] |= 1;
        let header = FileHeader::new(id, clock::now_real_ns()).part_of(run, self.part);
        self.part = self.part.saturating_add(1);
        header
    }
}

impl RecordingFiles for Series {
    type File = Watched;

    fn next(&mut self) -> io::Result<(Watched, FileHeader)> {
        let file = self.create()?;
        // Together with the new file and the one before it, this is the number of files to keep.
        if let Err(error) = self.leave(self.rotate.count.saturating_sub(2)) {
            // If this fails, the file remains.
            let _ = self.withdraw();
            return Err(error);
        }
        lock(&file);
        let header = self.header();
        Ok((Watched::new(file, name(self.names.file(self.number))), header))
    }

    fn size(&self) -> Option<u64> {
        Some(self.rotate.size.0)
    }

    fn time(&self) -> Option<Duration> {
        self.rotate.time
    }

    fn metrics(&mut self, text: &str) {
        let files = self.ended.len() as u64 + u64::from(self.opened.is_some());
        let text = format!("{text}{}", metrics::of_files(files, self.removed, self.number));
        self.unwritten = self.write_metrics(&text).err();
    }

    fn ended(&mut self, file: Watched) -> io::Result<()> {
        if let Some(before) = self.before.take() {
            let identity = Identity::from(rustix::fs::fstat(&file.file)?);
            self.largest = self.largest.max(identity.size);
            self.ended.push_back(Written { number: before.number, identity });
        }
        self.leave(self.rotate.count - 1)
    }

    fn withdraw(&mut self) -> io::Result<bool> {
        let opened = std::mem::replace(&mut self.opened, self.before.take());
        let (Some(opened), Some(directory)) = (opened, &self.directory) else { return Ok(false) };
        let file = self.names.file(opened.number);
        let found = Identity::from(statat(directory, &file, AtFlags::SYMLINK_NOFOLLOW)?);
        let same = (found.device, found.inode) == (opened.identity.device, opened.identity.inode);
        if same {
            unlinkat(directory, &file, AtFlags::empty())?;
        }
        Ok(same)
    }

    fn remarks(&self, written: u64) -> Vec<String> {
        let unwritten = self
            .unwritten
            .as_ref()
            .map(|error| format!("--metrics: cannot write {}: {error}", name(self.names.beside("prom"))));
        let last = self.opened.map(|opened| self.names.file(opened.number));
        let files = self.ended.len() as u64 + u64::from(last.is_some());
        let first = self.ended.front().map(|file| self.names.file(file.number));
        let bytes = grouped(written.saturating_add(self.earlier).saturating_sub(self.gone));
        let mut line = match (first, last) {
            (Some(first), Some(last)) => format!("{} to {}: {files} files, {bytes} bytes", name(first), name(last)),
            (None, Some(only)) | (Some(only), None) => format!("{}: {bytes} bytes", name(only)),
            (None, None) => return self.kept_on.clone(),
        };
        if self.removed > 0 {
            let them = if self.removed == 1 { "older one was" } else { "older ones were" };
            let (removed, written) = (grouped(self.removed), grouped(written));
            line.push_str(&format!("; {removed} {them} removed; {written} bytes were written in total"));
        }
        // Files are often larger by one block.
        let most = self.rotate.size.0.saturating_add(self.rotate.size.0 / 4);
        let larger = (self.largest > most).then(|| {
            let (largest, size) = (grouped(self.largest), self.rotate.size);
            format!("--rotate: files grow to {largest} bytes, not {size}: each starts and ends with the state of all processes")
        });
        self.kept_on.iter().cloned().chain([line]).chain(larger).chain(unwritten).collect()
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()) {
        // The user may not list the directory.
        Err(rustix::io::Errno::ACCESS) => rustix::fs::open(path, flags | OFlags::PATH, Mode::empty()),
        opened => opened,
    };
    opened.map_err(|error| failed("cannot open the directory", path.as_os_str(), error))
}

/// The numbers of the existing files, in order.
fn existing(directory: &OwnedFd, names: &FileNames) -> Vec<u64> {
    let Ok(entries) = Dir::read_from(directory) else { return Vec::new() };
    let numbers = entries.filter_map(Result::ok).filter_map(|entry| names.number(entry.file_name().to_bytes()));
    let mut numbers: Vec<_> = numbers.filter(|number| *number < LAST).collect();
    numbers.sort_unstable();
    numbers
}

/// The file with this number, if it is a recording that may be removed: a regular file of this user, which nobody writes.
fn earlier(directory: &OwnedFd, names: &FileNames, number: u64, owner: u32) -> Option<Written> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, names.file(number), flags, Mode::empty()).ok()?);
    let stat = rustix::fs::fstat(&file).ok()?;
    let ours = FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_uid == owner;
    let over = ours && !is_being_written(&file).ok()? && RecordingFile::open(file).is_ok();
    over.then(|| Written { number, identity: stat.into() })
}

fn failed(what: &str, file: &OsStr, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what} {}: {error}", name(file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Scratch;
    use std::fs;
    use std::os::unix::fs::symlink;
    use zerocopy::IntoBytes;

    fn series(dir: &Scratch, count: u32) -> Series {
        let names = FileNames::of(&dir.join("a.ttr")).expect("a name");
        let rotate = format!("64KiB,{count}").parse().expect("good usage");
        Series { names, rotate, id: [7; 16], ..Series::default() }
    }

    /// Opens files one after another, as a recording does.
    fn go_on(series: &mut Series, current: &mut Option<Watched>) -> io::Result<FileHeader> {
        let (mut file, header) = series.next()?;
        file.write_all(b"frames")?;
        if let Some(before) = current.replace(file) {
            series.ended(before)?;
        }
        Ok(header)
    }

    #[test]
    fn numbers_go_on_after_those_that_are_there() {
        let dir = Scratch::new("rotate-numbers");
        fs::write(dir.join("a.000041.ttr"), "other").expect("room");
        fs::write(dir.join("target"), "precious").expect("room");
        symlink("target", dir.join("a.000043.ttr")).expect("room");
        let (mut series, mut current) = (series(&dir, 1), None);
        (0..3).for_each(|_| assert!(go_on(&mut series, &mut current).is_ok()));
        assert_eq!(dir.files(), ["a.000041.ttr", "a.000043.ttr", "a.000046.ttr", "target"]);
        // A file and a link that come to be in the place of the next files.
        fs::write(dir.join("a.000047.ttr"), "other").expect("room");
        symlink("target", dir.join("a.000048.ttr")).expect("room");
        go_on(&mut series, &mut current).expect("room");
        assert!(dir.files().contains(&"a.000049.ttr".to_owned()));
        assert_eq!(fs::read(dir.join("a.000047.ttr")).expect("there"), b"other");
        assert_eq!(fs::read(dir.join("target")).expect("there"), b"precious");
        // Names that another process takes in advance do not end it.
        let dir = Scratch::new("rotate-taken");
        let (mut series, mut current) = (self::series(&dir, 1), None);
        // It leaves no numbers after it.
        fs::write(dir.join(format!("a.{}.ttr", "9".repeat(DIGITS_MOST))), "other").expect("room");
        for _ in 0..3 {
            go_on(&mut series, &mut current).expect("a name");
            let after = series.number;
            for number in after + 1..=after + 200 {
                fs::write(dir.join(series.names.file(number)), "other").expect("room");
            }
            go_on(&mut series, &mut current).expect("a name that is not taken");
            assert!(series.number > after + 200);
        }
        assert!(series.number < LAST, "{}", series.number);
        assert_eq!(dir.files().len() - 1, 601, "none of them was removed");
    }

    #[test]
    fn files_of_earlier_traces_count_if_they_are_recordings_and_metrics_are_replaced() {
        let dir = Scratch::new("rotate-resumed");
        let recording = FileHeader::new([9; 16], 7);
        let path = |number: u32| dir.join(format!("a.{number:06}.ttr"));
        for number in [2, 3, 5, 6] {
            fs::write(path(number), recording.as_bytes()).expect("room");
        }
        fs::write(path(1), "something else").expect("room");
        symlink("a.000002.ttr", path(4)).expect("room");
        // Another recorder writes this one.
        let other = File::options().write(true).open(path(6)).expect("there");
        assert!(lock(&other));
        let mut series = Series { resume: true, ..series(&dir, 3) };
        let mut current = None;
        go_on(&mut series, &mut current).expect("room");
        assert_eq!(dir.files(), [1, 4, 5, 6, 7].map(|number| format!("a.{number:06}.ttr")));
        go_on(&mut series, &mut current).expect("room");
        go_on(&mut series, &mut current).expect("room");
        assert_eq!(dir.files(), [1, 4, 6, 7, 8, 9].map(|number| format!("a.{number:06}.ttr")));
        assert_eq!(series.removed, 3);
        let said = series.remarks(30);
        let sizes = "3 files, 30 bytes; 3 older ones were removed; 30 bytes were written in total";
        assert_eq!(said, [format!("a.000007.ttr to a.000009.ttr: {sizes}")]);
        // Metrics are replaced as a whole.
        let dir = Scratch::new("rotate-metrics");
        let mut series = Series { metrics: Some(dir.to_path_buf()), ..self::series(&dir, 3) };
        let mut current = None;
        go_on(&mut series, &mut current).expect("room");
        fs::write(dir.join("target"), "precious").expect("room");
        symlink("target", dir.join("a.prom")).expect("room");
        symlink("target", dir.join("a.prom.new")).expect("room");
        for _ in 0..2 {
            series.metrics("x 1\n");
            let text = fs::read_to_string(dir.join("a.prom")).expect("there");
            assert!(text.starts_with("x 1\n") && text.contains("\ntracetui_files 1\n"), "{text}");
        }
        assert_eq!(dir.files(), ["a.000001.ttr", "a.prom", "target"]);
        assert_eq!(fs::read(dir.join("target")).expect("there"), b"precious");
        fs::remove_file(dir.join("a.prom")).expect("ours");
        fs::create_dir(dir.join("a.prom")).expect("room");
        series.metrics("x 1\n");
        let said = series.remarks(1000);
        assert!(said[1].starts_with("--metrics: cannot write a.prom: "), "{said:?}");
    }

    #[test]
    fn a_file_that_another_process_changed_is_not_removed() {
        let dir = Scratch::new("rotate-changed");
        let (mut series, mut current) = (series(&dir, 2), None);
        (0..2).for_each(|_| assert!(go_on(&mut series, &mut current).is_ok()));
        let first = dir.join("a.000001.ttr");
        fs::remove_file(&first).expect("there");
        fs::write(&first, "something else").expect("room");
        (0..2).for_each(|_| assert!(go_on(&mut series, &mut current).is_ok()));
        assert_eq!(dir.files(), ["a.000001.ttr", "a.000003.ttr", "a.000004.ttr"]);
        let said = series.remarks(1000);
        assert!(said[0].contains("a.000001.ttr: not removed"), "{said:?}");
        let sizes = "2 files, 988 bytes; 1 older one was removed; 1,000 bytes were written in total";
        assert_eq!(said[1], format!("a.000003.ttr to a.000004.ttr: {sizes}"));
        // One that was removed already is no error.
        fs::remove_file(dir.join("a.000003.ttr")).expect("there");
        go_on(&mut series, &mut current).expect("room");
        assert_eq!(dir.files(), ["a.000001.ttr", "a.000004.ttr", "a.000005.ttr"]);
        // In a directory that was removed there is no next file.
        let dir = Scratch::new("rotate-removed");
        let (mut series, mut current) = (self::series(&dir, 1), None);
        go_on(&mut series, &mut current).expect("room");
        fs::remove_dir_all(&*dir).expect("ours");
        let error = go_on(&mut series, &mut current).expect_err("no directory").to_string();
        assert_eq!(error, "cannot create a.000002.ttr: the directory was removed");
        // A file that cannot be begun is withdrawn.
        let dir = Scratch::new("rotate-withdrawn");
        let (mut series, mut current) = (self::series(&dir, 3), None);
        (0..2).for_each(|_| assert!(go_on(&mut series, &mut current).is_ok()));
        series.next().expect("room");
        assert!(series.withdraw().expect("ours"));
        assert_eq!(dir.files(), ["a.000001.ttr", "a.000002.ttr"]);
        assert_eq!(series.remarks(1000), ["a.000001.ttr to a.000002.ttr: 2 files, 1,000 bytes"]);
    }
}
