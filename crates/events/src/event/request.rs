//! Events of io_uring that consist of two records: the request, and its end.

use std::fmt::Debug;
use tracetui_shared::kind::Kind;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part of both records. A [`RequestPart`](tracetui_shared::record::open::RequestPart) and the variable part follow.
pub trait Request: Copy + Debug + FromBytes + IntoBytes + Immutable + KnownLayout {
    const KIND: Kind;

    /// Bytes of the variable part of a request.
    fn asked_len(&self) -> usize;

    /// Bytes of the variable part of an end.
    fn found_len(&self) -> usize;

    /// Whether a request posts no completion on success.
    fn is_quiet(&self) -> bool;

    /// Whether this end belongs to the request, judging by the records.
    fn ends(&self, request: &Self) -> bool;

    /// Completes an end with the fields that only the request has, if the request is known. The flag is whether the
    /// object was found in the place where the request looked.
    fn join(&mut self, request: Option<(&Self, bool)>);
}
