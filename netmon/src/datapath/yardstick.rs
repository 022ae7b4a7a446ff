//! Measures the cost of the kernel programs, for the benchmarks. The traffic programs are compared with a program
//! that does nothing, and with one that looks its interface up. The kernel itself runs these (`BPF_PROG_TEST_RUN`),
//! so no network is involved.

use std::time::Duration;

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramInfo, SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, tc},
};
use netmon_common::{
    dns::{PROGRAM_LOOPBACK, PROGRAM_MESSAGE},
    traffic::{PROGRAM_EGRESS, PROGRAM_INGRESS},
};

use super::{
    Datapath, DatapathError, Tracepoints, WantedTracepoints,
    attach::SlotNumbers,
    tracepoint::{Globals, Kernel, OpenObject},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/yardstick.o"));

/// The frame that the programs are run on: the part of a TCP segment over IPv4 that they look at.
const FRAME: [u8; 64] = {
    let mut frame = [0; 64];
    // The type in the Ethernet header is IPv4, and the protocol in the IPv4 header is TCP.
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[23] = 6;
    frame
};
/// The slots that the programs count into.
const FIRST: SlotNumbers = SlotNumbers {
    traffic: Some(0),
    dns: None,
};
const WITH_DNS: SlotNumbers = SlotNumbers {
    traffic: Some(0),
    dns: Some(0),
};
const LOOPBACK: SlotNumbers = SlotNumbers {
    traffic: None,
    dns: Some(0),
};
/// The number of runs in one system call. It is large enough to make the cost of the call itself vanish, and small
/// enough that the kernel seldom preempts them.
const REPEAT: u32 = 100_000;

/// A program, and how long one run takes at best.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program's name.
    pub program: &'static str,
    /// The shortest time per run over all rounds. Noise only adds to the time.
    pub best: Duration,
    /// The mean of the best tenth, in nanoseconds. It has the fraction that the kernel's whole nanoseconds lack.
    pub nanoseconds: f64,
}

/// A program on a tracepoint, and how long its runs took.
#[derive(Clone, Debug)]
pub struct Runs {
    /// The first 15 bytes of the program's name: the kernel keeps no more.
    pub program: String,
    /// How often it ran.
    pub count: u64,
    /// The average time of a run in nanoseconds, including the kernel's own clock.
    pub nanoseconds: f64,
}

/// Runs `work` while the programs on tracepoints are attached, together with empty programs. Meanwhile the kernel
/// measures them (`BPF_ENABLE_STATS`). `work` gets the programs, too.
///
/// # Errors
/// The kernel does not load, attach or measure them.
pub fn per_event(cpus: u32, work: impl FnOnce(&mut Tracepoints)) -> Result<Vec<Runs>, DatapathError> {
    let kernel = Kernel::detect()?;
    let mut tracepoints = Tracepoints::load(WantedTracepoints::ALL, cpus)?;
    let globals = Globals::default();
    let mut yardstick = OpenObject::open(OBJECT, &globals, &kernel)?;
    yardstick.attach("empty_drop", "kfree_skb")?;
    yardstick.attach("empty_segment", "tcp_probe")?;
    let yardstick = yardstick.ready("yardstick");
    let runs = measured(&["drops_", "tcp_", "edge_", "empty_"], || work(&mut tracepoints));
    drop((tracepoints, yardstick));
    runs
}

/// Runs `work` while a program gives each connection's socket some storage, and does nothing else. No other program does: a
/// socket's first storage costs more than its second.
///
/// # Errors
/// The kernel does not load, attach or measure it.
pub fn per_stored(work: impl FnOnce()) -> Result<Vec<Runs>, DatapathError> {
    let kernel = Kernel::detect()?;
    let globals = Globals::default();
    let mut yardstick = OpenObject::open(OBJECT, &globals, &kernel)?;
    yardstick.attach("stored", "inet_sock_set_state")?;
    let yardstick = yardstick.ready("yardstick");
    let runs = measured(&["stored"], work);
    drop(yardstick);
    runs
}

/// Runs `work` while the programs for what is sent are attached to this device of the calling thread's namespace,
/// together with an empty program. Unlike the packets of [`per_packet`], those of `work` may be a connection's.
///
/// # Errors
/// The kernel does not load, attach or measure them.
pub fn per_sent_packet(datapath: &mut Datapath, device: &str, work: impl FnOnce()) -> Result<Vec<Runs>, DatapathError> {
    let traffic = datapath.attacher.copy(FIRST)?;
    side_by_side(traffic, PROGRAM_EGRESS, &["empty"], device, work)
}

