//! Macros by which a binary defines what its object has of its own: globals, maps, and the writing of notes. They are macros,
//! because the linker would keep what a library defines in every object.

/// Defines load-time globals, each with the method of the object's trait that reads it.
#[macro_export]
macro_rules! globals {
    ($($method:ident: $type:ty = $name:ident or $default:expr;)*) => {$(
        #[inline(always)]
        fn $method(&self) -> $type {
            #[unsafe(no_mangle)]
            static $name: ::aya_ebpf::Global<$type> = ::aya_ebpf::Global::new($default);
            $name.load()
        }
    )*};
}

/// Defines load-time globals for offsets, each with the method of the object's trait that reads it.
#[macro_export]
macro_rules! offsets {
    ($($method:ident: $name:ident;)*) => {
        $crate::globals! {$(
            $method: u32 = $name or $crate::kernel::UNSET;
        )*}
    };
}

/// Defines load-time globals that are lists of numbers, each with the method of the object's trait that reads one.
#[macro_export]
macro_rules! lists {
    ($($method:ident: $name:ident[$length:expr];)*) => {$(
        #[inline(always)]
        fn $method(&self, index: usize) -> u32 {
            #[unsafe(no_mangle)]
            static $name: ::aya_ebpf::Global<[u32; $length]> = ::aya_ebpf::Global::new([$crate::kernel::UNSET; $length]);
            $crate::bpf::element(&$name, index)
        }
    )*};
}

/// Defines load-time globals for a bit set of 256 reasons, with the method of the object's trait that reads one word.
#[macro_export]
macro_rules! bit_set {
    ($method:ident: $first:ident, $second:ident, $third:ident, $fourth:ident) => {
        #[inline(always)]
        fn $method(&self, word: u32) -> u64 {
            #[unsafe(no_mangle)]
            static $first: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $second: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $third: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $fourth: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            match word {
                0 => $first.load(),
                1 => $second.load(),
                2 => $third.load(),
                3 => $fourth.load(),
                _ => 0,
            }
        }
    };
}

/// Defines the globals of every object that reads the kernel's structures.
#[macro_export]
macro_rules! kernel_globals {
    ($object:ty) => {
        impl $crate::kernel::Kernel for $object {
            $crate::offsets! {
                device_namespace: DEVICE_NAMESPACE;
                device_ifindex: DEVICE_IFINDEX;
                namespace_cookie: NAMESPACE_COOKIE;
                namespace_loopback: NAMESPACE_LOOPBACK;
                socket_namespace: SOCKET_NAMESPACE;
                route_device: ROUTE_DEVICE;
            }
        }
    };
}

/// Defines the globals and the map of every object that reads sockets.
#[macro_export]
macro_rules! socket_globals {
    ($object:ty) => {
        #[::aya_ebpf::macros::map]
        static ADDRESSES: ::aya_ebpf::maps::HashMap<::netmon_common::connection::Address, u32> =
            ::aya_ebpf::maps::HashMap::with_max_entries(
                ::netmon_common::connection::MAX_ADDRESSES,
                ::aya_ebpf::bindings::BPF_F_NO_PREALLOC,
            );

        impl $crate::connection::Sockets for $object {
            $crate::offsets! {
                socket_family: SOCKET_FAMILY;
                socket_ipv4_address: SOCKET_IPV4_ADDRESS;
                socket_ipv6_address: SOCKET_IPV6_ADDRESS;
                socket_protocol: SOCKET_PROTOCOL;
                socket_route: SOCKET_ROUTE;
                socket_error: SOCKET_ERROR;
                socket_state: SOCKET_STATE;
                tcp_round_trip: TCP_ROUND_TRIP;
                tcp_segments_sent: TCP_SEGMENTS_SENT;
                tcp_retransmits: TCP_RETRANSMITS;
                socket_shutdown: SOCKET_SHUTDOWN;
            }

            $crate::maps! {
                addresses: Map<::netmon_common::connection::Address, u32> = ADDRESSES;
            }
        }
    };
}

/// Defines what every object has that passes packets with DNS on: the global, the maps, and the function that does it. All
/// objects share these maps.
#[macro_export]
macro_rules! passes_dns_on {
    () => {
        #[::aya_ebpf::macros::map]
        static DNS_FOUND: ::aya_ebpf::maps::PerCpuArray<u64> = ::aya_ebpf::maps::PerCpuArray::with_max_entries(1, 0);
        #[::aya_ebpf::macros::map]
        static DNS_PROGRAMS: ::aya_ebpf::maps::ProgramArray = ::aya_ebpf::maps::ProgramArray::with_max_entries(1, 0);

        /// Passes a packet on to the program that looks into messages, if `look` finds one. It is given the packet, and one more
        /// than the namespace's slot. Without a slot, the verifier removes all of this.
        #[inline(always)]
        fn pass_on(
            context: ::aya_ebpf::programs::TcContext,
            look: impl FnOnce(&::aya_ebpf::programs::TcContext, u32) -> Option<$crate::dns::Found>,
        ) -> i32 {
            #[unsafe(no_mangle)]
            static DNS_SLOT: ::aya_ebpf::Global<u32> = ::aya_ebpf::Global::new(0);
            let dns_slot = DNS_SLOT.load();
            if dns_slot != 0
                && let Some(found) = look(&context, dns_slot)
            {
                $crate::bpf::pass_on(&context, found.word(), &DNS_FOUND, &DNS_PROGRAMS);
            }
            $crate::bpf::PASS
        }
    };
}

/// Defines the methods of the object's trait that lead to its maps.
#[macro_export]
macro_rules! maps {
    ($($method:ident: $trait:ident$(<$($type:ty),*>)? = $name:ident;)*) => {$(
        #[inline(always)]
        fn $method(&self) -> &impl $crate::maps::$trait$(<$($type),*>)? {
            &$name
        }
    )*};
}

/// Defines how an object writes notes: to aya-log's ring buffer. It is a macro, because an object that links aya-log has
/// this buffer, and the objects that are loaded for every interface must not.
#[macro_export]
macro_rules! notes {
    ($object:ty) => {
        impl $crate::notes::Notes for $object {
            #[inline(always)]
            fn wants_notes(&self) -> bool {
                ::aya_log_ebpf::macro_support::level_enabled(::aya_log_ebpf::macro_support::Level::Debug)
            }

            #[inline(always)]
            fn note(&self, note: u32, netns: u64, number: u32) {
                netmon_note(note, netns, number);
            }
        }

        /// The one function that programs may call: the build knows its name. Its code is long and is hardly ever run.
        #[inline(never)]
        fn netmon_note(note: u32, netns: u64, number: u32) {
            ::aya_log_ebpf::debug!((), "{} {} {}", note, netns, number);
        }
    };
}

/// Defines a program that an iterator runs for each socket with a value in a map, and once at the end. aya has no macro for it.
#[macro_export]
macro_rules! over_storage {
    ($program:ident over $map:ident: $run:expr; $end:expr) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "iter/bpf_sk_storage_map")]
        extern "C" fn $program(context: *mut ::core::ffi::c_void) -> i32 {
            match $crate::bpf::stored(context, &$map) {
                Some((socket, value)) => $run(socket, &value),
                None => $end,
            }
            0
        }
    };
}

/// Defines a program that an iterator runs for each TCP socket of a namespace.
#[macro_export]
macro_rules! over_sockets {
    ($program:ident: $run:expr) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "iter/tcp")]
        extern "C" fn $program(context: *mut ::core::ffi::c_void) -> i32 {
            let socket = $crate::bpf::passed(context);
            if socket != 0 {
                $run(socket);
            }
            0
        }
    };
}
