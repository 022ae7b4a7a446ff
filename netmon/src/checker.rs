//! The worker that looks for what is wrong: it reads facts, makes the checks, and keeps what they say for all who ask.
//!
//! Owns the thread, the last report, and what the log says of findings. Must not know what a check compares.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Instant, SystemTime},
};

use tracing::{info, warn};

use crate::{
    checks::{
        self,
        register::{Changes, Register},
    },
    docker::EngineHandle,
    model::{finding::Finding, text::printable},
    observe::{self, Shared, facts::movement::Movement, findings::Findings},
    privilege::{self, ThreadRole},
    workers::Shift,
};

/// The running worker. It ends once this is dropped.
#[derive(Debug)]
pub struct Checker {
    shift: Shift,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    /// Starts the worker. The first look is at once.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        shared: Shared,
        engine: EngineHandle,
        mut movement: Movement,
        findings: Findings,
        shift: Shift,
    ) -> io::Result<Self> {
        let round = shared.lock().times().check_round;
        let (stop, stopped) = sync_channel(1);
        let turns = shift.clone();
        let work = move || {
            let mut register = Register::default();
            loop {
                {
                    let _turn = turns.turn();
                    let facts = observe::facts::read(&shared, &engine.health(), &mut movement);
                    let looked = checks::look(&facts);
                    let (report, changes) = register.take_in(looked, Instant::now(), SystemTime::now());
                    findings.publish(report);
                    if register.doubts_members() {
                        engine.doubt();
                    }
                    say(&changes);
                }
                match stopped.recv_timeout(round) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        };
        let thread = privilege::spawn("checks", ThreadRole::Inspect, shift.clone().watched(work))?;
        Ok(Self {
            shift,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            self.shift.join(thread);
        }
    }
}

/// How many findings are logged that begin, or end, at one time. The fault of a whole network has hundreds.
const MOST_SAID: usize = 40;

/// Says each finding once when it begins, and once when it ends.
fn say(changes: &Changes) {
    for Finding {
        check,
        severity,
        subject,
        evidence,
        remedy,
        witnesses: _,
    } in changes.begun.iter().take(MOST_SAID)
    {
        // Names of containers come from other nodes, too.
        let (subject, evidence) = (printable(&subject.to_string()), printable(evidence));
        warn!(
            check = check.as_str(),
            severity = severity.as_str(),
            subject,
            remedy = printable(remedy),
            "{evidence}"
        );
    }
    let more = changes.begun.len().saturating_sub(MOST_SAID);
    if more > 0 {
        warn!(more, "more findings began than are logged; `netmon doctor` lists them");
    }
    for Finding { check, subject, .. } in changes.ended.iter().take(MOST_SAID) {
        info!(
            check = check.as_str(),
            subject = printable(&subject.to_string()),
            "a finding is over"
        );
    }
}
