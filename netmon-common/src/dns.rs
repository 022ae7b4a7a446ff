//! DNS: what a namespace asked, by resolver, and the queries that wait for an answer.

/// The map of the counts, an array of [`Dns`]: mapped into the daemon's memory.
pub const MAP: &str = "DNS";
/// The map of the queries that wait, an array of [`Ways`]: mapped into the daemon's memory.
pub const WAITING: &str = "DNS_WAITING";
/// The map of one program: [`PROGRAM_MESSAGE`], which those on devices pass packets on to.
pub const PROGRAMS: &str = "DNS_PROGRAMS";
/// The map of what they tell it.
pub const FOUND: &str = "DNS_FOUND";
/// The program on the egress hook of a namespace's loopback.
pub const PROGRAM_LOOPBACK: &str = "dns_loopback";
/// The program that looks into messages. It is on no hook, and is loaded once for each array of slots: the copies on
/// devices stay small.
pub const PROGRAM_MESSAGE: &str = "dns_message";
/// Load-time global: one more than the slot of the namespace. 0 switches the programs off.
pub const GLOBAL_SLOT: &str = "DNS_SLOT";

/// The number of resolvers that are told apart.
pub const RESOLVERS: u32 = 2;
/// The engine's resolver, which containers reach at 127.0.0.11.
pub const DOCKER: u32 = 0;
/// Any other resolver, reached through a device at port 53.
pub const OUTSIDE: u32 = 1;

/// The number of types of queries that are told apart.
pub const TYPES: usize = 5;
/// A query for an IPv4 address.
pub const TYPE_A: usize = 0;
/// A query for an IPv6 address.
pub const TYPE_AAAA: usize = 1;
/// A query for a name.
pub const TYPE_PTR: usize = 2;
/// A query for a service.
pub const TYPE_SRV: usize = 3;
/// Any other query, and one whose type was not found.
pub const TYPE_OTHER: usize = 4;

/// The number of codes of responses that are told apart.
pub const CODES: usize = 5;
/// The name exists.
pub const CODE_NOERROR: usize = 0;
/// The name does not exist.
pub const CODE_NXDOMAIN: usize = 1;
/// The resolver could not find out.
pub const CODE_SERVFAIL: usize = 2;
/// The resolver does not answer this client, or this question.
pub const CODE_REFUSED: usize = 3;
/// Any other code.
pub const CODE_OTHER: usize = 4;

/// Upper bounds of the buckets of durations, in microseconds. One more bucket has all longer times.
pub const DURATION_BOUNDS: [u32; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];
/// The number of buckets.
pub const DURATION_BUCKETS: usize = DURATION_BOUNDS.len() + 1;

/// What a namespace asked one resolver. All CPUs add to the same words, and so does the daemon.
///
/// What queries change is in one cache line, and what responses change in others: they may be on different CPUs.
///
/// `queries` is the sum of `responses`, `unanswered`, `untracked`, and of what waits.
///
/// `W` is how a word is seen: the programs have one that only adds, and adds atomically. It is as large as a `u64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dns<W = u64> {
    /// Queries by type, without those that were sent again.
    pub queries: [W; TYPES],
    /// Queries that were sent again while they waited.
    pub retries: W,
    /// Queries that no longer wait, because too many do. Their response is not known.
    pub untracked: W,
    /// Queries that had no response within [`PATIENCE`].
    pub unanswered: W,
    /// Responses to queries that waited, by code.
    pub responses: [W; CODES],
    /// Responses to queries that waited, cut to fit into a datagram.
    pub truncated: W,
    /// Responses to no query that waited: late, doubled or forged.
    pub unmatched: W,
    /// The sum of the times from a query to its response, in units of [`UNIT`].
    pub duration: W,
    /// These times, by bucket.
    pub durations: [W; DURATION_BUCKETS],
}

/// The words of a [`Dns`].
pub const WORDS: usize = size_of::<Dns>() / size_of::<u64>();

const _: () = assert!(size_of::<Dns>() == 256 && align_of::<Dns>() == 8);

