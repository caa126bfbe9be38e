//! Values in the records of kinds that are about sockets.

/// The form of an address, or why there is none.
pub mod form {
    /// The address of the socket, in its family.
    pub const SOCKET: u8 = 0;
    /// A `struct sockaddr_in` that was passed.
    pub const INET: u8 = 2;
    /// A `struct sockaddr_in6` that was passed.
    pub const INET6: u8 = 10;
    /// The address that was passed is of another family.
    pub const OTHER_FAMILY: u8 = 253;
    /// The length that was passed is too small for the family.
    pub const TOO_SHORT: u8 = 254;
    /// The memory of the address could not be read.
    pub const UNREADABLE: u8 = 255;
}

/// States of a connection (`include/net/tcp_states.h`).
#[allow(missing_docs)]
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
}
