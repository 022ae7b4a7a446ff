//! What a program on a device tells the one that looks into messages.

use netmon_common::dns::OUTSIDE;

/// A packet that may carry a message. It is one word, which is passed on through a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found(u64);

/// A transport's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transport {
    /// Its protocol, as an IP header names it.
    pub(super) protocol: u8,
    /// Where it begins in the frame: less than 256 bytes from its beginning.
    pub(super) offset: u32,
}

const SLOT: u64 = 0xffff;
const BYTE: u64 = 0xff;
const OFFSET: u32 = 16;
const PROTOCOL: u32 = OFFSET + 8;
const IS_RESPONSE: u64 = 1 << (PROTOCOL + 8);
const IS_OUTSIDE: u64 = IS_RESPONSE << 1;
const SERVER: u32 = PROTOCOL + 8 + 2;

impl Found {
    /// A packet with this transport. `dns_slot` is one more than the slot.
    #[inline(always)]
    pub(super) const fn new(dns_slot: u32, transport: Transport, is_response: bool, resolver: u32) -> Self {
        let Transport { protocol, offset } = transport;
        let mut word = (dns_slot as u64) | ((offset as u64) << OFFSET) | ((protocol as u64) << PROTOCOL);
        if is_response {
            word |= IS_RESPONSE;
        }
        if resolver == OUTSIDE {
            word |= IS_OUTSIDE;
        }
        Self(word)
    }

    /// The same, with the mixed words of the server's address. What does not fit is mixed, too.
    #[inline(always)]
    pub(super) const fn with(self, server: u32) -> Self {
        Self(self.0 | ((server ^ (server << 16)) as u64 >> 2) << SERVER)
    }

    /// Something that is the same for the same server.
    #[inline(always)]
    pub(super) const fn server(self) -> u32 {
        (self.0 >> SERVER) as u32
    }

    /// The word that is passed on.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What was passed on; `None` if nothing was.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    /// The slot of the namespace.
    #[inline(always)]
    pub(super) const fn slot(self) -> u32 {
        ((self.0 & SLOT) as u32).wrapping_sub(1)
    }

    #[inline(always)]
    pub(super) const fn transport(self) -> Transport {
        Transport {
            protocol: ((self.0 >> PROTOCOL) & BYTE) as u8,
            offset: ((self.0 >> OFFSET) & BYTE) as u32,
        }
    }

    /// Whether it goes to the one who asks.
    #[inline(always)]
    pub(super) const fn is_response(self) -> bool {
        self.0 & IS_RESPONSE != 0
    }

    /// The resolver at the other end.
    #[inline(always)]
    pub(super) const fn resolver(self) -> u32 {
        if self.0 & IS_OUTSIDE == 0 { 0 } else { OUTSIDE }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::dns::{DOCKER, OUTSIDE};

    use super::{Found, Transport};

    #[test]
    fn what_is_passed_on_arrives() {
        for (slot, offset, is_response, resolver) in [(0, 34, false, DOCKER), (63, 74, true, OUTSIDE)] {
            let transport = Transport { protocol: 17, offset };
            let whole = Found::new(slot + 1, transport, is_response, resolver);
            let [found, other] = [1, 2].map(|server| Found::of_word(whole.with(server).word()));
            let (found, other) = found.zip(other).expect("something was passed on");
            assert_ne!(found.server(), other.server());
            assert_eq!((found.slot(), found.transport()), (slot, transport));
            assert_eq!((found.is_response(), found.resolver()), (is_response, resolver));
        }
        assert_eq!(Found::of_word(0), None);
    }
}
