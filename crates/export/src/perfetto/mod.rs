//! Events as a [Perfetto trace](https://perfetto.dev/docs/reference/synthetic-track-event): a sequence of
//! [`TracePacket`](https://perfetto.dev/docs/reference/trace-packet-proto) messages. `docs/EXPORT.md` describes the tracks.

mod id;
mod interned;
mod proto;
#[cfg(test)]
mod tests;

use interned::{Interned, iid, intern};
use proto::{bytes, message, number, text};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use tracetui_events::event::EventContext;
use tracetui_events::event::describe::{self, Field, Value, args, props};
use tracetui_events::frame::host::Host;
use tracetui_events::limits;
use tracetui_events::sink::Sink;
use tracetui_events::text::json::hex;
use tracetui_shared::id::Tgid;
use tracetui_shared::time::BootNanos;

/// `TrackEvent.Type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Begin = 1,
    End = 2,
    Instant = 3,
}

pub struct Perfetto<'w> {
    out: Box<dyn Write + 'w>,
    /// Waiting bytes.
    buffer: Vec<u8>,
    /// `None` before the first event.
    file: Option<File>,
    packet: Packet,
}

/// The host, and the definitions in the file.
struct File {
    host: Host,
    /// The latest CLOCK_REALTIME − CLOCK_BOOTTIME.
    offset: i64,
    /// The time of the first event.
    start: u64,
    /// Whether the track of lost events is described.
    has_lost: bool,
    tracks: HashMap<(Tgid, BootNanos), Track>,
    /// The number of tracks below processes.
    spans: u64,
    /// Bytes of interned names and values.
    interned: usize,
    texts: Interned,
}

/// The track of a process, and the open slices on it.
#[derive(Clone, Copy, Debug)]
struct Track {
    uuid: u64,
    life: bool,
    program: bool,
}

/// Buffers of the packet under construction.
#[derive(Default)]
struct Packet {
    event: Vec<u8>,
    /// `InternedData`: the definitions of the event.
    defines: Vec<u8>,
    name: Vec<u8>,
}

impl<'w> Perfetto<'w> {
    /// Writes to `out`, which needs no buffer.
    pub fn new(out: Box<dyn Write + 'w>) -> Perfetto<'w> {
        let (buffer, packet) = Default::default();
        Perfetto { out, buffer, file: None, packet }
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.buffer.shrink_to(limits::SCRATCH);
        Ok(())
    }
}

/// The latest time that readers take.
fn readable(time: BootNanos) -> u64 {
    time.0.min(i64::MAX as u64)
}

/// Appends a packet with the time on both clocks.
fn snapshot(boot: u64, offset: i64, out: &mut Vec<u8>) {
    let real = u64::try_from(i128::from(boot) + i128::from(offset)).unwrap_or_default();
    message(id::TRACE_PACKET, out, |packet| {
        number(id::packet::TRUSTED_PACKET_SEQUENCE_ID, 1, packet);
        message(id::packet::CLOCK_SNAPSHOT, packet, |snapshot| {
            for (clock, ns) in [(id::clock::BOOTTIME, boot), (id::clock::REALTIME, real)] {
                message(id::clock::CLOCKS, snapshot, |out| {
                    number(id::clock::CLOCK_ID, clock, out);
                    number(id::clock::TIMESTAMP, ns, out);
                });
            }
        });
    });
}

impl Sink for Perfetto<'_> {
    fn event(&mut self, seen: &EventContext<'_>) -> io::Result<()> {
        let Perfetto { file, packet, buffer, .. } = self;
        let (host, offset, now) = (seen.world.host(), seen.clock_offset, readable(seen.event.header.time));
        if file.as_ref().is_none_or(|file| file.offset != offset) {
            snapshot(now, offset, buffer);
        }
        let file = file.get_or_insert_with(|| File::new(host.clone(), now, buffer));
        file.offset = offset;
        if file.host.boot_id != host.boot_id {
            return Err(io::Error::other("a Perfetto trace is of one host and boot: export each recording alone"));
        }
        if file.tracks.len() >= limits::PERFETTO_PROCESSES {
            let text = "the trace has too many processes for one file: select a part by --from and --to";
            return Err(io::Error::other(text));
        }
        Writer { file, packet, out: buffer, now }.event(seen);
        if self.buffer.len() >= tracetui_events::sink::FULL { self.write() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write()?;
        self.out.flush()
    }
}

impl File {
    /// Begins the sequence with a packet that clears its state.
    fn new(host: Host, start: u64, out: &mut Vec<u8>) -> File {
        packet(out, |out| {
            number(id::packet::SEQUENCE_FLAGS, id::flags::INCREMENTAL_STATE_CLEARED, out);
            number(id::packet::FIRST_PACKET_ON_SEQUENCE, 1, out);
            message(id::packet::SYSTEM_INFO, out, |info| {
                message(id::system::UTSNAME, info, |name| {
                    text(id::system::SYSNAME, "Linux", name);
                    text(id::system::RELEASE, &host.kernel, name);
                    text(id::system::MACHINE, &host.arch, name);
                });
            });
        });
        let (has_lost, tracks, spans, interned, texts) = Default::default();
        File { host, offset: 0, start, has_lost, tracks, spans, interned, texts }
    }

