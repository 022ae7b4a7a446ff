//! Encryption policies (`IPsec`) of the calling thread's namespace, and whether there is a state for each.
//!
//! A list of states would have their keys in it. So states are asked for one by one, with a request whose answer has no
//! keys (`XFRM_MSG_GETAE`). Layouts are those of the kernel's `xfrm.h`, which never change.

use std::{io, net::IpAddr};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_XFRM};

use crate::{
    model::facts::Encryption,
    netns::rtnetlink::{Answer, Message, NetlinkError, messages},
};

/// `NETLINK_XFRM` messages.
const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_MSG_GETAE: u16 = 0x1f;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const XFRMA_TMPL: u16 = 5;
/// `struct xfrm_userpolicy_info`, with its padding.
const POLICY_BYTES: usize = 168;
/// Where that has its direction.
const DIRECTION: usize = 160;
const XFRM_POLICY_OUT: u8 = 1;
const IPPROTO_ESP: u8 = 50;
/// The number (`reqid`) of what the engine set up, from libnetwork's `encryption.go`. A node may have other encryption.
const ENGINES: u32 = 0x00d0_c4e3;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// How many policies are looked at. Docker makes one a node.
const MOST: usize = 4_096;
/// The kernel makes datagrams of a list at most this large (`netlink_dump`).
const DATAGRAM_BYTES: usize = 32 * 1024;

/// What a policy asks for: the state to send with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Template {
    to: IpAddr,
    /// The state's number, in network byte order. Zero leaves the choice to the kernel.
    spi: [u8; 4],
}

/// The encryption of what leaves for other nodes: each policy's, with whether the kernel has its state. Empty if this kernel
/// encrypts nothing.
///
/// # Errors
/// The kernel refuses: `CAP_NET_ADMIN` is missing.
pub fn outgoing() -> Result<Vec<Encryption>, NetlinkError> {
    let what = "list the encryption policies";
    let mut connection = match Connection::open() {
        Ok(connection) => connection,
        // It was built without.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Vec::new()),
        Err(source) => return Err(NetlinkError::Socket { what, source }),
    };
    let templates = connection.templates(what)?;
    let of = |template: Template| {
        Ok(Encryption {
            to: template.to,
            has_state: connection.has_state(template)?,
        })
    };
    templates.into_iter().map(of).collect()
}

struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Connection {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_XFRM)?;
        // Only the kernel may answer.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(DATAGRAM_BYTES),
        })
    }

    fn templates(&mut self, what: &'static str) -> Result<Vec<Template>, NetlinkError> {
        self.send(what, XFRM_MSG_GETPOLICY, NLM_F_DUMP, &[])?;
        let mut templates = Vec::new();
        loop {
            for message in messages(self.receive(what)?) {
                match message {
                    Message::Done => {
                        templates.truncate(MOST);
                        return Ok(templates);
                    }
                    Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                    // What changes is read again in the next round.
                    Message::Interrupted => {}
                    Message::Answer(answer) => templates.extend(template(answer)),
                }
            }
        }
    }

    /// Whether the kernel has the state that a policy asks for.
    fn has_state(&mut self, template: Template) -> Result<bool, NetlinkError> {
        if template.spi == [0; 4] {
            // Any that fits will do. The engine always names one.
            return Ok(true);
        }
        let what = "report an encryption state";
        self.send(what, XFRM_MSG_GETAE, 0, &state_id(template))?;
        for message in messages(self.receive(what)?) {
            match message {
                Message::Answer(_) => return Ok(true),
                Message::Error(source) if source.raw_os_error() == Some(libc::ESRCH) => return Ok(false),
                Message::Error(source) => return Err(NetlinkError::Refused { what, source }),
                Message::Done | Message::Interrupted => {}
            }
        }
        Err(NetlinkError::Cut { what })
    }

    fn send(&mut self, what: &'static str, kind: u16, flags: u16, payload: &[u8]) -> Result<(), NetlinkError> {
        let request = request(kind, flags, payload);
        let sent = self.socket.send(&request, 0);
        sent.map(drop).map_err(|source| NetlinkError::Socket { what, source })
    }

    fn receive(&mut self, what: &'static str) -> Result<&[u8], NetlinkError> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetlinkError::Socket { what, source }),
                Ok(length) if length > self.buffer.len() => return Err(NetlinkError::Cut { what }),
                Ok(_) => return Ok(&self.buffer),
            }
        }
    }
}

