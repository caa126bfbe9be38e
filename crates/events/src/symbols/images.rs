//! The executable images that come and go one by one: BPF programs, their trampolines, out-of-line text.

use super::{CodeImage, ImageKind};
use crate::limits::{IMAGE_GAPS, IMAGE_LENGTH, IMAGES_BYTES};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use tracetui_shared::time::BootNanos;

/// The images by address and time. Memory is limited: the image that was unloaded first is dropped first.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// By number of page: the addresses of images that reach into it, sorted.
    pages: FxHashMap<u64, Vec<u64>>,
    /// By address of the image.
    places: FxHashMap<u64, Place>,
    /// The images that were unloaded, in that order: address and `from`.
    closed: VecDeque<(u64, BootNanos)>,
    bytes: usize,
    /// Images of this time and before may be missing.
    forgotten: Option<BootNanos>,
    /// Times in which records were lost: from, to. An open gap has no end yet.
    gaps: VecDeque<(BootNanos, BootNanos)>,
    /// The end of the last list; 0 before the first.
    listed: BootNanos,
}

/// The successive images at one address.
#[derive(Debug, Default)]
struct Place {
    periods: VecDeque<Period>,
    /// The number of pages after the first that are in `pages`.
    more_pages: u64,
}

/// An image, from its load to its unload.
#[derive(Debug)]
pub(super) struct Period {
    pub(super) kind: ImageKind,
    pub(super) name: Box<[u8]>,
    length: u32,
    /// 0: before the first list.
    pub(super) from: BootNanos,
    /// [`OPEN`] while it is loaded.
    pub(super) to: BootNanos,
    /// The end of the list that it was found in; 0 if its load was reported.
    listed: BootNanos,
}

const OPEN: BootNanos = BootNanos(u64::MAX);
const PAGE: u64 = 4096;

/// Bytes of a period besides its name: in its place and in the order of unloads.
const PERIOD: usize = size_of::<Period>() + size_of::<(u64, BootNanos)>() + 16;

/// Bytes of an entry of a page, and its part of an address.
const PAGE_ENTRY: usize = 96;

impl Period {
    fn new(image: CodeImage, length: u32, from: BootNanos, to: BootNanos) -> Period {
        Period { kind: image.kind, name: image.name, length, from, to, listed: BootNanos(0) }
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.length)
    }

    fn holds(&self, at: BootNanos) -> bool {
        self.from <= at && at < self.to
    }
}

/// Why no image is known at an address.
pub(super) enum Missing {
    None,
    /// Records of this time were lost.
    Lost,
    /// It may have been dropped.
    Forgotten,
}

impl Images {
    /// The image that contained the address, and its start.
    pub(super) fn find(&self, address: u64, at: BootNanos) -> Result<(u64, &Period), Missing> {
        if self.gaps.iter().any(|(from, to)| *from <= at && at < *to) {
            return Err(Missing::Lost);
        }
        let starts = self.pages.get(&(address / PAGE)).map_or(&[][..], Vec::as_slice);
        let below = &starts[..starts.partition_point(|start| *start <= address)];
        let found = below.iter().rev().find_map(|start| {
            let periods = &self.places.get(start)?.periods;
            let period = periods.get(periods.partition_point(|period| period.from <= at).checked_sub(1)?)?;
            (period.holds(at) && address - start < period.length()).then_some((*start, period))
        });
        found.ok_or(if self.forgotten.is_some_and(|time| at <= time) { Missing::Forgotten } else { Missing::None })
    }

    pub(super) fn load(&mut self, at: BootNanos, image: CodeImage) {
        let start = image.address.0;
        let length = image.length.clamp(1, IMAGE_LENGTH);
        let last = self.places.get_mut(&start).and_then(|place| place.periods.back_mut());
        if let Some(last) = last.filter(|last| last.to == OPEN && last.name == image.name) {
            // The image is known from a list, which has neither times nor lengths.
            if at <= last.listed {
                (last.from, last.listed) = (at, BootNanos(0));
            }
            last.length = length;
            return self.reach(start, length);
        }
        let (mut to, mut closed) = (OPEN, Vec::new());
        self.each_last(start, length, |other_start, other| {
            if other.from > at {
                to = to.min(other.from);
            } else if other.to == OPEN && at <= other.listed {
                // The image was listed after this load, so it came later. Its own report will give the exact time.
                other.from = other.listed;
                to = to.min(other.listed);
            } else if other.to > at {
                // Its unload was not reported.
                if other.to == OPEN {
                    closed.push((other_start, other.from));
                }
                other.to = at;
            }
        });
        self.closed.extend(closed);
        self.insert(start, Period::new(image, length, at, to));
    }

    /// Records the unload of an image. If nothing is known about its address, the image was there before.
    pub(super) fn unload(&mut self, at: BootNanos, image: CodeImage) {
        let start = image.address.0;
        if let Some(place) = self.places.get_mut(&start) {
            let found = place.periods.iter_mut().rev().find(|period| period.name == image.name && period.from <= at);
            if let Some(period) = found.filter(|period| period.to > at) {
                if period.to == OPEN {
                    self.closed.push_back((start, period.from));
                }
                period.to = at;
            }
            return;
        }
        let length = image.length.clamp(1, IMAGE_LENGTH);
        let mut from = self.gaps.back().map_or(BootNanos(0), |(_, to)| *to);
        self.each_last(start, length, |_, other| {
            if other.to == OPEN && at <= other.listed {
                other.from = other.listed;
            } else {
                from = from.max(other.to);
            }
        });
        self.insert(start, Period::new(image, length, from, at));
    }