    fn uuid(&self, pid: u32, start: u64) -> u64 {
        uuid(&self.host.boot_id, &self.host.name, pid, start)
    }
}

struct Writer<'p> {
    file: &'p mut File,
    packet: &'p mut Packet,
    out: &'p mut Vec<u8>,
    now: u64,
}

impl Writer<'_> {
    fn event(&mut self, seen: &EventContext<'_>) {
        if seen.process.is_none() {
            let track = self.lost_track();
            return self.write_titled(track, self.now, Mark::Instant, seen);
        }
        let header = &seen.event.header;
        let key = (header.tgid, header.start);
        let known = self.file.tracks.get(&key).copied();
        let mut track = known.unwrap_or_else(|| self.describe(seen));
        if let Some(exec) = seen.event.body.started() {
            if std::mem::replace(&mut track.program, true) {
                self.end(track.uuid);
            }
            let argv = joined(exec.argv);
            self.slice(track.uuid, self.now, "program", &argv, seen, props::PROGRAM);
        }
        match seen.event.body.began() {
            Some(began) => self.span(track.uuid, began, seen),
            None => self.write_titled(track.uuid, self.now, Mark::Instant, seen),
        }
        if seen.event.body.exit().is_some() {
            for open in [&mut track.program, &mut track.life] {
                if std::mem::take(open) {
                    self.end(track.uuid);
                }
            }
        }
        self.file.tracks.insert(key, track);
    }

    /// The id of the track of lost events, described at its first use.
    fn lost_track(&mut self) -> u64 {
        let uuid = self.file.uuid(0, 0);
        if !std::mem::replace(&mut self.file.has_lost, true) {
            let name = format!("lost events ({})", self.file.host.name);
            packet(self.out, |out| {
                message(id::packet::TRACK_DESCRIPTOR, out, |track| {
                    number(id::track::UUID, uuid, track);
                    text(id::track::NAME, &name, track);
                });
            });
        }
        uuid
    }

    /// Describes the track of a process, and begins its slices.
    fn describe(&mut self, seen: &EventContext<'_>) -> Track {
        let header = &seen.event.header;
        let uuid = self.file.uuid(header.tgid.0, header.start.0);
        let name = String::from_utf8_lossy(header.comm());
        let start = readable(header.start);
        let argv = seen.process.map_or(&[][..], |process| &process.image.argv);
        let from = start.max(self.file.start).min(self.now);
        packet(self.out, |out| {
            // A reused process id is a new process from this time on.
            number(id::packet::TIMESTAMP, from, out);
            message(id::packet::TRACK_DESCRIPTOR, out, |track| {
                number(id::track::UUID, uuid, track);
                message(id::track::PROCESS, track, |process| {
                    number(id::track::PID, header.tgid.0.into(), process);
                    for arg in args(argv).take(limits::PERFETTO_CMDLINE) {
                        text(id::track::CMDLINE, &String::from_utf8_lossy(arg), process);
                    }
                    text(id::track::PROCESS_NAME, &name, process);
                    number(id::track::START_TIMESTAMP_NS, start, process);
                });
            });
        });
        self.slice(uuid, from, "process", &name, seen, props::LIFE);
        let program = seen.event.body.started().is_none() && !argv.is_empty();
        if program {
            self.slice(uuid, from, "program", &joined(argv), seen, 0);
        }
        Track { uuid, life: true, program }
    }

    fn slice(
        &mut self,
        track: u64,
        time: u64,
        category: &'static str,
        name: &str,
        seen: &EventContext<'_>,
        props: u16,
    ) {
        self.track_event(track, time, Mark::Begin, Some((category, name)), |this| {
            for field in describe::fields(seen.event.kind()).filter(|field| field.has(props)) {
                this.field(field, seen, id::event::DEBUG_ANNOTATIONS);
            }
            if category == "process" {
                let host = seen.world.host();
                this.argument("host", id::event::DEBUG_ANNOTATIONS, |this| this.string(host.name.as_bytes()));
                if let Some(user) = seen.user(seen.event.header.uid) {
                    this.argument("user", id::event::DEBUG_ANNOTATIONS, |this| this.string(user.as_bytes()));
                }
            }
        });
    }

    /// Writes a slice that ends now, on a track of its own.
    fn span(&mut self, parent: u64, began: BootNanos, seen: &EventContext<'_>) {
        self.file.spans += 1;
        let uuid = self.file.uuid(u32::MAX, self.file.spans);
        let kind = seen.event.kind().name();
        packet(self.out, |out| {
            message(id::packet::TRACK_DESCRIPTOR, out, |track| {
                number(id::track::UUID, uuid, track);
                number(id::track::PARENT_UUID, parent, track);
                text(id::track::NAME, kind, track);
            });
        });
        let from = readable(began).max(self.file.start).min(self.now);
        self.write_titled(uuid, from, Mark::Begin, seen);
        self.end(uuid);
    }

    fn end(&mut self, track: u64) {
        self.track_event(track, self.now, Mark::End, None, |_| {});
    }

    /// Writes an event with its title and its fields.
    fn write_titled(&mut self, track: u64, time: u64, mark: Mark, seen: &EventContext<'_>) {
        let kind = seen.event.kind();
        let mut name = std::mem::take(&mut self.packet.name);
        name.clear();
        seen.title(&mut name);
        let text = String::from_utf8_lossy(&name);
        self.track_event(track, time, mark, Some((kind.name(), &text)), |this| {
            for field in describe::fields(kind).filter(|field| !field.has(props::TRACK)) {
                this.field(field, seen, id::event::DEBUG_ANNOTATIONS);
            }
        });
        name.shrink_to(limits::SCRATCH);
        self.packet.name = name;
    }

    fn track_event(
        &mut self,
        track: u64,
        time: u64,
        mark: Mark,
        what: Option<(&'static str, &str)>,
        arguments: impl FnOnce(&mut Self),
    ) {
        self.packet.event.clear();
        self.packet.defines.clear();
        number(id::event::TYPE, mark as u64, &mut self.packet.event);
        number(id::event::TRACK_UUID, track, &mut self.packet.event);
        if let Some((category, name)) = what {
            self.category(category);
            self.name(name);
        }
        arguments(self);
        let Packet { event, defines, .. } = &mut *self.packet;
        packet(self.out, |out| {
            number(id::packet::TIMESTAMP, time, out);
            number(id::packet::SEQUENCE_FLAGS, id::flags::NEEDS_INCREMENTAL_STATE, out);
            if !defines.is_empty() {
                bytes(id::packet::INTERNED_DATA, defines, out);
            }
            bytes(id::packet::TRACK_EVENT, event, out);
        });
        event.shrink_to(limits::SCRATCH);
        defines.shrink_to(limits::SCRATCH);
    }

    fn category(&mut self, name: &str) {
        let defines = &mut self.packet.defines;
        let iid = iid(&mut self.file.texts.categories, id::interned::EVENT_CATEGORIES, name, defines);
        number(id::event::CATEGORY_IIDS, iid, &mut self.packet.event);
    }

    fn name(&mut self, name: &str) {
        let name = name.get(..name.floor_char_boundary(limits::PERFETTO_NAME)).unwrap_or_default();
        let File { texts, interned, .. } = &mut *self.file;
        match intern(&mut texts.names, interned, id::interned::EVENT_NAMES, name, &mut self.packet.defines) {
            Some(iid) => number(id::event::NAME_IID, iid, &mut self.packet.event),
            None => text(id::event::NAME, name, &mut self.packet.event),
        }
    }

    /// Adds a field to `list` as an argument, under its name in JSON. A field that does not apply is left out.
    fn field(&mut self, field: &'static Field, seen: &EventContext<'_>, list: u64) {
        let value = (field.get)(seen);
        if let Some(why) = value.why() {
            self.argument(&format!("{}_why", field.name), list, |this| this.string(why.word().as_bytes()));
        }
        let mut raw = None;
        match value {
            Value::Omitted | Value::Null | Value::Unknown(_) => return,
            Value::Object => {
                return self.argument(field.name, list, |this| {
                    field.sub.iter().for_each(|field| this.field(field, seen, id::annotation::DICT_ENTRIES));
                });
            }
            Value::Args(area) | Value::SomeArgs(area, _) => {
                self.argument(field.name, list, |this| this.array(args(area)))
            }
            Value::Stack(stack) => {
                let calls = stack.texts();
                return self.argument(field.name, list, |this| this.array(calls.iter().map(String::as_bytes)));
            }
            Value::Words(words) => {
                self.argument(field.name, list, |this| this.array(words.map(str::as_bytes)));
            }
            Value::Int(n) => self.argument(field.name, list, |this| this.plain(id::annotation::INT, n as u64)),
            Value::Uint(n) => self.argument(field.name, list, |this| this.plain(id::annotation::UINT, n)),
            Value::Bool(yes) => self.argument(field.name, list, |this| this.plain(id::annotation::BOOL, yes.into())),
            Value::Word(word) => self.argument(field.name, list, |this| this.string(word.as_bytes())),
            Value::Bytes(bytes) | Value::Cut(bytes) => raw = Some(Cow::Borrowed(bytes)),
            _ => raw = value.text(),
        }
        let raw = match value {
            Value::Args(area) | Value::SomeArgs(area, _) if str::from_utf8(area).is_err() => {
                let hexes: Vec<_> = args(area).map(hex_if_needed).collect();
                let name = format!("{}_hex", field.name);
                return self.argument(&name, list, |this| this.array(hexes.iter().map(Vec::as_slice)));
            }
            _ => raw,
        };
        if let Some(raw) = raw {
            self.argument(field.name, list, |this| this.string(&raw));
            let digits = hex_if_needed(&raw);
            if !digits.is_empty() {
                self.argument(&format!("{}_hex", field.name), list, |this| this.string(&digits));
            }
        }
    }

    /// Appends a `DebugAnnotation` with this name to the event.
    fn argument(&mut self, name: &str, list: u64, value: impl FnOnce(&mut Self)) {
        let start = proto::begin(list, &mut self.packet.event);
        self.key(name);
        value(self);
        proto::end(start, &mut self.packet.event);
    }

    fn key(&mut self, name: &str) {
        let defines = &mut self.packet.defines;
        let iid = iid(&mut self.file.texts.keys, id::interned::DEBUG_ANNOTATION_NAMES, name, defines);
        number(id::annotation::NAME_IID, iid, &mut self.packet.event);
    }

    fn plain(&mut self, field: u64, value: u64) {
        number(field, value, &mut self.packet.event);
    }

    fn string(&mut self, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        let File { texts, interned, .. } = &mut *self.file;
        let list = id::interned::DEBUG_ANNOTATION_STRING_VALUES;
        match intern(&mut texts.values, interned, list, &value, &mut self.packet.defines) {
            Some(iid) => number(id::annotation::STRING_IID, iid, &mut self.packet.event),
            None => text(id::annotation::STRING, &value, &mut self.packet.event),
        }
    }

    fn array<'v>(&mut self, values: impl Iterator<Item = &'v [u8]>) {
        for value in values {
            let start = proto::begin(id::annotation::ARRAY_VALUES, &mut self.packet.event);
            self.string(value);
            proto::end(start, &mut self.packet.event);
        }
    }
}

/// Appends a packet of the sequence.
fn packet(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    message(id::TRACE_PACKET, out, |packet| {
        number(id::packet::TRUSTED_PACKET_SEQUENCE_ID, 1, packet);
        fields(packet);
    });
}

fn joined(area: &[u8]) -> String {
    let mut line = Vec::new();
    for arg in args(area) {
        if line.len() > limits::PERFETTO_NAME {
            break;
        }
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(arg);
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// The hex digits of bytes that are not UTF-8; nothing for others.
fn hex_if_needed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if str::from_utf8(bytes).is_err() {
        hex(bytes, &mut out);
    }
    out
}

/// The id of a track ([FNV-1a](https://www.rfc-editor.org/rfc/rfc9923)). 0 is reserved.
fn uuid(boot_id: &str, host: &str, pid: u32, start: u64) -> u64 {
    let parts = [boot_id.as_bytes(), b"\0", host.as_bytes(), b"\0", &pid.to_le_bytes(), &start.to_le_bytes()];
    let hash = parts
        .concat()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}
