//! Queries the kernel about the devices of one namespace (rtnetlink).
//!
//! Requests are built with the types of the netlink crates. Answers are decoded attribute by attribute. The crates'
//! decoders reject a whole message because of one attribute that they cannot read, such as a device name that is not
//! UTF-8. A container could hide its interfaces that way.

mod decode;
mod filters;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod queues;
mod routes;

use std::{
    io,
    mem::size_of,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    neighbour::NeighbourMessage,
    neighbour_table::NeighbourTableMessage,
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
    stats::{StatsFilterMask, StatsMessage},
    tc::TcMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::model::{
    buffers::{Neighbours, Queue},
    counters::{DeviceCounters, Directions},
    interface::{Device, NetnsId},
};

pub(super) use decode::{LinkEvent, Message, link_event, messages};

/// How much of an answer is read at once. The kernel never sends a larger datagram in a dump (`netlink_dump`
/// allocates at most 32 KiB).
const BUFFER_BYTES: usize = 32 * 1024;

/// How often a dump is tried if the namespace changes during it. The result of the last attempt is used as it is.
const DUMP_ATTEMPTS: u32 = 5;

/// The kernel did not answer as expected.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Socket {
        /// The action that failed.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// A connection to rtnetlink in the namespace of the thread that opened it. It stays with that namespace and keeps it
/// alive, so do not hold one longer than needed.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to the calling thread's namespace.
    ///
    /// # Errors
    /// No socket could be opened: no free file descriptors, or netlink is not permitted here.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::new(NETLINK_ROUTE).map_err(|source| NetlinkError::Socket {
            what: "open a netlink socket",
            source,
        })?;
        // Connected to the kernel only, which is number 0. Otherwise an administrator of the namespace could send
        // answers too (`netlink_getsockbyportid` refuses them for a connected socket).
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(|source| NetlinkError::Socket {
                what: "connect a netlink socket",
                source,
            })?;
        let mut client = Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        };
        client.throw_away()?;
        Ok(client)
    }

    /// Discards the messages received so far. The socket had a port number before it was connected, so they may be
    /// forged: nothing was requested yet.
    fn throw_away(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(NetlinkError::Socket {
                        what: "empty a netlink socket",
                        source,
                    });
                }
            }
        }
    }

    /// The namespace's cookie.
    ///
    /// # Errors
    /// The kernel is older than 5.14.
    pub fn netns(&self) -> Result<NetnsId, NetlinkError> {
        netns_cookie(&self.socket)
            .map(NetnsId)
            .map_err(|source| NetlinkError::Refused {
                what: "report a namespace's cookie (needs Linux 5.14)",
                source,
            })
    }

    /// Every device, with its addresses.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn devices(&mut self) -> Result<Vec<Device>, NetlinkError> {
        let mut request = LinkMessage::default();
        // Statistics have their own request. Here they would only make the answer longer.
        request
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut devices = self.dump(
            "list the devices",
            &RouteNetlinkMessage::GetLink(request),
            decode::device,
        )?;
        let addresses = self.dump(
            "list the addresses",
            &RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            decode::address,
        )?;
        // A container may have created thousands of devices and of addresses.
        devices.sort_by_key(|device| device.ifindex);
        for (ifindex, address) in addresses {
            if let Ok(at) = devices.binary_search_by_key(&ifindex, |device| device.ifindex) {
                devices[at].addresses.push(address);
            }
        }
        Ok(devices)
    }

    /// The statistics of every device, by ifindex.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn statistics(&mut self) -> Result<Vec<(u32, Directions<DeviceCounters>)>, NetlinkError> {
        let mut request = StatsMessage::default();
        request.header.filter_mask = StatsFilterMask::Link64;
        self.dump(
            "read the devices' statistics",
            &RouteNetlinkMessage::GetStats(request),
            decode::statistics,
        )
    }

    /// The queueing discipline of every device that has one, by ifindex.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn queues(&mut self) -> Result<Vec<(u32, Queue)>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.dump("list the queues", &request, queues::queue)
    }

    /// The ids of the BPF programs attached to a device as clsact filters.
    ///
    /// # Errors
    /// See [`NetlinkError`]. A device without clsact has no filters, which is not an error.
    pub fn filters(&mut self, ifindex: u32) -> Result<Directions<Vec<u32>>, NetlinkError> {
        let mut of = |side: u32| {
            let mut request = TcMessage::default();
            request.header.index = ifindex.cast_signed();
            request.header.parent = side.into();
            let request = RouteNetlinkMessage::GetTrafficFilter(request);
            self.dump("list the filters of a device", &request, filters::program)
        };
        Ok(Directions {
            receive: of(filters::INGRESS)?,
            transmit: of(filters::EGRESS)?,
        })
    }

    /// The neighbour tables. All namespaces share them.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn neighbours(&mut self) -> Result<Vec<Neighbours>, NetlinkError> {
        let request = RouteNetlinkMessage::GetNeighbourTable(NeighbourTableMessage::default());
        self.dump("list the tables of neighbours", &request, queues::neighbours)
    }

    /// The nodes (VTEPs) that the namespace's VXLAN devices send to, by the device's ifindex.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn remotes(&mut self) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        self.dump("list what bridges and tunnels forward", &request, routes::remote)
    }

    /// The device on the route to an address. `None` if there is no route.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn way_to(&mut self, address: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let what = "report the route to an address";
        let mut request = RouteMessage::default();
        (request.header.address_family, request.header.destination_prefix_length) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        let destination = match address {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        };
        request.attributes.push(RouteAttribute::Destination(destination));
        self.send(what, RouteNetlinkMessage::GetRoute(request), 0)?;
        self.receive(what)?;
        // The kernel answers with an error if there is no route.
        Ok(messages(&self.buffer).find_map(|message| match message {
            Message::Answer(answer) => routes::device(answer),
            Message::Done | Message::Error(_) | Message::Interrupted => None,
        }))
    }

    /// The nsid of another namespace in this client's namespace. `None` if it has none yet.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn nsid(&mut self, namespace: impl AsFd) -> Result<Option<i32>, NetlinkError> {
        let what = "report a namespace's nsid";
        let request = nsid_request(&namespace);
        self.send(what, RouteNetlinkMessage::GetNsId(request), 0)?;
        self.receive(what)?;
        for message in messages(&self.buffer) {
            match message {
                Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                Message::Answer(answer) => return Ok(decode::nsid(answer)),
                Message::Done | Message::Interrupted => {}
            }
        }
        Ok(None)
    }

    /// Assigns an nsid to another namespace if it has none here. The kernel reports events only from namespaces with
    /// an nsid (`do_one_broadcast`, `peernet_has_id`). By itself it assigns one only when needed, for example for a
    /// veth between two namespaces.
    ///
    /// # Errors
    /// The kernel refuses: `CAP_NET_ADMIN` is missing.
    pub fn number(&mut self, namespace: impl AsFd) -> Result<Option<i32>, NetlinkError> {
        if let Some(nsid) = self.nsid(&namespace)? {
            return Ok(Some(nsid));
        }
        let what = "give a namespace a number";
        let mut request = nsid_request(&namespace);
        // The kernel chooses the nsid.
        request.attributes.push(NsidAttribute::Id(-1));
        self.send(what, RouteNetlinkMessage::NewNsId(request), NLM_F_ACK)?;
        self.receive(what)?;
        for message in messages(&self.buffer) {
            match message {
                // Another process has just assigned one.
                Message::Error(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                Message::Answer(_) | Message::Done | Message::Interrupted => {}
            }
        }
        self.nsid(&namespace)
    }

    fn dump<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        decode: impl Fn(decode::Answer<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut items = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            items.clear();
            self.send(what, request.clone(), NLM_F_DUMP)?;
            if !self.collect(what, &decode, &mut items)? {
                break;
            }
        }
        Ok(items)
    }

    /// Reads one dump. Returns whether the namespace changed during it.
    fn collect<T>(
        &mut self,
        what: &'static str,
        decode: &impl Fn(decode::Answer<'_>) -> Option<T>,
        items: &mut Vec<T>,
    ) -> Result<bool, NetlinkError> {
        let mut interrupted = false;
        loop {
            self.receive(what)?;
            for message in messages(&self.buffer) {
                match message {
                    Message::Done => return Ok(interrupted),
                    Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                    Message::Interrupted => interrupted = true,
                    Message::Answer(answer) => items.extend(decode(answer)),
                }
            }
        }
    }

    fn send(&mut self, what: &'static str, request: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        self.buffer.clear();
        self.buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut self.buffer);
        self.socket
            .send(&self.buffer, 0)
            .map_err(|source| NetlinkError::Socket { what, source })?;
        Ok(())
    }

    fn receive(&mut self, what: &'static str) -> Result<(), NetlinkError> {
        self.buffer.clear();
        self.buffer.reserve(BUFFER_BYTES);
        loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetlinkError::Socket { what, source }),
            }
        }
    }
}

fn nsid_request(namespace: &impl AsFd) -> NsidMessage {
    let mut request = NsidMessage::default();
    request
        .attributes
        .push(NsidAttribute::Fd(namespace.as_fd().as_raw_fd().cast_unsigned()));
    request
}

/// The cookie of a socket's namespace.
#[expect(unsafe_code, reason = "no library offers this socket option yet")]
fn netns_cookie(socket: &Socket) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(8);
    // SAFETY: `cookie` and `length` live through the call and are what the kernel writes: `length` says how much room
    // `cookie` has, and the kernel writes no more (sk_getsockopt, SO_NETNS_COOKIE: exactly eight bytes).
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if status == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}
