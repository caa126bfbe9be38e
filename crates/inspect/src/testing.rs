//! For a fuzz target: reads a datagram as answers of the kernel.

use super::inet::{Listener, Route};
use super::netlink::messages;
use super::network::{INGRESS, Interfaces, Network};
use std::net::Ipv6Addr;
use tracetui_shared::id::NsInum;

/// Reads sockets and routes. Returns the number of sockets.
pub fn sockets(datagram: &[u8]) -> usize {
    let to = Ipv6Addr::LOCALHOST.into();
    messages(datagram)
        .filter(|message| {
            let _ = Route::read(message.body, to);
            Listener::read(message.body).is_some()
        })
        .count()
}

/// Reads interfaces, and filters of the first interface. Returns the number of programs.
pub fn interfaces(datagram: &[u8]) -> usize {
    let (mut network, namespace) = (Network::default(), NsInum(1));
    for message in messages(datagram) {
        network.interface(namespace, message.body);
        let index = network.interfaces.first().map_or(0, |interface| interface.index);
        network.filter(namespace, (index, INGRESS), message.body);
    }
    let (mut interfaces, mut changes) = (Interfaces::default(), Vec::new());
    interfaces.changes(datagram, &mut changes);
    network.found.len() + changes.len()
}
