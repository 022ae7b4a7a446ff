//! Messages, and the frames that carry them.

use crate::testing::Frame;

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transported {
    Udp,
    Tcp,
}

/// A message with one question.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) is_ipv6: bool,
    /// The last byte of the server's address.
    pub(super) server: u8,
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: u16,
    pub(super) class: u16,
    pub(super) name: Vec<u8>,
    pub(super) kind: u16,
    pub(super) edns: Option<u16>,
}

const CLIENT: [u8; 4] = [10, 0, 0, 5];
/// The beginning of servers' addresses.
const SERVER: [u8; 3] = [10, 0, 0];
const LOCALHOST: [u8; 4] = [127, 0, 0, 1];
const ENGINES: [u8; 4] = [127, 0, 0, 11];

impl Message {
    /// A query for `web`.
    pub(super) fn query(id: u16, kind: u16) -> Self {
        Self {
            is_ipv6: false,
            server: 11,
            id,
            flags: 0x0100,
            questions: 1,
            class: 1,
            name: b"\x03web\x00".to_vec(),
            kind,
            edns: None,
        }
    }

    /// The same, for another name.
    pub(super) fn named(&self, name: &str) -> Self {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let mut name = Vec::new();
        for label in labels {
            name.push(u8::try_from(label.len()).expect("labels are short"));
            name.extend(label.bytes());
        }
        name.push(0);
        Self { name, ..self.clone() }
    }

    /// The same, with a record of EDNS and options of this length.
    pub(super) fn with_edns(&self, edns: Option<u16>) -> Self {
        Self { edns, ..self.clone() }
    }

    /// The same, with another server at the other end.
    pub(super) fn at_server(&self, server: u8) -> Self {
        Self { server, ..self.clone() }
    }

    fn server(&self) -> [u8; 4] {
        let [a, b, c] = SERVER;
        [a, b, c, self.server]
    }

    /// The response with this code.
    pub(super) fn response(&self, code: u16) -> Self {
        Self {
            flags: self.flags | 0x8000 | code,
            ..self.clone()
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let words = [self.id, self.flags, self.questions, 0, 0, self.edns.is_some().into()];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        bytes.extend(&self.name);
        bytes.extend([self.kind, self.class].into_iter().flat_map(u16::to_be_bytes));
        if let Some(options) = self.edns {
            bytes.extend([0, 0, 41, 16, 0, 0, 0, 0, 0]);
            bytes.extend(options.to_be_bytes());
            bytes.extend(vec![7; options.into()]);
        }
        bytes
    }

    /// From a client to the engine's resolver.
    pub(super) fn on_loopback(&self, over: Transported, port: u16, to: u16) -> Frame {
        self.frame(over, (LOCALHOST, port), (ENGINES, to))
    }

    /// From the engine's resolver to a client.
    pub(super) fn on_loopback_back(&self, over: Transported, port: u16) -> Frame {
        self.frame(over, (ENGINES, 53), (LOCALHOST, port))
    }

    /// The same two, of a client with this address.
    pub(super) fn of_client(&self, address: [u8; 4], port: u16) -> [Frame; 2] {
        let (client, response) = ((address, port), self.response(0));
        [
            self.frame(Transported::Udp, client, (ENGINES, 5300)),
            response.frame(Transported::Udp, (ENGINES, 53), client),
        ]
    }

    /// From a client to a port of a server.
    pub(super) fn to_port(&self, over: Transported, port: u16, to: u16) -> Frame {
        self.frame(over, (CLIENT, port), (self.server(), to))
    }

    /// From a port of a server to a client.
    pub(super) fn of_port(&self, over: Transported, from: u16, to: u16) -> Frame {
        self.frame(over, (self.server(), from), (CLIENT, to))
    }

    fn frame(&self, over: Transported, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Frame {
        let message = self.bytes();
        let length = u16::try_from(message.len()).expect("messages are short");
        let mut inside: Vec<u8> = [from.1, to.1].into_iter().flat_map(u16::to_be_bytes).collect();
        match over {
            Transported::Udp => {
                inside.extend((length + 8).to_be_bytes());
                inside.extend([0; 2]);
            }
            Transported::Tcp => {
                // A header of eight words: timestamps are usual.
                inside.extend([0; 8]);
                inside.extend([0x80, 0x18]);
                inside.extend([0; 18]);
                inside.extend(length.to_be_bytes());
            }
        }
        inside.extend(message);
        let protocol = if over == Transported::Udp { 17 } else { 6 };
        let mut packet;
        if self.is_ipv6 {
            packet = vec![0; 40];
            packet[0] = 0x60;
            packet[6] = protocol;
            packet[20..24].copy_from_slice(&from.0);
            packet[36..40].copy_from_slice(&to.0);
        } else {
            packet = vec![0; 20];
            packet[0] = 0x45;
            packet[9] = protocol;
            packet[12..16].copy_from_slice(&from.0);
            packet[16..20].copy_from_slice(&to.0);
        }
        packet.extend(inside);
        let kind = if self.is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        Frame::ethernet(kind, &packet)
    }
}
