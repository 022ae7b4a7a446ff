//! A conversation with the kernel: requests out, answers in.
//!
//! Owns that an answer is whole. Must not know what is asked for.

use std::{io, mem::size_of, os::fd::AsRawFd as _};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    NetlinkError,
    decode::{Answer, Message, messages},
};
use crate::model::interface::NetnsId;

/// Room for most answers. The kernel makes a dump's datagrams as large as the last read had room for, and at most 32
/// KiB (`netlink_dump`); or as large as its largest item. A list of devices says how large that is beforehand
/// (`rtnl_calcit`), and a device with hundreds of alternative names has more than 64 KiB.
const BUFFER_BYTES: usize = 32 * 1024;

/// How often a dump is tried if the namespace changes during it.
const DUMP_ATTEMPTS: u32 = 5;

/// Where datagrams go and come from.
pub(super) trait Datagrams {
    /// Sends a request.
    fn send(&self, request: &[u8]) -> io::Result<()>;
    /// The length of the next datagram, which stays there. Waits for one.
    fn peek(&self) -> io::Result<usize>;
    /// Reads a datagram into the free capacity of `buffer`. Returns its length, which is larger if it did not fit.
    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

impl Datagrams for Socket {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        Self::send(self, request, 0).map(drop)
    }

    fn peek(&self) -> io::Result<usize> {
        let mut none: &mut [u8] = &mut [];
        self.recv(&mut none, libc::MSG_PEEK | libc::MSG_TRUNC)
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.recv(buffer, libc::MSG_TRUNC)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: S,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What a dump has listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dump<T> {
    pub(super) items: Vec<T>,
    /// Nothing changed while the kernel made it. Otherwise an item may be missing or be there twice.
    pub(super) is_whole: bool,
}

impl Connection<Socket> {
    /// Connects to the calling thread's namespace.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let failed = |what| move |source| NetlinkError::Socket { what, source };
        let socket = Socket::new(NETLINK_ROUTE).map_err(failed("open a netlink socket"))?;
        // Connected to the kernel only, which is number 0. Otherwise an administrator of the namespace could send
        // answers too (`netlink_getsockbyportid` refuses them for a connected socket).
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(failed("connect a netlink socket"))?;
        let mut connection = Self::new(socket);
        connection.throw_away()?;
        Ok(connection)
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
    pub(super) fn netns(&self) -> Result<NetnsId, NetlinkError> {
        netns_cookie(&self.socket)
            .map(NetnsId)
            .map_err(|source| NetlinkError::Refused {
                what: "report a namespace's cookie (needs Linux 5.14)",
                source,
            })
    }
}

impl<S: Datagrams> Connection<S> {
    fn new(socket: S) -> Self {
        Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Lists what the kernel has of a kind, as it was at one moment.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        decode: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let Dump { items, is_whole } = self.dump(what, request, decode)?;
        is_whole.then_some(items).ok_or(NetlinkError::Restless { what })
    }

    /// Lists what the kernel has of a kind. Returns the last attempt if something changes during each one.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        decode: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<Dump<T>, NetlinkError> {
        let mut dump = Dump {
            items: Vec::new(),
            is_whole: false,
        };
        for _ in 0..DUMP_ATTEMPTS {
            self.send(what, request.clone(), NLM_F_DUMP)?;
            dump = self.collect(what, matches!(request, RouteNetlinkMessage::GetLink(_)), &decode)?;
            if dump.is_whole {
                break;
            }
        }
        Ok(dump)
    }

    /// Lists what the kernel has of a kind; `None` if it is more than `most`. The kernel makes a list as it is read, so the
    /// rest costs nothing. No other request may follow on this connection then.
    pub(super) fn list_of_at_most<T>(
        &mut self,
        most: usize,
        what: &'static str,
        request: &RouteNetlinkMessage,
        decode: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        self.send(what, request.clone(), NLM_F_DUMP)?;
        let mut items = Vec::new();
        loop {
            for message in messages(self.receive(what)?) {
                match message {
                    Message::Done => return Ok(Some(items)),
                    Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                    // What changes is read again in the next round.
                    Message::Interrupted => {}
                    Message::Answer(answer) => items.extend(decode(answer)),
                }
            }
            if items.len() > most {
                return Ok(None);
            }
        }
    }

    fn collect<T>(
        &mut self,
        what: &'static str,
        may_be_large: bool,
        decode: &impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<Dump<T>, NetlinkError> {
        let mut items = Vec::new();
        let mut is_whole = true;
        loop {
            if may_be_large {
                self.make_room(what)?;
            }
            for message in messages(self.receive(what)?) {
                match message {
                    Message::Done => return Ok(Dump { items, is_whole }),
                    Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                    Message::Interrupted => is_whole = false,
                    Message::Answer(answer) => items.extend(decode(answer)),
                }
            }
        }
    }

    pub(super) fn send(
        &mut self,
        what: &'static str,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
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
            .send(&self.buffer)
            .map_err(|source| NetlinkError::Socket { what, source })
    }

    /// Makes room for the next datagram, whatever its size.
    fn make_room(&mut self, what: &'static str) -> Result<(), NetlinkError> {
        let length = again(|| self.socket.peek()).map_err(|source| NetlinkError::Socket { what, source })?;
        self.buffer.clear();
        self.buffer.reserve(length);
        Ok(())
    }

    /// Receives a datagram.
    pub(super) fn receive(&mut self, what: &'static str) -> Result<&[u8], NetlinkError> {
        let Self { socket, buffer, .. } = self;
        buffer.clear();
        buffer.reserve(BUFFER_BYTES);
        let length = again(|| socket.receive(buffer)).map_err(|source| NetlinkError::Socket { what, source })?;
        if length > buffer.len() {
            return Err(NetlinkError::Cut { what });
        }
        Ok(buffer)
    }
}

/// Calls it until no signal interrupts it.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque, io};

    use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage, stats::StatsMessage};

