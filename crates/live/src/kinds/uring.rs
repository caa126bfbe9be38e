//! `open`: opens by io_uring.

use super::*;

pub(super) const FIELDS: &[Field] =
    &[KiocbOpcode, KiocbFlags, KiocbCqeRes, IoOpenDfd, IoOpenFileSlot, IoOpenFilename, IoOpenHow, FilenameName];
/// The field with the request, in the records of `io_uring:*`.
const REQ: Record = &[("ctx", 8, 8), ("req", 16, 8)];
const COMPLETION: Record = &[("ctx", 8, 8), ("req", 16, 8), ("user_data", 24, 8), ("res", 32, 4), ("cflags", 36, 4)];
const REQUESTS: &str = "the arguments of io_uring opens";
const REFUSALS: &str = "refusals by io_uring: a refused request may show the arguments of an earlier one";
const WHAT: &str = "file opens and TCP connections through io_uring";
/// The fields of the place at which a relative path starts.
const START: &[Field] = &[TaskFs, FsPwd, PathMnt, PathDentry, FilePath, FileFlags];
const SUBMIT_BTF: Probe = Probe::new(
    Slot::UringSubmit,
    Btf(&["io_uring_submit_req", "io_uring_submit_sqe"]),
    &[HEADER, FILES, START, FIELDS],
    &[REQUESTS],
);

const SUBMIT_TP: Probe = Probe::new(
    Slot::UringSubmitTp,
    Classic("io_uring", |_| &["io_uring_submit_req"], REQ),
    &[HEADER, FILES, START, FIELDS],
    &[REQUESTS],
);

const REFUSED_BTF: Probe =
    Probe::new(Slot::UringRefused, Btf(&["io_uring_req_failed"]), &[HEADER, FIELDS], &[REFUSALS]).optional();
const REFUSED_TP: Probe = Probe::new(
    Slot::UringRefusedTp,
    Classic("io_uring", |_| &["io_uring_req_failed"], REQ),
    &[HEADER, FIELDS],
    &[REFUSALS],
)
.optional();

const COMPLETE_BTF: Probe =
    Probe::new(Slot::OpenUring, Btf(&["io_uring_complete"]), &[HEADER, WALK, FILES, open::FIELDS, FIELDS], &[WHAT]);
const COMPLETE_TP: Probe = Probe::new(
    Slot::OpenUringTp,
    Classic("io_uring", |_| &["io_uring_complete"], COMPLETION),
    &[HEADER, WALK, FILES, open::FIELDS, FIELDS],
    &[WHAT],
);

/// The programs at requests and completions.
pub(super) const GROUP: Group = Group::wanted(&[
    (Way::Typed, &[SUBMIT_BTF, REFUSED_BTF, COMPLETE_BTF]),
    (Way::Classic, &[SUBMIT_TP, REFUSED_TP, COMPLETE_TP]),
]);
