//! What a run is worth: a recovery, a clear refusal, or findings.
//!
//! It looks at what was seen, and at nothing else.

use super::calls::errno_name;
use super::intercept::Injection;
use super::operations::{Operation, Side};
use super::report::{Failure, Report};
use super::run::Seen;
use super::target::Target;
use harness::Stop;
use harness::census::list;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The operation came to its end all the same.
    Recovered,
    /// It answered with an error that says what happened.
    Refused,
    /// Something is wrong.
    Wrong(Vec<String>),
}

/// Judges a run in which nothing was made to fail.
pub(crate) fn judge_untouched(seen: &Seen) -> Vec<String> {
    let mut findings = ends(seen);
    if let Some(failure) = seen.report.as_ref().and_then(|report| report.error.as_ref()) {
        findings.push(format!("it failed although nothing was made to fail: {}", failure.message));
    }
    findings.extend(left(seen));
    findings
}

/// Judges a run in which the call of `injection` failed.
pub(crate) fn judge(target: Target, operation: &Operation, injection: &Injection, seen: &Seen) -> Outcome {
    let mut findings = ends(seen);
    if !may_leave(operation, injection) {
        findings.extend(left(seen));
    }
    let Some(report) = &seen.report else { return Outcome::Wrong(findings) };
    let outcome = match &report.error {
        None => {
            findings.extend(unexplained(target, operation, injection, report));
            Outcome::Recovered
        }
        Some(failure) => {
            findings.extend(unclear(operation, injection, failure));
            Outcome::Refused
        }
    };
    if findings.is_empty() { outcome } else { Outcome::Wrong(findings) }
}

/// How it ended: no signal, no panic, no hang; and what the processes and the segment say themselves.
pub(crate) fn ends(seen: &Seen) -> Vec<String> {
    let mut findings = Vec::new();
    let complaint = seen.complaints.lines().next().unwrap_or("it said nothing");
    if seen.hung {
        findings.push("it hung until it was killed".to_owned());
    } else if seen.end != Stop::Exited(0) {
        findings.push(format!("it ended otherwise ({:?}): {complaint}", seen.end));
    } else if seen.report.is_none() {
        findings.push(format!("it gave no report: {complaint}"));
    }
    findings.extend(seen.report.iter().flat_map(|report| report.findings.iter().cloned()));
    findings.extend(seen.counterpart.iter().map(|error| format!("the other side: {error}")));
    findings.extend(seen.after.iter().map(|error| format!("the segment is of no use afterwards: {error}")));
    findings
}

pub(crate) fn left(seen: &Seen) -> Option<String> {
    (!seen.left.is_empty()).then(|| format!("left behind: {}", list(&seen.left)))
}

/// Whether an object may stay for `clean`: where the call that takes it away, or asks whether it may go, was refused.
fn may_leave(operation: &Operation, injection: &Injection) -> bool {
    let releases = matches!(operation.name, "drop" | "drop-alone" | "detach");
    injection.errno != libc::EINTR && injection.call.removes() && (releases || injection.call.is_unlink())
}

/// `Auto` says why it passed over a candidate whose call failed.
fn unexplained(target: Target, operation: &Operation, injection: &Injection, report: &Report) -> Option<String> {
    // Bytes alone never lead another user to a memfd: `Auto` passes over that one also when nothing fails.
    let unexplained = target == Target::Auto
        && operation.name != "create-by-bytes-for-other"
        && report.selection.as_ref().is_some_and(|selection| !selection.contains(FIRST_CHOICE))
        && !report.refusals.iter().any(|refusal| refusal.errno == Some(injection.errno));
    unexplained.then(|| {
        let chosen = report.selection.as_deref().unwrap_or_default();
        format!("`Auto` took another candidate and does not say that {}: {chosen}", named(injection))
    })
}

/// What `Auto` takes when nothing fails.
const FIRST_CHOICE: &str = "first choice of";

