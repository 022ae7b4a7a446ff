//! What the kernel says when it refuses programs, as one sentence, and what may be the cause.
//!
//! The verifier's output has hundreds of lines, and the last one that is no statistic says why. What the kernel does
//! not say is read from procfs and securityfs.

use std::{error::Error, fs, io};

use crate::privilege;

/// Where the kernel says whether it is locked down. A container seldom sees it.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// The ids that a user namespace has: the initial one has all.
const UID_MAP: &str = "/proc/self/uid_map";

/// What aya puts before the verifier's output.
const OUTPUT: &str = "Verifier output:";
/// How the lines behind the verifier's verdict begin.
const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "-- END"];
/// How the names of helpers begin that read the kernel's memory. A kernel in confidentiality lockdown has none.
const READS_MEMORY: &str = "bpf_probe_read";
/// The longest message of one error, in bytes.
const LONGEST: usize = 512;

const LOCKED: &str = "; the kernel is locked down (lockdown=confidentiality), so that programs must not read its memory: \
                      boot it with lockdown=integrity or without";
const MAYBE_LOCKED: &str = "; a kernel that is locked down (lockdown=confidentiality) forbids that: see \
                            /sys/kernel/security/lockdown on the node";

/// How far the kernel keeps even root away from itself (`lockdown_reasons` in `security/security.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lockdown {
    /// Not at all.
    None,
    /// Root must not change it.
    Integrity,
    /// Root must not read its memory either.
    Confidentiality,
}

impl Lockdown {
    /// The kernel's own; `None` if it does not say.
    fn detect() -> Option<Self> {
        Self::parse(&fs::read_to_string(LOCKDOWN).ok()?)
    }

    /// Reads `none [integrity] confidentiality`: the word in brackets is in force.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('[')?;
        match rest.split_once(']')?.0 {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }
}

/// What decides whether the kernel lets this thread load programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Circumstances {
    /// The thread has the capabilities.
    is_capable: bool,
    /// The process is in a user namespace of its own, outside of which its capabilities are worth nothing.
    is_in_user_namespace: bool,
    lockdown: Option<Lockdown>,
}

impl Circumstances {
    fn detect() -> Self {
        Self {
            is_capable: privilege::may_load_programs(),
            is_in_user_namespace: fs::read_to_string(UID_MAP).is_ok_and(|map| is_part(&map)),
            lockdown: Lockdown::detect(),
        }
    }

    const fn advice(self) -> &'static str {
        if !self.is_capable {
            "; run it as root, or give it CAP_SYS_ADMIN and CAP_NET_ADMIN"
        } else if self.is_in_user_namespace {
            "; netmon has its capabilities only in a user namespace (userns-remap, or a rootless engine): run it in the \
             host's (--userns=host)"
        } else if matches!(self.lockdown, Some(Lockdown::Confidentiality)) {
            LOCKED
        } else {
            "; netmon has the capabilities, so something else forbids it: a seccomp profile, or a security module such \
             as SELinux or AppArmor"
        }
    }
}

/// Whether a map of ids (`user_namespaces(7)`) leaves ids out, as that of every namespace but the initial one.
fn is_part(map: &str) -> bool {
    let numbers: Vec<&str> = map.split_whitespace().collect();
    numbers != ["0", "0", "4294967295"]
}

/// What to do when the kernel does not permit something.
pub(super) fn advice() -> &'static str {
    Circumstances::detect().advice()
}

/// The same, for an error of loading or attaching programs. Empty if the error says enough.
pub(super) fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    if let Some(verdict) = rejection(error) {
        remedy_of(&verdict, Lockdown::detect())
    } else if permission(error) {
        advice()
    } else {
        ""
    }
}

fn remedy_of(verdict: &str, lockdown: Option<Lockdown>) -> &'static str {
    match lockdown {
        _ if !verdict.contains(READS_MEMORY) => "",
        Some(Lockdown::Confidentiality) => LOCKED,
        None => MAYBE_LOCKED,
        Some(Lockdown::None | Lockdown::Integrity) => "",
    }
}

