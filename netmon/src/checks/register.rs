//! The findings that stand: since when, which have just begun, and which have ended. Pure: it is told the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{CheckDefinition, Looked, MOST_OF_CHECK};
use crate::model::finding::{Check, CheckRow, Finding, Report, Severity, Standing, Subject};

/// The findings that stand.
#[derive(Debug, Default)]
pub struct Register {
    known: BTreeMap<(Check, Subject), Known>,
}

/// A fault that was seen.
#[derive(Debug)]
struct Known {
    finding: Finding,
    first: Instant,
    since: SystemTime,
    /// It has been seen for long enough.
    stands: bool,
    /// See [`CheckDefinition::rests_on_members`](super::CheckDefinition::rests_on_members).
    rests_on_members: bool,
    /// Those of the finding's witnesses that every look has seen.
    witnesses: BTreeSet<Arc<str>>,
}

impl Known {
    /// Whether a finding with the same subject is this fault, still.
    fn is_still(&self, finding: &Finding) -> bool {
        let is_free_of_any = self.witnesses.is_empty() && finding.witnesses.is_empty();
        is_free_of_any || !self.witnesses.is_disjoint(&finding.witnesses)
    }
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that begin.
    pub begun: Vec<Finding>,
    /// Findings that are over.
    pub ended: Vec<Finding>,
}

impl Register {
    /// Takes in what all checks found. A finding of a check that could not look stays as it was.
    pub fn take_in(&mut self, looked: Vec<Looked>, now: Instant, at: SystemTime) -> (Report, Changes) {
        let mut changes = Changes::default();
        let mut report = Report {
            looked: Some(at),
            ..Report::default()
        };
        for Looked {
            definition,
            outcome,
            spent,
        } in looked
        {
            let blind = match outcome {
                Ok(found) => {
                    self.seen(definition, found, (now, at), &mut changes);
                    None
                }
                Err(reason) => Some(reason.to_string()),
            };
            report.checks.push(CheckRow {
                check: definition.name,
                blind,
                spent,
            });
            let standing: Vec<_> = self.standing(definition.name).collect();
            report.left_out += standing.len().saturating_sub(MOST_OF_CHECK);
            report.standing.extend(standing.into_iter().take(MOST_OF_CHECK));
        }
        report.standing.sort_by_key(|standing| standing.finding.severity);
        (report, changes)
    }

    /// Whether a fault that rests on the members of networks was seen. Then it is time to ask for them again.
    #[must_use]
    pub fn doubts_members(&self) -> bool {
        let mut known = self.known.values();
        known.any(|known| known.rests_on_members && known.finding.severity != Severity::Info)
    }

    /// Takes in what a check found.
    fn seen(
        &mut self,
        definition: &CheckDefinition,
        found: Vec<Finding>,
        (now, at): (Instant, SystemTime),
        changes: &mut Changes,
    ) {
        let (check, patience) = (definition.name, definition.patience);
        let mut found: BTreeMap<_, _> = found
            .into_iter()
            .map(|finding| (finding.subject.clone(), finding))
            .collect();
        let over = |(of, subject): &(Check, Subject), known: &mut Known| {
            *of == check && !found.get(subject).is_some_and(|finding| known.is_still(finding))
        };
        let over: Vec<_> = self.known.extract_if(.., over).collect();
        changes.ended.extend(
            over.into_iter()
                .filter(|(_, known)| known.stands)
                .map(|(_, known)| known.finding),
        );
        for ((_, subject), known) in self.known.iter_mut().filter(|((of, _), _)| *of == check) {
            if let Some(finding) = found.remove(subject) {
                known.witnesses.retain(|witness| finding.witnesses.contains(witness));
                known.finding = finding;
            }
        }
        let new = found.into_iter().map(|(subject, finding)| {
            let known = Known {
                witnesses: finding.witnesses.clone(),
                rests_on_members: definition.rests_on_members,
                finding,
                first: now,
                since: at,
                stands: false,
            };
            ((check, subject), known)
        });
        self.known.extend(new);
        for (_, known) in self.known.iter_mut().filter(|((of, _), _)| *of == check) {
            if !known.stands && now.saturating_duration_since(known.first) >= patience {
                known.stands = true;
                changes.begun.push(known.finding.clone());
            }
        }
    }

