//! What a run is worth: a recovery, a clear refusal, or findings.
//!
//! It looks at what was seen, and at nothing else.

use super::calls::errno_name;
use super::intercept::Injection;
use super::report::{Report, Told};
use super::scene::{Place, Scene, Side};
use super::stage::Seen;
use crate::tracer::Stop;
use monshm::Operation;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
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
    if let Some(told) = seen.report.as_ref().and_then(|report| report.error.as_ref()) {
        findings.push(format!("it failed although nothing was made to fail: {}", told.message));
    }
    findings.extend(left(seen));
    findings
}

/// Judges a run in which the call of `injection` failed.
pub(crate) fn judge(place: Place, scene: Scene, injection: &Injection, seen: &Seen) -> Verdict {
    let mut findings = ends(seen);
    if !may_leave(scene, injection) {
        findings.extend(left(seen));
    }
    let Some(report) = &seen.report else { return Verdict::Wrong(findings) };
    let verdict = match &report.error {
        None => {
            findings.extend(told_why(place, injection, report));
            Verdict::Recovered
        }
        Some(told) => {
            findings.extend(clear(scene, injection, told));
            Verdict::Refused
        }
    };
    if findings.is_empty() { verdict } else { Verdict::Wrong(findings) }
}

/// How it ended: no signal, no panic, no hang; and what subject, partner and segment say themselves.
fn ends(seen: &Seen) -> Vec<String> {
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
    findings.extend(seen.partner.iter().map(|error| format!("the other side: {error}")));
    findings.extend(seen.after.iter().map(|error| format!("the segment is of no use afterwards: {error}")));
    findings
}

fn left(seen: &Seen) -> Option<String> {
    (!seen.left.is_empty()).then(|| format!("left behind: {}", seen.left.join(", ")))
}

/// Whether an object may stay for `clean`: where the call that takes it away, or asks whether it may go, was refused.
pub(crate) fn may_leave(scene: Scene, injection: &Injection) -> bool {
    let lets_go = matches!(scene.name, "drop" | "drop-alone" | "detach");
    injection.errno != libc::EINTR && injection.call.removes() && (lets_go || injection.call.is_unlink())
}

/// `Auto` says why it passed over a candidate whose call failed.
fn told_why(place: Place, injection: &Injection, report: &Report) -> Option<String> {
    let unexplained = place == Place::Auto
        && report.selection.as_ref().is_some_and(|selection| !selection.contains(FIRST_CHOICE))
        && !report.refusals.iter().any(|told| told.errno == Some(injection.errno));
    unexplained.then(|| {
        let chosen = report.selection.as_deref().unwrap_or_default();
        format!("`Auto` took another candidate and does not say that {}: {chosen}", named(injection))
    })
}

/// What `Auto` takes when nothing fails.
const FIRST_CHOICE: &str = "first choice of";

/// Whether an error says all that it should.
fn clear(scene: Scene, injection: &Injection, told: &Told) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |text: String| findings.push(format!("{text}: {}", told.message));
    if injection.errno == libc::EINTR {
        find("EINTR reached the caller".to_owned());
    }
    let expected = |operation: &Operation| operation.to_string() == told.operation;
    if scene.side != Side::Neither && !scene.answers.iter().any(expected) {
        find(format!("the error names another operation, `{}`", told.operation));
    }
    if told.kind == "Poisoned" {
        // What was found before is told by the call that found it.
        return findings;
    }
    let mut find = |text: String| findings.push(format!("{text}: {}", told.message));
    let tells = |told: &Told| told.errno == Some(injection.errno);
    if !tells(told) && !told.refusals.iter().any(tells) {
        find(format!("{} is not kept in the error", errno_name(injection.errno)));
    }
    if told.object.is_none() && told.refusals.iter().all(|refusal| refusal.object.is_none()) {
        find("the error names no object".to_owned());
    }
    let limit = matches!(injection.errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC);
    let first = told.refusals.iter().find(|refusal| tells(refusal)).unwrap_or(told);
    if limit && tells(first) && first.kind.starts_with("System") {
        find("a limit is told as a failure without a kind".to_owned());
    }
    if !told.message.contains(&injection.errno.to_string()) {
        find("the message does not show the errno".to_owned());
    }
    findings
}

fn named(injection: &Injection) -> String {
    format!("{} answered {}", injection.call.name(), errno_name(injection.errno))
}