/// An error, then its source, then the source of that, and so on.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The verifier's verdict. `None` if it did not look at the program, or said nothing.
fn rejection(error: &(dyn Error + 'static)) -> Option<String> {
    chain(error).find_map(|error| {
        let message = error.to_string();
        let (_, log) = message.split_once(OUTPUT)?;
        let verdict = verdict(log);
        (!verdict.is_empty()).then(|| verdict.to_owned())
    })
}

/// Whether one of an error's sources is a refusal by the kernel for lack of permission. A program that the verifier
/// rejects is none, though it may answer `EACCES`.
pub(super) fn permission(error: &(dyn Error + 'static)) -> bool {
    let mut errors = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    errors.any(|error| error.kind() == io::ErrorKind::PermissionDenied) && rejection(error).is_none()
}

/// The last line of the verifier's output that is no statistic.
fn verdict(log: &str) -> &str {
    let is_verdict = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|begin| line.starts_with(begin));
    log.lines().map(str::trim).rfind(is_verdict).unwrap_or_default()
}

/// An error's message on one line: of the verifier's output its verdict alone.
fn brief(message: &str) -> String {
    let message = message.trim();
    let (said, log) = match message.split_once(OUTPUT) {
        Some((said, log)) => (said.trim_end(), log),
        None => message.split_once('\n').unwrap_or((message, "")),
    };
    let text = match verdict(log) {
        "" => said.trim_end_matches('.').to_owned(),
        verdict => format!("{} The verifier says: {verdict}", said.trim_end()),
    };
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

/// The messages of an error and of all its sources, one sentence in all. aya's own messages omit the kernel's answer.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut sentence = String::new();
    for error in chain(error) {
        let message = brief(&error.to_string());
        // Most errors that wrap another one repeat what it says.
        if sentence.is_empty() {
            sentence = message;
        } else if !sentence.contains(&message) {
            sentence = format!("{sentence}: {message}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::{EbpfError, programs::ProgramError};

    use super::{Circumstances, Lockdown, brief, is_part, permission, remedy_of, verdict, with_causes};
    use crate::datapath::{DatapathError, attach::AttachError};

    const VERDICT: &str = "program of this type cannot use helper bpf_probe_read#4";

    /// What a kernel in confidentiality lockdown says of a program that reads its memory.
    fn rejected() -> EbpfError {
        let mut log: Vec<String> = (0..118)
            .map(|number| format!("{number}: (b7) r1 = 0 ; R1_w=0"))
            .collect();
        log.push(VERDICT.to_owned());
        log.push("processed 118 insns (limit 1000000) max_states_per_insn 0 total_states 7 peak_states 7".to_owned());
        said_by_aya("Permission denied (os error 13)", &log.join("\n"))
    }

    /// What aya makes of the kernel's error and the verifier's output.
    fn said_by_aya(error: &str, log: &str) -> EbpfError {
        let text = format!("the BPF_PROG_LOAD syscall returned {error}. Verifier output: {log}");
        ProgramError::IOError(io::Error::new(io::ErrorKind::PermissionDenied, text)).into()
    }

    #[test]
    fn an_error_of_120_lines_is_one_sentence_wherever_it_is_printed() {
        let load = DatapathError::Load(Box::new(rejected()));
        let in_attach = AttachError::Load {
            name: "eth0".to_owned(),
            source: Box::new(DatapathError::Load(Box::new(rejected()))),
        };
        let attach = AttachError::Attach {
            name: "eth0".to_owned(),
            hook: "receive",
            source: Box::new(rejected()),
        };
        for text in [load.to_string(), in_attach.to_string(), attach.to_string()] {
            assert_eq!(text.lines().count(), 1, "{text}");
            assert_eq!(text.matches(VERDICT).count(), 1, "{text}");
            assert!(text.contains("Permission denied") && text.len() < 600, "{text}");
            assert!(!text.contains("R1_w") && !text.contains("processed"), "{text}");
        }
    }

    /// Like aya's error, which nobody else can make.
    #[derive(Debug, thiserror::Error)]
    #[error("the BPF_PROG_LOAD syscall returned {source}. Verifier output: {log}")]
    struct LoadError {
        source: io::Error,
        log: &'static str,
    }

    #[test]
    fn what_the_verifier_rejects_needs_no_permission() {
        let refusal = |code, log| LoadError {
            source: io::Error::from_raw_os_error(code),
            log,
        };
        assert!(!permission(&refusal(libc::EACCES, VERDICT)));
        assert!(permission(&refusal(libc::EPERM, "")));
        assert!(permission(&refusal(libc::EACCES, "\n")));
        assert!(!permission(&refusal(libc::EINVAL, "")));
    }

    #[test]
    fn a_message_without_a_log_is_kept() {
        assert_eq!(brief("cannot do this"), "cannot do this");
        assert_eq!(
            brief("the BPF_PROG_LOAD syscall returned Operation not permitted (os error 1). Verifier output: "),
            "the BPF_PROG_LOAD syscall returned Operation not permitted (os error 1)"
        );
        assert_eq!(verdict("\n  \nprocessed 7 insns\n"), "");
        let missing = EbpfError::FileError {
            path: "/x".into(),
            error: io::Error::from_raw_os_error(libc::ENOENT),
        };
        assert_eq!(
            with_causes(&missing),
            "error loading /x: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn lockdown_is_named_if_it_is_or_may_be_the_cause() {
        assert_eq!(
            Lockdown::parse("none [integrity] confidentiality\n"),
            Some(Lockdown::Integrity)
        );
        assert_eq!(
            Lockdown::parse("[none] integrity confidentiality\n"),
            Some(Lockdown::None)
        );
        let all = Lockdown::parse("none integrity [confidentiality]\n");
        assert_eq!(all, Some(Lockdown::Confidentiality));
        for text in ["", "none", "[secrecy]", "[", "]["] {
            assert_eq!(Lockdown::parse(text), None, "{text:?}");
        }
        assert!(remedy_of(VERDICT, all).contains("the kernel is locked down"));
        assert!(remedy_of(VERDICT, None).contains("/sys/kernel/security/lockdown"));
        assert_eq!(remedy_of(VERDICT, Some(Lockdown::Integrity)), "");
        assert_eq!(remedy_of("R1 invalid mem access 'scalar'", all), "");
    }

    #[test]
    fn capabilities_are_asked_for_only_where_they_are_missing() {
        let here = Circumstances {
            is_capable: true,
            is_in_user_namespace: false,
            lockdown: None,
        };
        let advice = |circumstances: Circumstances, words: &[&str]| {
            let advice = circumstances.advice();
            for word in words {
                assert!(advice.contains(word), "it does not say {word}: {advice}");
            }
            assert_eq!(advice.contains("as root"), !circumstances.is_capable, "{advice}");
        };
        let incapable = Circumstances {
            is_capable: false,
            is_in_user_namespace: true,
            ..here
        };
        advice(incapable, &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
        let remapped = Circumstances {
            is_in_user_namespace: true,
            ..here
        };
        advice(remapped, &["userns-remap", "--userns=host"]);
        let locked = Circumstances {
            lockdown: Some(Lockdown::Confidentiality),
            ..here
        };
        advice(locked, &["lockdown=confidentiality"]);
        advice(here, &["seccomp", "SELinux"]);
    }

    #[test]
    fn a_user_namespace_is_known_by_its_ids() {
        assert!(!is_part("         0          0 4294967295\n"));
        assert!(is_part("         0     165536      65536\n"));
        assert!(is_part(
            "         0       1000          1\n         1     100000      65536\n"
        ));
    }
}