    /// Records a loss of records. The images are unknown from this time to the next list.
    pub(super) fn lose(&mut self, since: BootNanos) {
        match self.gaps.back_mut() {
            Some((from, to)) if *to == OPEN => *from = (*from).min(since),
            _ => self.gaps.push_back((since, OPEN)),
        }
        if self.gaps.len() > IMAGE_GAPS
            && let Some((from, _)) = self.gaps.pop_front()
        {
            // The first two become one.
            self.gaps[0].0 = from;
        }
    }

    /// Applies a list of all images that was made between two times. It counts only if it is the first, or follows a loss.
    /// Otherwise the reports are complete and newer.
    pub(super) fn list(&mut self, began: BootNanos, ended: BootNanos, images: Vec<CodeImage>) {
        let first = self.listed == BootNanos(0);
        let lost = self.gaps.back().filter(|(_, to)| *to == OPEN).map(|(from, _)| *from);
        self.listed = ended;
        if !first && lost.is_none() {
            return;
        }
        let since = lost.unwrap_or_default();
        if let Some(gap) = self.gaps.back_mut().filter(|(_, to)| *to == OPEN) {
            gap.1 = began;
        }
        if !first {
            self.close_missing(since, &images);
        }
        for image in images {
            self.add_listed(since, began, ended, first, image);
        }
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of images in memory, loaded or not.
    pub(super) fn len(&self) -> usize {
        self.places.values().map(|place| place.periods.len()).sum()
    }

    /// Ends the loaded images that are missing in a list after a loss.
    fn close_missing(&mut self, since: BootNanos, images: &[CodeImage]) {
        let listed: std::collections::HashSet<(u64, &[u8])> =
            images.iter().map(|image| (image.address.0, &*image.name)).collect();
        let closed = &mut self.closed;
        for (start, place) in &mut self.places {
            let Some(last) = place.periods.back_mut().filter(|last| last.to == OPEN) else { continue };
            if last.from < since && !listed.contains(&(*start, &*last.name)) {
                last.to = since;
                closed.push_back((*start, last.from));
            }
        }
    }

    fn add_listed(&mut self, since: BootNanos, began: BootNanos, ended: BootNanos, first: bool, image: CodeImage) {
        let start = image.address.0;
        let length = image.length.clamp(1, IMAGE_LENGTH);
        let mut from = if first { BootNanos(0) } else { began };
        let mut known = false;
        self.each_last(start, length, |other_start, other| {
            // The report of a load or an unload is newer than the list.
            known |= other.to == OPEN || other_start == start && other.name == image.name && other.to >= since;
            from = from.max(other.to);
        });
        if !known {
            self.insert(start, Period { listed: ended, ..Period::new(image, length, from, OPEN) });
        }
    }

    /// The last image at each address whose image overlaps a range.
    fn each_last(&mut self, start: u64, length: u32, mut each: impl FnMut(u64, &mut Period)) {
        let end = start.saturating_add(u64::from(length));
        let mut done = None;
        for page in start / PAGE..=(end - 1) / PAGE {
            for other_start in self.pages.get(&page).map_or(&[][..], Vec::as_slice) {
                // An image of several pages occurs in each of them.
                if *other_start >= end || done.is_some_and(|done| *other_start <= done) {
                    continue;
                }
                done = Some(*other_start);
                let last = self.places.get_mut(other_start).and_then(|place| place.periods.back_mut());
                if let Some(last) = last.filter(|last| other_start.saturating_add(last.length()) > start) {
                    each(*other_start, last);
                }
            }
        }
    }

    fn insert(&mut self, start: u64, period: Period) {
        let (from, length) = (period.from, period.length);
        if period.to <= from {
            return;
        }
        if period.to != OPEN {
            self.closed.push_back((start, from));
        }
        self.bytes += PERIOD + period.name.len();
        let periods = &mut self.places.entry(start).or_default().periods;
        periods.insert(periods.partition_point(|other| other.from <= from), period);
        self.reach(start, length);
        while self.bytes > IMAGES_BYTES {
            match self.closed.pop_front() {
                Some((start, from)) => self.forget(start, from),
                // All of them are loaded, so the new one is not kept.
                None => {
                    self.forget(start, from);
                    break;
                }
            }
        }
    }

    /// Adds an image to the pages that it reaches into.
    fn reach(&mut self, start: u64, length: u32) {
        let Some(place) = self.places.get_mut(&start) else { return };
        let first = start / PAGE;
        let more = (start.saturating_add(u64::from(length) - 1) / PAGE - first).max(place.more_pages);
        // The first page is entered with the first image, further ones when an image is longer.
        let entered = if self.pages.get(&first).is_some_and(|starts| starts.binary_search(&start).is_ok()) {
            place.more_pages + 1
        } else {
            0
        };
        place.more_pages = more;
        for page in first + entered..=first + more {
            let starts = self.pages.entry(page).or_default();
            starts.insert(starts.partition_point(|other| *other < start), start);
            self.bytes += PAGE_ENTRY;
        }
    }

    fn forget(&mut self, start: u64, from: BootNanos) {
        let Some(place) = self.places.get_mut(&start) else { return };
        let Ok(index) = place.periods.binary_search_by_key(&from, |period| period.from) else { return };
        let Some(period) = place.periods.remove(index) else { return };
        self.bytes -= PERIOD + period.name.len();
        self.forgotten = self.forgotten.max(Some(period.to));
        if !place.periods.is_empty() {
            return;
        }
        for page in start / PAGE..=start / PAGE + place.more_pages {
            if let Some(starts) = self.pages.get_mut(&page) {
                starts.retain(|other| *other != start);
                self.bytes -= PAGE_ENTRY;
                if starts.is_empty() {
                    self.pages.remove(&page);
                }
            }
        }
        self.places.remove(&start);
    }
}