/// The unit of durations, in nanoseconds: a power of two, so that programs need no division.
pub const UNIT: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u32 = 10;
/// How long a query waits, in units: what most resolvers' clients wait by default, five seconds.
pub const PATIENCE: u32 = 4_882_812;

/// The ways of a set: queries that wait, one a word; 0 if there is none.
pub type Ways = [u64; WAYS];
/// The number of ways of a set.
pub const WAYS: usize = 4;
/// The number of sets of a slot. A power of two.
pub const SETS: u32 = 128;

const TIME_BITS: u32 = 31;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// A difference of this or more, 18 minutes, is one below 0.
const EARLIER: u32 = 1 << (TIME_BITS - 1);
/// The bits that choose the set. They need not be in the word.
const SET_BITS: u32 = SETS.trailing_zeros();
const REST_BITS: u32 = u32::BITS - SET_BITS;
/// 2^32 divided by the golden ratio: multiplied by it, neighbours come to lie far apart. It is odd, so different numbers have
/// different products.
const RATIO: u32 = 0x9e37_79b1;

/// A query that waits: its client's port, its id, its server, its resolver, and when it was sent. It fits into one word, so it
/// is written at once. The time begins anew after 36 minutes.
///
/// Of the server, seven bits are there. Of the port and the id, the bits are in the word that do not choose the set: all of
/// them are known, since no two pairs have the same product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    set: u32,
    word: u64,
}

/// Which query it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's port.
    pub port: u16,
    /// The message's id.
    pub id: u16,
    /// [`DOCKER`] or [`OUTSIDE`].
    pub resolver: u32,
    /// The words of the server's address, mixed: some clients ask several servers at once, with one port and one id.
    pub server: u32,
}

impl Query {
    /// A query that is sent now.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn new(asked: Asked, nanoseconds: u64) -> Self {
        let product = (((asked.port as u32) << 16) | asked.id as u32).wrapping_mul(RATIO);
        let server = asked.server.wrapping_mul(RATIO) >> REST_BITS;
        let rest = (server << REST_BITS) | (product & ((1 << REST_BITS) - 1));
        let key = ((rest as u64) << 1) | (asked.resolver == OUTSIDE) as u64;
        let time = (nanoseconds >> UNIT_BITS) & TIME;
        Self {
            set: (product >> REST_BITS) ^ server,
            // No word of a query is 0.
            word: (key << TIME_BITS) | if time == 0 { 1 } else { time },
        }
    }

    /// The word that is in a way of its set.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn waiting(self) -> Waiting {
        Waiting(self.word)
    }

    /// The set that it waits in.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn set(self) -> u32 {
        self.set
    }
}

/// A query in a way of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting(u64);

impl Waiting {
    /// The query in a way; `None` if there is none.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn of_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    /// The word that is in a way.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether this is the same query, sent at whatever time. Both are of one set.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn is(self, other: Self) -> bool {
        self.0 >> TIME_BITS == other.0 >> TIME_BITS
    }

    /// Its resolver.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn resolver(self) -> u32 {
        if self.0 & (1 << TIME_BITS) == 0 {
            DOCKER
        } else {
            OUTSIDE
        }
    }

    /// How long before the other one it was sent, in units. 0 if it was sent later: another CPU looked at the clock
    /// afterwards.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `traffic::index`")]
    pub const fn before(self, other: Self) -> u32 {
        let time = (other.0.wrapping_sub(self.0) & TIME) as u32;
        if time >= EARLIER { 0 } else { time }
    }
}

/// The index of a slot's counts for a resolver.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "see `traffic::index`")]
pub const fn index(slot: u32, resolver: u32) -> u32 {
    slot * RESOLVERS + resolver
}

/// The index of a set of a slot's queries that wait.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "see `traffic::index`")]
pub const fn set(slot: u32, set: u32) -> u32 {
    slot * SETS + set
}

const _: () = assert!(SETS.is_power_of_two() && PATIENCE < EARLIER);
const _: () = assert!(PATIENCE as u64 == 5_000_000_000 / UNIT);
