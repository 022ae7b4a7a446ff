//! For the benchmarks: what one run of the traffic programs takes, beside a program that does nothing and one that looks
//! its interface up. The kernel runs them itself (`BPF_PROG_TEST_RUN`), so no network is involved.

use std::time::Duration;

use aya::{
    Ebpf, EbpfLoader,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use netmon_common::traffic::{PROGRAM_EGRESS, PROGRAM_INGRESS};

use super::{Datapath, DatapathError};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/yardstick.o"));

/// The frame the programs are run on: any, for they do not look into it.
const FRAME: [u8; 64] = [0; 64];
/// Runs in one system call: long enough to make the call itself vanish, short enough not to be preempted often.
const REPEAT: u32 = 100_000;

/// A program, and what one run of it takes at best.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program's name.
    pub program: &'static str,
    /// The shortest time per run over all rounds: what noise there is only adds.
    pub best: Duration,
    /// In nanoseconds, with the fraction that the kernel's whole nanoseconds lack: the mean of the best tenth.
    pub nanoseconds: f64,
}

/// Measures all programs in turn, so that whatever else the machine does hits them alike.
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
    let mut traffic = datapath.attacher.copy(0)?;
    let mut times: Vec<(&'static str, Vec<Duration>)> = ["empty", PROGRAM_INGRESS, PROGRAM_EGRESS, "hashed"]
        .map(|program| (program, Vec::new()))
        .into();
    for _ in 0..rounds {
        for (program, times) in &mut times {
            let object = if matches!(*program, "empty" | "hashed") {
                &mut yardstick
            } else {
                &mut traffic
            };
            let options = TestRunOptions {
                data_in: Some(&FRAME),
                repeat: REPEAT,
                ..TestRunOptions::default()
            };
            let result = classifier(object, program)?
                .test_run(options)
                .map_err(|error| failed(error.into()))?;
            times.push(result.duration);
        }
    }
    Ok(times
        .into_iter()
        .map(|(program, times)| summary(program, times))
        .collect())
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