/// What an error should say and does not.
fn unclear(operation: &Operation, injection: &Injection, failure: &Failure) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |text: String| findings.push(format!("{text}: {}", failure.message));
    if injection.errno == libc::EINTR {
        find("EINTR reached the caller".to_owned());
    }
    let expected = |operation: &monshm::Operation| operation.to_string() == failure.operation;
    if operation.side != Side::Neither && !operation.answers.iter().any(expected) {
        find(format!("the error names another operation, `{}`", failure.operation));
    }
    if failure.kind == "Poisoned" {
        // What was found before is reported by the call that found it.
        return findings;
    }
    let mut find = |text: String| findings.push(format!("{text}: {}", failure.message));
    let keeps = |failure: &Failure| failure.errno == Some(injection.errno);
    if !keeps(failure) && !failure.refusals.iter().any(keeps) {
        find(format!("{} is not kept in the error", errno_name(injection.errno)));
    }
    if failure.object.is_none() && failure.refusals.iter().all(|refusal| refusal.object.is_none()) {
        find("the error names no object".to_owned());
    }
    let limit = matches!(injection.errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC);
    let first = failure.refusals.iter().find(|refusal| keeps(refusal)).unwrap_or(failure);
    if limit && keeps(first) && first.kind.starts_with("System") {
        find("a limit is reported as a failure without a kind".to_owned());
    }
    if !failure.message.contains(&injection.errno.to_string()) {
        find("the message does not show the errno".to_owned());
    }
    findings
}

fn named(injection: &Injection) -> String {
    format!("{} answered {}", injection.call.name(), errno_name(injection.errno))
}

/// Negative controls: each thing that a verdict looks at is found when it is wrong.
#[cfg(test)]
mod tests {
    use super::super::intercept::{Call, Followed};
    use super::*;
    use harness::CELLS;
    use harness::census::{Kind, Object};

    fn good() -> Seen {
        let failure = Failure {
            operation: monshm::Operation::Create.to_string(),
            kind: "LimitReached".to_owned(),
            errno: Some(libc::ENOSPC),
            object: Some("a memfd".to_owned()),
            message: "no space (os error 28)".to_owned(),
            refusals: Vec::new(),
        };
        let report = Report { error: Some(failure), ..Report::default() };
        let (complaints, end, hung) = (String::new(), Stop::Exited(0), false);
        let (counterpart, after, left) = (None, None, Vec::new());
        Seen { followed: Followed::default(), report: Some(report), complaints, end, hung, counterpart, after, left }
    }

    /// Makes one thing wrong.
    type Edit = fn(&mut Seen);

    fn outcome(edit: Edit, errno: i32) -> Outcome {
        let target = Target::Cell(CELLS[0]);
        let call = Call { number: libc::SYS_memfd_create, arguments: [0; 6] };
        let mut seen = good();
        edit(&mut seen);
        let injection = Injection { call, occurrence: 0, errno, for_good: false };
        judge(target, &Operation::all(target)[0], &injection, &seen)
    }

    fn failure(seen: &mut Seen) -> &mut Failure {
        seen.report.as_mut().and_then(|report| report.error.as_mut()).expect("it failed")
    }

    #[test]
    fn a_clear_refusal_and_a_recovery_are_right() {
        assert_eq!(outcome(|_| {}, libc::ENOSPC), Outcome::Refused);
        assert_eq!(outcome(|seen| seen.report = Some(Report::default()), libc::ENOSPC), Outcome::Recovered);
    }

    #[test]
    fn each_wrong_is_found() {
        let wrongs: [(Edit, &str); 12] = [
            (|seen| seen.hung = true, "it hung"),
            (|seen| seen.end = Stop::Killed(libc::SIGABRT), "it ended otherwise"),
            (|seen| seen.report = None, "it gave no report"),
            (|seen| seen.report.as_mut().expect("one").findings.push("leaked".to_owned()), "leaked"),
            (|seen| seen.counterpart = Some("fell".to_owned()), "the other side: fell"),
            (|seen| seen.after = Some("locked".to_owned()), "of no use afterwards"),
            (|seen| seen.left.push(name()), "left behind: /dev/shm/mon-x"),
            (|seen| failure(seen).operation = "lock".to_owned(), "names another operation"),
            (|seen| failure(seen).errno = None, "ENOSPC is not kept"),
            (|seen| failure(seen).object = None, "names no object"),
            (|seen| failure(seen).kind = "System".to_owned(), "without a kind"),
            (|seen| failure(seen).message = "no space".to_owned(), "does not show the errno"),
        ];
        for (edit, expected) in wrongs {
            let Outcome::Wrong(findings) = outcome(edit, libc::ENOSPC) else { panic!("not found: {expected}") };
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:?}");
        }
        let Outcome::Wrong(findings) = outcome(|seen| failure(seen).errno = Some(libc::EINTR), libc::EINTR) else {
            panic!("not found: EINTR")
        };
        assert!(findings[0].contains("EINTR reached the caller"), "{findings:?}");
    }

    fn name() -> Object {
        Object { kind: Kind::Name, name: "/dev/shm/mon-x".to_owned(), owner: 0, creator: 0 }
    }
}
