//! Builds the kernel programs (see `ebpf.rs`) and says where they are.
fn main() {}