/// A request, in the machine's byte order.
fn request(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 16;
    let length = u32::try_from(HEADER_BYTES + payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::from(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Neither a sequence number nor a port: only one request is on its way.
    bytes.extend([0; 8]);
    bytes.extend(payload);
    bytes
}

/// `struct xfrm_aevent_id` of a template's state.
fn state_id(template: Template) -> Vec<u8> {
    let mut bytes = Vec::from(wide(template.to));
    bytes.extend(template.spi);
    let family = if template.to.is_ipv4() { AF_INET } else { AF_INET6 };
    bytes.extend(family.to_ne_bytes());
    bytes.extend([IPPROTO_ESP, 0]);
    // The source's address, flags and request number select nothing.
    bytes.extend([0; 24]);
    bytes
}

/// An address as `xfrm_address_t` has it.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The first template of a policy for what leaves, from `XFRM_MSG_NEWPOLICY`.
fn template(answer: Answer<'_>) -> Option<Template> {
    if answer.kind() != XFRM_MSG_NEWPOLICY || *answer.payload().get(DIRECTION)? != XFRM_POLICY_OUT {
        return None;
    }
    let mut attributes = answer.attributes(POLICY_BYTES);
    let (_, value) = attributes.find(|(kind, _)| *kind == XFRMA_TMPL)?;
    // `struct xfrm_user_tmpl`: the address, the SPI, the protocol, the family after a gap, the source, and the number.
    let address: [u8; 16] = value.get(..16)?.try_into().ok()?;
    let spi: [u8; 4] = value.get(16..20)?.try_into().ok()?;
    let protocol = *value.get(20)?;
    let to = match u16::from_ne_bytes(value.get(24..26)?.try_into().ok()?) {
        AF_INET => IpAddr::from([address[0], address[1], address[2], address[3]]),
        AF_INET6 => IpAddr::from(address),
        _ => return None,
    };
    let request = u32::from_ne_bytes(value.get(44..48)?.try_into().ok()?);
    (protocol == IPPROTO_ESP && request == ENGINES).then_some(Template { to, spi })
}

#[cfg(test)]
mod tests {
    use super::{DIRECTION, ENGINES, POLICY_BYTES, Template, XFRM_MSG_NEWPOLICY, request, state_id, template};
    use crate::netns::rtnetlink::{Message, messages};

    fn read(kind: u16, payload: &[u8]) -> Option<Template> {
        let bytes = request(kind, 0, payload);
        let message = messages(&bytes).next();
        let Some(Message::Answer(answer)) = message else {
            panic!("no answer: {message:?}")
        };
        template(answer)
    }

    fn policy(direction: u8, protocol: u8, number: u32) -> Vec<u8> {
        let mut bytes = vec![0; POLICY_BYTES];
        bytes[DIRECTION] = direction;
        let mut of = vec![0; 64];
        of[..4].copy_from_slice(&[10, 88, 0, 2]);
        of[16..20].copy_from_slice(&[1, 2, 3, 4]);
        of[20] = protocol;
        of[24..26].copy_from_slice(&2_u16.to_ne_bytes());
        of[44..48].copy_from_slice(&number.to_ne_bytes());
        let length = u16::try_from(of.len() + 4).expect("short");
        bytes.extend(length.to_ne_bytes());
        bytes.extend(5_u16.to_ne_bytes());
        bytes.extend(of);
        bytes
    }

    #[test]
    fn a_policy_for_what_leaves_names_its_state() {
        let of = read(XFRM_MSG_NEWPOLICY, &policy(1, 50, ENGINES)).expect("a template");
        assert_eq!((of.to.to_string(), of.spi), ("10.88.0.2".to_owned(), [1, 2, 3, 4]));
        let id = state_id(of);
        assert_eq!(id.len(), 48);
        assert_eq!(id[..4], [10, 88, 0, 2]);
        assert_eq!((&id[16..20], id[22]), (&[1, 2, 3, 4][..], 50));
    }

    #[test]
    fn other_policies_and_what_is_cut_off_are_none() {
        assert_eq!(
            read(XFRM_MSG_NEWPOLICY, &policy(0, 50, ENGINES)),
            None,
            "for what arrives"
        );
        assert_eq!(
            read(XFRM_MSG_NEWPOLICY, &policy(1, 51, ENGINES)),
            None,
            "not encryption"
        );
        assert_eq!(read(XFRM_MSG_NEWPOLICY, &policy(1, 50, 1)), None, "somebody else's");
        assert_eq!(read(0x10, &policy(1, 50, ENGINES)), None);
        let whole = policy(1, 50, ENGINES);
        for length in 0..whole.len() {
            read(XFRM_MSG_NEWPOLICY, &whole[..length]);
        }
    }
}
