//! What the kernel programs do, with one module per noun. The programs themselves are in `bin`, one object a noun.
//!
//! An object has only the maps and globals that its own binary defines: the linker would keep those of a library in
//! every object. So the library reaches them through a trait, which the noun's binary implements (`Object`). Whatever
//! a program gets from the kernel is behind a trait, too. So the host tests everything with stand-ins, and only `bpf`
//! is not compiled there.
//!
//! All functions are inlined. A call of another function of ours is not portable: see the check of objects in the
//! build.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and a map's value is behind one"
)]
#![expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya hands a program's context over by value, and the programs pass it on"
)]

#[cfg(target_arch = "bpf")]
pub mod bpf;
pub mod connection;
mod counter;
pub mod dns;
pub mod drops;
pub mod edges;
pub mod kernel;
pub mod maps;
pub mod notes;
pub mod overlay;
pub mod packet;
pub mod protocols;
mod share;
pub mod tcp;
pub mod traffic;
mod word;

#[cfg(test)]
mod testing;