    use super::{BUFFER_BYTES, Connection, DUMP_ATTEMPTS, Datagrams, Dump, NetlinkError};

    const NLM_F_DUMP_INTR: u16 = 0x10;
    const DONE: u16 = 3;
    const ITEM: u16 = 16;

    /// Answers that the kernel would give.
    #[derive(Debug, Default)]
    struct Kernel(RefCell<VecDeque<Vec<u8>>>);

    impl Datagrams for Kernel {
        fn send(&self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn peek(&self) -> io::Result<usize> {
            let datagrams = self.0.borrow();
            datagrams
                .front()
                .map(Vec::len)
                .ok_or_else(|| io::ErrorKind::WouldBlock.into())
        }

        fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
            let datagram = self.0.borrow_mut().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            let fits = datagram.len().min(buffer.capacity());
            buffer.extend(&datagram[..fits]);
            Ok(datagram.len())
        }
    }

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 16).expect("a short message");
        let mut bytes = Vec::from(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        bytes
    }

    fn done(error: i32) -> Vec<u8> {
        message(DONE, 0, &error.to_ne_bytes())
    }

    /// A list of the first bytes of what the kernel answers.
    fn listed(request: &RouteNetlinkMessage, answers: Vec<Vec<u8>>) -> Result<Dump<u8>, NetlinkError> {
        let kernel = Kernel(RefCell::new(answers.into()));
        Connection::new(kernel).dump("list", request, |answer| answer.payload.first().copied())
    }

    fn statistics() -> RouteNetlinkMessage {
        RouteNetlinkMessage::GetStats(StatsMessage::default())
    }

    #[test]
    fn a_dump_that_the_kernel_breaks_off_is_an_error() {
        let items = || vec![message(ITEM, 0, &[1]), message(ITEM, 0, &[2])];
        let whole = listed(&statistics(), [items(), vec![done(0)]].concat()).expect("a list");
        assert_eq!((whole.items, whole.is_whole), (vec![1, 2], true));
        let broken = listed(&statistics(), [items(), vec![done(-libc::ENOMEM)]].concat());
        let Err(NetlinkError::Refused { source, .. }) = broken else {
            panic!("{broken:?}")
        };
        assert_eq!(source.raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn an_answer_that_was_cut_is_no_list() {
        // The kernel never sends this much of statistics.
        let large = || vec![message(ITEM, 0, &vec![1; 2 * BUFFER_BYTES]), done(0)];
        let cut = listed(&statistics(), large());
        assert!(matches!(cut, Err(NetlinkError::Cut { .. })), "{cut:?}");
        let devices = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let whole = listed(&devices, large()).expect("a list");
        assert_eq!((whole.items, whole.is_whole), (vec![1], true));
    }

    #[test]
    fn a_list_of_too_many_is_not_read_to_its_end() {
        let of = |most| {
            let answers = vec![message(ITEM, 0, &[1]), message(ITEM, 0, &[2]), done(0)];
            let kernel = Kernel(RefCell::new(answers.into()));
            let mut connection = Connection::new(kernel);
            let listed =
                connection.list_of_at_most(most, "list", &statistics(), |answer| answer.payload.first().copied());
            (listed.expect("an answer"), connection.socket.0.borrow().len())
        };
        assert_eq!(of(2), (Some(vec![1, 2]), 0));
        assert_eq!(of(0), (None, 2), "the rest stays where it is");
    }

    #[test]
    fn a_dump_that_changes_is_tried_again() {
        let interrupted = || vec![message(ITEM, NLM_F_DUMP_INTR, &[1]), done(0)];
        let calm = vec![message(ITEM, 0, &[2]), done(0)];
        let second = listed(&statistics(), [interrupted(), calm].concat()).expect("a list");
        assert_eq!((second.items, second.is_whole), (vec![2], true));

        let attempts = usize::try_from(DUMP_ATTEMPTS).expect("a small number");
        let restless = vec![interrupted(); attempts].concat();
        let last = listed(&statistics(), restless.clone()).expect("a list");
        assert_eq!((last.items, last.is_whole), (vec![1], false));
        let kernel = Kernel(RefCell::new(restless.into()));
        let refused = Connection::new(kernel).list("list", &statistics(), |_| Some(()));
        assert!(matches!(refused, Err(NetlinkError::Restless { .. })), "{refused:?}");
    }
}
