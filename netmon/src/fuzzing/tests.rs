//! The short run: every input that was kept, and what is made of it by a few blunt changes.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::TARGETS;

/// How many changed inputs a target gets: a few seconds for all of them, unoptimised.
const CHANGED: usize = 300;
/// How long a changed input may be.
const LONGEST: usize = 4096;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target)
}

/// The inputs of a target, in an order that does not change.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("an input"))
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// Runs a target; when it fails, says on what.
fn run(name: &str, target: fn(&[u8]), about: &str, input: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(
        ran.is_ok(),
        "{name} failed on {about}; keep it as fuzz/corpus/{name}/WHAT-IT-WAS:\n\"{}\"",
        input.escape_ascii()
    );
}

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (sides.max(1) as u64)).unwrap_or_default()
    }
}

/// What makes parsers stumble.
const PIECES: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"\"",
    b"\\",
    b"-1",
    b"18446744073709551615",
    b"99999999999999999999999",
    b"\xc3\xa9",
    b"{}[]",
    b";q=0,",
];

/// Makes an input of another one, and of a third.
fn change(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(input.len() + 1);
        match dice.roll(6) {
            0 if at < input.len() => input[at] ^= 1 << dice.roll(8),
            1 if at < input.len() => input[at] = u8::try_from(dice.roll(256)).unwrap_or_default(),
            2 => input.truncate(at),
            3 => {
                let until = (at + dice.roll(16)).min(input.len());
                input.drain(at..until);
            }
            4 => {
                let piece = PIECES[dice.roll(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            _ => {
                let from = dice.roll(other.len() + 1);
                let until = (from + dice.roll(64)).min(other.len());
                input.splice(at..at, other[from..until].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
}

#[test]
fn every_target_has_inputs_and_a_program_and_nothing_else_has() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (folder, extension) in [("../fuzz/corpus", ""), ("../fuzz/fuzz_targets", ".rs")] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let names: BTreeSet<_> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .map(|name| name.strip_suffix(extension).unwrap_or(&name).to_owned())
            .collect();
        assert_eq!(names, targets, "in {}", folder.display());
    }
}

#[test]
fn every_input_that_was_kept_is_taken() {
    for (name, target) in TARGETS {
        for (file, input) in inputs(name) {
            run(name, target, &file, &input);
        }
    }
}

#[test]
fn what_is_made_of_them_by_chance_is_taken_too() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        let mut dice = Dice(1);
        for _ in 0..CHANGED {
            let (file, input) = &inputs[dice.roll(inputs.len())];
            let (_, other) = &inputs[dice.roll(inputs.len())];
            let mut changed = input.clone();
            change(&mut changed, other, &mut dice);
            run(name, target, &format!("what was made of {file}"), &changed);
        }
    }
}
