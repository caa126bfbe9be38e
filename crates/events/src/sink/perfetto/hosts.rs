//! Tracks of a host beside those of its processes: lost events, and counters of what its processes used.

use super::proto::{message, number, text};
use super::{Mark, Writer, id, packet, uuid};
use tracetui_shared::record::exit::Cost;

#[derive(Clone, Copy, Debug)]
pub(super) struct HostTrack {
    number: u64,
    name: &'static str,
    /// `CounterDescriptor.Unit`; `None`: no counter.
    unit: Option<u64>,
}

pub(super) const LOST: HostTrack = HostTrack { number: 0, name: "lost events", unit: None };
const CPU: HostTrack = HostTrack { number: 1, name: "CPU time of ended processes", unit: Some(id::counter::TIME_NS) };
const MEMORY: HostTrack =
    HostTrack { number: 2, name: "peak memory of ended processes", unit: Some(id::counter::SIZE_BYTES) };

impl Writer<'_> {
    /// The id of the track, described at its first use in the file.
    pub(super) fn host_track(&mut self, HostTrack { number: of, name, unit }: HostTrack) -> u64 {
        let current = self.file.current;
        let Some(host) = self.file.hosts.get_mut(current) else { return 1 };
        let uuid = uuid(&host.boot_id, &host.name, 0, of);
        if host.tracks.contains(&uuid) {
            return uuid;
        }
        host.tracks.push(uuid);
        let name = format!("{name} ({})", host.name);
        packet(current, self.out, |out| {
            message(id::packet::TRACK_DESCRIPTOR, out, |track| {
                number(id::track::UUID, uuid, track);
                text(id::track::NAME, &name, track);
                if let Some(unit) = unit {
                    message(id::track::COUNTER, track, |counter| number(id::counter::UNIT, unit, counter));
                }
            });
        });
        uuid
    }

    pub(super) fn costs(&mut self, cost: &Cost) {
        let Some(host) = self.file.hosts.get_mut(self.file.current) else { return };
        host.cpu = host.cpu.saturating_add(cost.runtime);
        for (counter, value) in [(CPU, host.cpu), (MEMORY, cost.max_rss)] {
            let track = self.host_track(counter);
            let value = value.min(i64::MAX as u64);
            self.track_event(track, self.clock.now, Mark::Counter, None, |this| {
                this.plain(id::event::COUNTER_VALUE, value)
            });
        }
    }
}