/// Runs `work` while a program of a copy and those that it is measured against are attached to the egress side of a device.
fn side_by_side(
    mut copy: Ebpf,
    program: &'static str,
    yardsticks: &[&'static str],
    device: &str,
    work: impl FnOnce(),
) -> Result<Vec<Runs>, DatapathError> {
    let failed = |error: aya::EbpfError| DatapathError::Load(Box::new(error));
    let mut yardstick = EbpfLoader::new().load(OBJECT).map_err(failed)?;
    // Where there is tcx, the queueing discipline is of no use and does no harm.
    let _there_or_made = tc::qdisc_add_clsact(device);
    for name in yardsticks {
        let program = classifier(&mut yardstick, name)?;
        program.load().map_err(|error| failed(error.into()))?;
        program
            .attach(device, TcAttachType::Egress)
            .map_err(|error| failed(error.into()))?;
    }
    classifier(&mut copy, program)?
        .attach(device, TcAttachType::Egress)
        .map_err(|error| failed(error.into()))?;
    let runs = measured(&[yardsticks, &[program]].concat(), work);
    drop((yardstick, copy));
    runs
}

/// What the kernel measures of the programs whose names begin so, while `work` runs.
fn measured(prefixes: &[&str], work: impl FnOnce()) -> Result<Vec<Runs>, DatapathError> {
    let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime)
        .map_err(|error| DatapathError::of("measure programs", error.io_error))?;
    work();
    drop(stats);
    let mut runs = Vec::new();
    for info in aya::programs::loaded_programs() {
        let info = info.map_err(|error| DatapathError::Load(Box::new(error.into())))?;
        let Some(name) = info.name_as_str() else { continue };
        // The kernel cuts names.
        let ours = prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix) || prefix.starts_with(name));
        if ours && info.run_count() > 0 {
            runs.push(Runs {
                program: name.to_owned(),
                count: info.run_count(),
                nanoseconds: info.run_time().as_nanos() as f64 / info.run_count() as f64,
            });
        }
    }
    Ok(runs)
}

/// Measures all programs in turn, so that other work on the machine affects them equally.
///
/// # Errors
/// The kernel does not load or run them.
pub fn per_packet(datapath: &mut Datapath, rounds: usize) -> Result<Vec<Run>, DatapathError> {
    let failed = |error: aya::EbpfError| DatapathError::Load(Box::new(error));
    let mut yardstick = EbpfLoader::new().load(OBJECT).map_err(failed)?;
    for program in ["empty", "hashed"] {
        classifier(&mut yardstick, program)?
            .load()
            .map_err(|error| failed(error.into()))?;
    }
    let traffic = datapath.attacher.copy(FIRST)?;
    let with_dns = datapath.attacher.copy(WITH_DNS)?;
    let loopback = datapath.attacher.copy(LOOPBACK)?;
    let mut objects = [yardstick, traffic, with_dns, loopback];
    // A name for the figures, and where the program is.
    let mut subjects = [
        ("empty", 0, "empty"),
        ("hashed", 0, "hashed"),
        (PROGRAM_INGRESS, 1, PROGRAM_INGRESS),
        (PROGRAM_EGRESS, 1, PROGRAM_EGRESS),
        ("traffic_ingress, with DNS", 2, PROGRAM_INGRESS),
        ("traffic_egress, with DNS", 2, PROGRAM_EGRESS),
        (PROGRAM_LOOPBACK, 3, PROGRAM_LOOPBACK),
    ]
    .map(|(name, object, program)| (name, object, program, Vec::new()));
    for _ in 0..rounds {
        for (_, object, program, times) in &mut subjects {
            let options = TestRunOptions {
                data_in: Some(&FRAME),
                repeat: REPEAT,
                ..TestRunOptions::default()
            };
            let object: &mut Ebpf = &mut objects[*object];
            let result = classifier(object, program)?
                .test_run(options)
                .map_err(|error| failed(error.into()))?;
            times.push(result.duration);
        }
    }
    Ok(subjects
        .into_iter()
        .map(|(name, _, _, times)| summary(name, times))
        .collect())
}

/// How many instructions the verifier goes through, by program: of a copy for an interface without and with DNS, of one for
/// loopback, and of what looks into messages.
///
/// # Errors
/// The kernel does not load them, or is too old to say it (5.16).
pub fn verified(datapath: &mut Datapath) -> Result<Vec<(String, u32)>, DatapathError> {
    let failed = |error: aya::programs::ProgramError| DatapathError::Load(Box::new(error.into()));
    let mut all = Vec::new();
    let mut note = |name: &str, more: &str, info: &ProgramInfo| {
        all.extend(
            info.verified_instruction_count()
                .map(|count| (format!("{name}{more}"), count)),
        );
    };
    for (more, slots) in [("", FIRST), (", with DNS", WITH_DNS), ("", LOOPBACK)] {
        let copy = datapath.attacher.copy(slots)?;
        for (name, program) in copy.programs() {
            // The object has a program that is not loaded with each copy.
            if let Ok(info) = program.info() {
                note(name, more, &info);
            }
        }
    }
    for info in aya::programs::loaded_programs() {
        let info = info.map_err(failed)?;
        if info.name_as_str() == Some(PROGRAM_MESSAGE) {
            note(PROGRAM_MESSAGE, "", &info);
            break;
        }
    }
    Ok(all)
}

/// Runs `work` while the program for loopback is attached to the loopback of the calling thread's namespace, together with an
/// empty program and one that looks at the clock.
///
/// # Errors
/// The kernel does not load, attach or measure them.
pub fn per_loopback_packet(datapath: &mut Datapath, work: impl FnOnce()) -> Result<Vec<Runs>, DatapathError> {
    let loopback = datapath.attacher.copy(LOOPBACK)?;
    side_by_side(loopback, PROGRAM_LOOPBACK, &["empty", "clock"], "lo", work)
}

fn summary(program: &'static str, mut times: Vec<Duration>) -> Run {
    times.sort_unstable();
    let best = times.first().copied().unwrap_or_default();
    let tenth = &times[..times.len().div_ceil(10)];
    let nanoseconds = tenth.iter().map(|time| time.as_nanos() as f64).sum::<f64>() / tenth.len().max(1) as f64;
    Run {
        program,
        best,
        nanoseconds,
    }
}

fn classifier<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = object.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program.try_into().map_err(|_| DatapathError::Incomplete(name))
}
