//! Numbers of fields and values, by message:
//! [perfetto_trace.proto](https://github.com/google/perfetto/blob/main/protos/perfetto/trace/perfetto_trace.proto).

pub(super) const TRACE_PACKET: u64 = 1;
pub(super) mod packet {
    pub(in super::super) const CLOCK_SNAPSHOT: u64 = 6;
    pub(in super::super) const TIMESTAMP: u64 = 8;
    pub(in super::super) const TRUSTED_PACKET_SEQUENCE_ID: u64 = 10;
    pub(in super::super) const TRACK_EVENT: u64 = 11;
    pub(in super::super) const INTERNED_DATA: u64 = 12;
    pub(in super::super) const SEQUENCE_FLAGS: u64 = 13;
    pub(in super::super) const SYSTEM_INFO: u64 = 45;
    pub(in super::super) const TRACK_DESCRIPTOR: u64 = 60;
    pub(in super::super) const FIRST_PACKET_ON_SEQUENCE: u64 = 87;
}
pub(super) mod flags {
    pub(in super::super) const INCREMENTAL_STATE_CLEARED: u64 = 1;
    pub(in super::super) const NEEDS_INCREMENTAL_STATE: u64 = 2;
}
pub(super) mod clock {
    pub(in super::super) const CLOCKS: u64 = 1;
    pub(in super::super) const CLOCK_ID: u64 = 1;
    pub(in super::super) const TIMESTAMP: u64 = 2;
    pub(in super::super) const REALTIME: u64 = 1;
    pub(in super::super) const BOOTTIME: u64 = 6;
}
pub(super) mod system {
    pub(in super::super) const UTSNAME: u64 = 1;
    pub(in super::super) const SYSNAME: u64 = 1;
    pub(in super::super) const RELEASE: u64 = 3;
    pub(in super::super) const MACHINE: u64 = 4;
}
pub(super) mod track {
    pub(in super::super) const UUID: u64 = 1;
    pub(in super::super) const NAME: u64 = 2;
    pub(in super::super) const PROCESS: u64 = 3;
    pub(in super::super) const PARENT_UUID: u64 = 5;
    pub(in super::super) const PID: u64 = 1;
    pub(in super::super) const CMDLINE: u64 = 2;
    pub(in super::super) const PROCESS_NAME: u64 = 6;
    pub(in super::super) const START_TIMESTAMP_NS: u64 = 7;
}
pub(super) mod event {
    pub(in super::super) const CATEGORY_IIDS: u64 = 3;
    pub(in super::super) const DEBUG_ANNOTATIONS: u64 = 4;
    pub(in super::super) const TYPE: u64 = 9;
    pub(in super::super) const NAME_IID: u64 = 10;
    pub(in super::super) const TRACK_UUID: u64 = 11;
    pub(in super::super) const NAME: u64 = 23;
}
pub(super) mod interned {
    pub(in super::super) const EVENT_CATEGORIES: u64 = 1;
    pub(in super::super) const EVENT_NAMES: u64 = 2;
    pub(in super::super) const DEBUG_ANNOTATION_NAMES: u64 = 3;
    pub(in super::super) const DEBUG_ANNOTATION_STRING_VALUES: u64 = 29;
    pub(in super::super) const IID: u64 = 1;
    pub(in super::super) const TEXT: u64 = 2;
}
pub(super) mod annotation {
    pub(in super::super) const NAME_IID: u64 = 1;
    pub(in super::super) const BOOL: u64 = 2;
    pub(in super::super) const UINT: u64 = 3;
    pub(in super::super) const INT: u64 = 4;
    pub(in super::super) const STRING: u64 = 6;
    pub(in super::super) const DICT_ENTRIES: u64 = 11;
    pub(in super::super) const ARRAY_VALUES: u64 = 12;
    pub(in super::super) const STRING_IID: u64 = 17;
}
