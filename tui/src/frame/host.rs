//! Host frames: what user space learned from the host, as frames, so that enrichment needs no I/O and a replay on
//! another machine shows the same.
