//! Checks a compiled kernel program before it is used. Knows ELF and BPF instructions, but not how the object was
//! made.

use object::{
    Architecture, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionFlags, SectionKind,
    elf::SHF_EXECINSTR,
};

/// The size of a BPF instruction in bytes. A 64-bit constant takes two instructions, the second with operation code
/// 0.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// The source register of a call to another BPF function, as opposed to a helper of the kernel.
const PSEUDO_CALL: u8 = 1;
/// The sections that aya needs besides the code: types, and the instructions' locations in the source.
const BTF_SECTIONS: [&str; 2] = [".BTF", ".BTF.ext"];
/// The section without which the kernel refuses the helpers that it gives to GPL programs only.
const LICENSE_SECTION: &str = "license";
/// The sections of constants. The loader makes a map of each; the daemon's globals and the programs' statics are in
/// the one without a suffix.
const CONSTANTS: &str = ".rodata";
/// The section of functions that were not inlined. The kernel loads it only if a program calls into it.
const LIBRARY_SECTION: &str = ".text";
/// The end of the name of the one function that programs may call. It writes a note, and the verifier removes the call
/// from the programs if nobody reads notes.
const NOTE: &str = "netmon_note";

/// Fails with the reason if the object is unfit:
///
/// - It must be a BPF object with BTF. Without BTF, the daemon can neither relocate it nor explain the verifier's
///   messages.
/// - It must say its licence.
/// - It may have no more than one section of constants. The compiler puts a constant that is borrowed into another one,
///   which would be one more map for every copy that is loaded.
/// - No program may call another function but the one that writes notes. LLVM turns zeroed structures into calls of `memset`, and a kernel of the
///   5.10 series has panicked on such a call in a tracing program.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let file = object::File::parse(bytes).map_err(|error| format!("it is no ELF object: {error}"))?;
    if file.architecture() != Architecture::Bpf {
        return Err(format!("it is an object for {:?}, not for BPF", file.architecture()));
    }
    for name in BTF_SECTIONS {
        if file.section_by_name(name).is_none_or(|section| section.size() == 0) {
            return Err(format!(
                "it has no section {name}: was it compiled with -Cdebuginfo=2 and linked with --btf?"
            ));
        }
    }
    if file.section_by_name(LICENSE_SECTION).is_none() {
        return Err(format!(
            "it has no section {LICENSE_SECTION}: was it linked with the library?"
        ));
    }
    let mut programs = 0;
    for section in file.sections() {
        let name = section.name().unwrap_or("(without a name)");
        if is_stray(name) {
            return Err(format!(
                "its constants in section {name} would become a map. Copy them to variables where they are borrowed."
            ));
        }
        if !is_code(&section.flags(), section.kind()) || name == LIBRARY_SECTION {
            continue;
        }
        let code = section
            .data()
            .map_err(|error| format!("section {name} cannot be read: {error}"))?;
        programs += 1;
        let calls = local_calls(code, file.is_little_endian());
        if let Some((at, _)) = calls.into_iter().find(|call| !is_note(&file, &section, *call)) {
            return Err(format!(
                "instruction {at} of section {name} calls another BPF function, which old kernels do not survive. \
                 Mark the function #[inline(always)]; if it is memset or memcpy, write the fields one by one."
            ));
        }
    }
    if programs == 0 {
        return Err("it has no program in it".to_owned());
    }
    Ok(())
}

/// Whether a section has constants apart from the others.
fn is_stray(name: &str) -> bool {
    name.strip_prefix(CONSTANTS).is_some_and(|suffix| !suffix.is_empty())
}

fn is_code(flags: &SectionFlags, kind: SectionKind) -> bool {
    if let SectionFlags::Elf { sh_flags } = flags {
        sh_flags & u64::from(SHF_EXECINSTR) != 0
    } else {
        kind == SectionKind::Text
    }
}

/// The calls to functions of the same object: the index of the instruction, and its number, which says where the function
/// is. The two register numbers share a byte. The destination is in the first half by byte order: the lower half if
/// little-endian, the upper half if big-endian.
fn local_calls(code: &[u8], little_endian: bool) -> Vec<(usize, i32)> {
    let call = |(at, instruction): (usize, &[u8])| {
        let &[operation, registers, _, _, a, b, c, d] = instruction else {
            return None;
        };
        let (source, number) = if little_endian {
            (registers >> 4, i32::from_le_bytes([a, b, c, d]))
        } else {
            (registers & 0x0f, i32::from_be_bytes([a, b, c, d]))
        };
        (operation == CALL && source == PSEUDO_CALL).then_some((at, number))
    };
    code.chunks_exact(INSTRUCTION).enumerate().filter_map(call).collect()
}

/// Whether a call leads to the function that writes notes. The linker leaves a relocation to the section of functions at
/// such a call, and the number of instructions before the function, less one, in the instruction.
fn is_note(file: &object::File<'_>, section: &object::Section<'_, '_>, (at, number): (usize, i32)) -> bool {
    let leads_to_library = section.relocations().any(|(offset, relocation)| {
        let RelocationTarget::Symbol(symbol) = relocation.target() else {
            return false;
        };
        let to = file
            .symbol_by_index(symbol)
            .ok()
            .and_then(|symbol| symbol.section_index());
        let to = to.and_then(|index| file.section_by_index(index).ok());
        usize::try_from(offset).is_ok_and(|offset| offset == at * INSTRUCTION)
            && to.is_some_and(|to| to.name() == Ok(LIBRARY_SECTION))
    });
    let function = usize::try_from(number + 1).map(|index| index * INSTRUCTION);
    leads_to_library
        && file.symbols().any(|symbol| {
            symbol.name().is_ok_and(|name| name.ends_with(NOTE))
                && usize::try_from(symbol.address()).ok() == function.ok()
        })
}

#[cfg(test)]
mod tests {
    use super::{check, is_stray, local_calls};

    const HELPER_CALL: [u8; 8] = [0x85, 0x00, 0, 0, 8, 0, 0, 0];
    const LOCAL_CALL: [u8; 8] = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_call_of_a_helper_is_no_local_call() {
        assert_eq!(local_calls(&[HELPER_CALL, EXIT].concat(), true), []);
    }

    #[test]
    fn a_local_call_is_found_where_it_stands() {
        assert_eq!(local_calls(&[HELPER_CALL, LOCAL_CALL, EXIT].concat(), true), [(1, -1)]);
    }

    #[test]
    fn constants_belong_into_one_section() {
        let strays: Vec<&str> = ["maps", ".rodata", ".rodata.cst8", ".BTF", ".rodata.str1.1"]
            .into_iter()
            .filter(|name| is_stray(name))
            .collect();
        assert_eq!(strays, [".rodata.cst8", ".rodata.str1.1"]);
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_sentence() {
        let error = check(b"not an object").unwrap_err();
        assert!(error.starts_with("it is no ELF object"), "{error}");
    }
}
