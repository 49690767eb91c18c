//! What a process under test reports to the driver about itself: one line of JSON, at its end.

use serde::{Deserialize, Serialize};

/// An error, as far as it is judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) operation: String,
    pub(crate) kind: String,
    pub(crate) errno: Option<i32>,
    pub(crate) object: Option<String>,
    pub(crate) message: String,
    pub(crate) refusals: Vec<Failure>,
}

impl From<&monshm::Error> for Failure {
    fn from(error: &monshm::Error) -> Self {
        Self {
            operation: error.operation().to_string(),
            kind: format!("{:?}", error.kind()),
            errno: error.os_error(),
            object: error.object().map(str::to_owned),
            message: error.to_string(),
            refusals: error.refusals().iter().map(|refusal| Self::from(&refusal.error)).collect(),
        }
    }
}

/// How an operation went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What the operation answered, if that was an error.
    pub(crate) error: Option<Failure>,
    /// Why candidates were refused before the segment was made all the same.
    pub(crate) refusals: Vec<Failure>,
    /// What was chosen, where something was.
    pub(crate) selection: Option<String>,
    /// What is wrong, as the process itself sees it.
    pub(crate) findings: Vec<String>,
}

impl Report {
    /// Notes what was chosen, and why other candidates were refused.
    pub(crate) fn chose(&mut self, made: &monshm::Segment) {
        self.selection = Some(made.selection().to_string());
        let refusals = made.selection().refusals();
        self.refusals = refusals.iter().map(|refusal| Failure::from(&refusal.error)).collect();
    }
}
