//! A report as a table for people and as JSON for programs.
//!
//! The JSON: `{"found": [{"backend", "kind", "object", "size", "owner_uid", "pids", "state", "why"}], "unseen":
//! [{"backend", "error"}], "unanswered"}`. `state` is one of `in-use`, `stale`, `removed`, `too-new`, `other-user`,
//! `failed`; `why` a sentence that may change.

use comfy_table::{Table, presets};
use monshm::Report;
use serde_json::json;

pub(crate) fn json(report: &Report) -> String {
    let found: Vec<_> = report
        .found()
        .map(|(backend, found)| {
            json!({
                "backend": backend.name(),
                "kind": found.object.kind(),
                "object": found.object.to_string(),
                "size": found.size,
                "owner_uid": found.owner_uid,
                "pids": found.pids,
                "state": found.state.word(),
                "why": found.state.to_string(),
            })
        })
        .collect();
    let unseen: Vec<_> = report
        .unseen()
        .iter()
        .map(|(backend, error)| json!({ "backend": backend.name(), "error": error.to_string() }))
        .collect();
    format!("{}\n", json!({ "found": found, "unseen": unseen, "unanswered": report.unanswered() }))
}

pub(crate) fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["KIND", "OBJECT", "SIZE", "UID", "PIDS", "STATE"]);
    for (_, found) in report.found() {
        let pids: Vec<String> = found.pids.iter().map(u32::to_string).collect();
        table.add_row([
            found.object.kind().to_owned(),
            found.object.to_string(),
            // Semaphores have no bytes.
            if found.size == 0 { "-".to_owned() } else { found.size.to_string() },
            found.owner_uid.to_string(),
            pids.join(","),
            found.state.to_string(),
        ]);
    }
    let mut text = if table.is_empty() { "nothing found".to_owned() } else { table.to_string() };
    text.push('\n');
    for (backend, error) in report.unseen() {
        text.push_str(&format!("{backend}: not looked at: {error}\n"));
    }
    if report.unanswered() > 0 {
        text.push_str(&format!("{} processes did not let their mappings be read in time\n", report.unanswered()));
    }
    text
}
