//! Queries the kernel about the devices of one namespace (rtnetlink).
//!
//! Requests are built with the types of the netlink crates. Answers are decoded attribute by attribute. The crates'
//! decoders reject a whole message because of one attribute that they cannot read, such as a device name that is not
//! UTF-8. A container could hide its interfaces that way.

mod connection;
mod decode;
mod filters;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod queues;
mod routes;
#[cfg(test)]
mod samples;

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _},
};

use netlink_packet_core::NLM_F_ACK;
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
use netlink_sys::Socket;

use self::connection::{Connection, Dump};
use crate::model::{
    buffers::{ExemptNeighbours, Neighbours, Queue},
    counters::{DeviceCounters, Directions},
    facts::{Forwarding, Neighbour, Route},
    interface::{DeviceList, NetnsId},
    programs::Filter,
};

pub(super) use decode::{Answer, LinkEvent, Message, link_event, messages};

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
    /// A part of an answer is missing.
    #[error("cannot {what}: a part of the kernel's answer is missing")]
    Cut {
        /// The request.
        what: &'static str,
    },
    /// The answer changed each time that the kernel made it.
    #[error("cannot {what}: the namespace changes too fast")]
    Restless {
        /// The request.
        what: &'static str,
    },
}

/// A connection to rtnetlink in the namespace of the thread that opened it. It stays with that namespace and keeps it
/// alive, so do not hold one longer than needed.
#[derive(Debug)]
pub struct Client(Connection<Socket>);

impl Client {
    /// Connects to the calling thread's namespace.
    ///
    /// # Errors
    /// No socket could be opened: no free file descriptors, or netlink is not permitted here.
    pub fn open() -> Result<Self, NetlinkError> {
        Connection::open().map(Self)
    }

    /// The namespace's cookie.
    ///
    /// # Errors
    /// The kernel is older than 5.14.
    pub fn netns(&self) -> Result<NetnsId, NetlinkError> {
        self.0.netns()
    }

    /// The devices, with their addresses. The list of a namespace that changes too fast may not be whole.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn devices(&mut self) -> Result<DeviceList, NetlinkError> {
        let mut request = LinkMessage::default();
        // Statistics have their own request. Here they would only make the answer longer.
        request
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let Dump {
            items: mut devices,
            is_whole,
        } = self.0.dump(
            "list the devices",
            &RouteNetlinkMessage::GetLink(request),
            decode::device,
        )?;
        let addresses = self.0.dump(
            "list the addresses",
            &RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            decode::address,
        )?;
        // A container may have created thousands of devices and of addresses.
        devices.sort_by_key(|device| device.ifindex);
        for (ifindex, address) in addresses.items {
            if let Ok(at) = devices.binary_search_by_key(&ifindex, |device| device.ifindex) {
                devices[at].addresses.push(address);
            }
        }
        Ok(DeviceList { devices, is_whole })
    }

    /// The statistics of the devices, by ifindex. Some may be missing if the namespace changes too fast.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn statistics(&mut self) -> Result<Vec<(u32, Directions<DeviceCounters>)>, NetlinkError> {
        let mut request = StatsMessage::default();
        request.header.filter_mask = StatsFilterMask::Link64;
        let statistics = self.0.dump(
            "read the devices' statistics",
            &RouteNetlinkMessage::GetStats(request),
            decode::statistics,
        )?;
        Ok(statistics.items)
    }

    /// The queueing discipline of every device that has one, by ifindex.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn queues(&mut self) -> Result<Vec<(u32, Queue)>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.0.list("list the queues", &request, queues::queue)
    }

    /// The BPF programs attached to a device as clsact filters.
    ///
    /// # Errors
    /// See [`NetlinkError`]. A device without clsact has no filters, which is not an error.
    pub fn filters(&mut self, ifindex: u32) -> Result<Directions<Vec<Filter>>, NetlinkError> {
        let mut of = |side: u32| {
            let mut request = TcMessage::default();
            request.header.index = ifindex.cast_signed();
            request.header.parent = side.into();
            let request = RouteNetlinkMessage::GetTrafficFilter(request);
            self.0.list("list the filters of a device", &request, filters::filter)
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
        self.0
            .list("list the tables of neighbours", &request, queues::neighbours)
    }

    /// How many neighbours of this namespace no threshold of their table bounds. They may change meanwhile.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn exempt_neighbours(&mut self) -> Result<ExemptNeighbours, NetlinkError> {
        // No family means all that have a table, which bridges have not.
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let mut exempt = ExemptNeighbours::default();
        for family in self.0.dump("list the neighbours", &request, routes::exempt)?.items {
            match family {
                routes::AF_INET => exempt.ipv4 += 1,
                routes::AF_INET6 => exempt.ipv6 += 1,
                _ => {}
            }
        }
        Ok(exempt)
    }

    /// The nodes (VTEPs) that the namespace's VXLAN devices send to, by the device's ifindex.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn remotes(&mut self) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        self.0
            .list("list what bridges and tunnels forward", &request, routes::remote)
    }

    /// To which node the namespace's VXLAN devices send what is for a hardware address.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn forwarding(&mut self) -> Result<Vec<Forwarding>, NetlinkError> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        self.0
            .list("list what bridges and tunnels forward", &request, routes::forwarding)
    }

    /// The entries of the namespace's neighbour tables.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn neighbour_entries(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.0.list("list the neighbours", &request, routes::neighbour)
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
        self.0.send(what, RouteNetlinkMessage::GetRoute(request), 0)?;
        for message in messages(self.0.receive(what)?) {
            match message {
                Message::Answer(answer) => return Ok(routes::device(answer)),
                Message::Error(source) if routes::is_no_route(&source) => return Ok(None),
                Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                Message::Done | Message::Interrupted => {}
            }
        }
        Ok(None)
    }

    /// The IPv4 routes that lead somewhere; `None` if there are more than `most`. That ends the connection's use: open another
    /// one for the next request.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn routes(mut self, most: usize) -> Result<Option<Vec<Route>>, NetlinkError> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        let request = RouteNetlinkMessage::GetRoute(request);
        self.0.list_of_at_most(most, "list the routes", &request, routes::route)
    }

    /// The nsid of another namespace in this client's namespace. `None` if it has none yet.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn nsid(&mut self, namespace: impl AsFd) -> Result<Option<i32>, NetlinkError> {
        let what = "report a namespace's nsid";
        let request = nsid_request(&namespace);
        self.0.send(what, RouteNetlinkMessage::GetNsId(request), 0)?;
        for message in messages(self.0.receive(what)?) {
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
        self.0.send(what, RouteNetlinkMessage::NewNsId(request), NLM_F_ACK)?;
        for message in messages(self.0.receive(what)?) {
            match message {
                // Another process has just assigned one.
                Message::Error(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                Message::Answer(_) | Message::Done | Message::Interrupted => {}
            }
        }
        self.nsid(&namespace)
    }
}

fn nsid_request(namespace: &impl AsFd) -> NsidMessage {
    let mut request = NsidMessage::default();
    request
        .attributes
        .push(NsidAttribute::Fd(namespace.as_fd().as_raw_fd().cast_unsigned()));
    request
}