    /// The findings of a check, the worst first.
    fn standing(&self, check: Check) -> impl Iterator<Item = Standing> {
        let of_check = self
            .known
            .iter()
            .filter(move |((of, _), known)| *of == check && known.stands);
        let mut standing: Vec<_> = of_check
            .map(|(_, known)| Standing {
                finding: known.finding.clone(),
                since: known.since,
            })
            .collect();
        standing.sort_by_key(|standing| standing.finding.severity);
        standing.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant, SystemTime},
    };

    use super::{Changes, Register};
    use crate::{
        checks::{CheckDefinition, Looked, MOST_OF_CHECK, finding},
        model::{
            facts::Unread,
            finding::{Check, Finding, Report, Severity, Subject},
        },
    };

    static PATIENT: CheckDefinition = CheckDefinition {
        name: Check("patient"),
        finds: "",
        compares: "",
        blind_spots: "",
        causes: "",
        patience: Duration::from_secs(20),
        rests_on_members: true,
        look: |_| Ok(Vec::new()),
    };
    static QUICK: CheckDefinition = CheckDefinition {
        name: Check("quick"),
        patience: Duration::ZERO,
        rests_on_members: false,
        ..PATIENT
    };

    struct Looks {
        register: Register,
        begin: Instant,
    }

    impl Looks {
        fn new() -> Self {
            Self {
                register: Register::default(),
                begin: Instant::now(),
            }
        }

        /// What is said after so many seconds.
        fn at(
            &mut self,
            seconds: u64,
            definition: &'static CheckDefinition,
            outcome: Result<&[&str], &str>,
        ) -> (Report, Changes) {
            let time = Duration::from_secs(seconds);
            let looked = Looked {
                definition,
                outcome: outcome
                    .map(|items| items.iter().map(|item| of(definition, item)).collect())
                    .map_err(|reason| Unread(reason.to_owned())),
                spent: Duration::ZERO,
            };
            self.register
                .take_in(vec![looked], self.begin + time, SystemTime::UNIX_EPOCH + time)
        }
    }

    fn of(definition: &CheckDefinition, item: &str) -> Finding {
        let subject = Subject {
            item: item.into(),
            ..Subject::default()
        };
        finding(
            definition.name,
            Severity::Warning,
            subject,
            String::new(),
            String::new(),
        )
    }

    fn items(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| &*finding.subject.item).collect()
    }

    #[test]
    fn a_finding_begins_after_its_patience_and_ends_at_once() {
        let mut looks = Looks::new();
        let (report, changes) = looks.at(0, &PATIENT, Ok(&["a"]));
        assert!(
            report.standing.is_empty() && changes == Changes::default(),
            "{report:?}"
        );
        let (report, changes) = looks.at(25, &PATIENT, Ok(&["a"]));
        assert_eq!(items(&changes.begun), ["a"]);
        assert_eq!(report.standing[0].since, SystemTime::UNIX_EPOCH);
        let (report, changes) = looks.at(40, &PATIENT, Ok(&["a"]));
        assert_eq!((report.standing.len(), changes), (1, Changes::default()));
        let (report, changes) = looks.at(55, &PATIENT, Ok(&[]));
        assert!(report.standing.is_empty());
        assert_eq!(items(&changes.ended), ["a"]);
    }

    #[test]
    fn what_is_gone_before_it_stands_is_never_said() {
        let mut looks = Looks::new();
        for (seconds, found) in [(0, &["a"][..]), (15, &[]), (30, &["a"]), (45, &[])] {
            let (report, changes) = looks.at(seconds, &PATIENT, Ok(found));
            assert!(
                report.standing.is_empty() && changes == Changes::default(),
                "{report:?}"
            );
        }
    }

    #[test]
    fn a_check_that_cannot_look_keeps_its_findings_and_says_why() {
        let mut looks = Looks::new();
        looks.at(0, &QUICK, Ok(&["a"]));
        let (report, changes) = looks.at(15, &QUICK, Err("the engine is silent"));
        assert_eq!((report.standing.len(), changes), (1, Changes::default()));
        let blind: Vec<_> = report.blind().collect();
        assert_eq!(blind, [(QUICK.name, "the engine is silent")]);
    }

    #[test]
    fn more_than_a_check_may_list_are_counted() {
        let names: Vec<_> = (0..MOST_OF_CHECK + 7).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (report, _) = Looks::new().at(0, &QUICK, Ok(&names));
        assert_eq!((report.standing.len(), report.left_out), (MOST_OF_CHECK, 7));
    }

    #[test]
    fn what_is_seen_by_others_each_time_is_another_fault_each_time() {
        let mut register = Register::default();
        let begin = Instant::now();
        let mut at = |seconds: u64, witnesses: &[&str]| {
            let mut finding = of(&PATIENT, "missing");
            finding.witnesses = witnesses.iter().map(|it| Arc::from(*it)).collect();
            let time = Duration::from_secs(seconds);
            let looked = Looked {
                definition: &PATIENT,
                outcome: Ok(vec![finding]),
                spent: Duration::ZERO,
            };
            let (_, changes) = register.take_in(vec![looked], begin + time, SystemTime::UNIX_EPOCH + time);
            (changes.begun.len(), changes.ended.len())
        };
        assert_eq!(at(0, &["a"]), (0, 0));
        assert_eq!(at(15, &["b"]), (0, 0));
        assert_eq!(at(30, &["c", "d"]), (0, 0));
        assert_eq!(at(45, &["d", "e"]), (0, 0));
        assert_eq!(at(60, &["d"]), (1, 0), "d was seen for 30 s");
        assert_eq!(at(75, &["f"]), (0, 1));
    }

    #[test]
    fn members_are_doubted_as_long_as_what_rests_on_them_is_seen() {
        let mut looks = Looks::new();
        looks.at(0, &QUICK, Ok(&["a"]));
        assert!(!looks.register.doubts_members());
        for seconds in [15, 60] {
            looks.at(seconds, &PATIENT, Ok(&["a"]));
            assert!(looks.register.doubts_members());
        }
        looks.at(75, &PATIENT, Ok(&[]));
        assert!(!looks.register.doubts_members());
    }

    #[test]
    fn two_findings_with_one_subject_are_one() {
        let (report, changes) = Looks::new().at(0, &QUICK, Ok(&["a", "a"]));
        assert_eq!((report.standing.len(), changes.begun.len()), (1, 1));
    }
}
