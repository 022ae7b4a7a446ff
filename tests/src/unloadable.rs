//! A build of netmon whose kernel programs no kernel accepts: the binary under test, with an instruction in its
//! programs that does not exist.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, ensure};

/// How an object for 64-bit little-endian machines begins.
const MAGIC: [u8; 6] = *b"\x7fELF\x02\x01";
/// An object in the binary begins at a multiple of this.
const ALIGNMENT: usize = 8;
/// The number of the machine "BPF" (`EM_BPF`), and where an object says it.
const BPF: u16 = 247;
const MACHINE_AT: usize = 18;
/// Where an object says where its section headers are, how large one is, and how many there are.
const HEADERS_AT: usize = 40;
const HEADER_SIZE_AT: usize = 58;
const HEADER_COUNT_AT: usize = 60;
/// The instruction that ends a program (`BPF_JMP | BPF_EXIT`), and one that does not exist.
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
const NONE: [u8; 8] = [0xff, 0, 0, 0, 0, 0, 0, 0];

/// Writes such a build, made of the one in the file `of`.
///
/// # Errors
/// There are no programs in it.
pub fn write(of: &Path, to: &Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(of).with_context(|| format!("{}", of.display()))?;
    let mut spoilt = 0;
    // The build aligns the objects, so that netmon can use them where they are.
    for at in (0..bytes.len()).step_by(ALIGNMENT) {
        let object = &mut bytes[at..];
        if !object.starts_with(&MAGIC) || half(object, MACHINE_AT)? != BPF {
            continue;
        }
        let length = length(object)?;
        let object = object.get_mut(..length).context("a cut object")?;
        for instruction in object.chunks_exact_mut(EXIT.len()).filter(|it| **it == EXIT) {
            instruction.copy_from_slice(&NONE);
            spoilt += 1;
        }
    }
    ensure!(spoilt > 0, "{} has no kernel programs", of.display());
    fs::write(to, bytes)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// The length of an object. Its section headers are its end.
fn length(object: &[u8]) -> anyhow::Result<usize> {
    let begin = object.get(HEADERS_AT..HEADERS_AT + 8).context("a cut object")?;
    let begin = usize::try_from(u64::from_le_bytes(begin.try_into()?))?;
    let size = usize::from(half(object, HEADER_SIZE_AT)?) * usize::from(half(object, HEADER_COUNT_AT)?);
    Ok(begin + size)
}

fn half(object: &[u8], at: usize) -> anyhow::Result<u16> {
    let bytes = object.get(at..at + 2).context("a cut object")?;
    Ok(u16::from_le_bytes(bytes.try_into()?))
}
