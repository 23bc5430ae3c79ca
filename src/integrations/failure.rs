//! Why an external system could not be used: classes that an administrator and a program can act on.

use std::time::Duration;

use serde::Serialize;

/// What kind of failure; the words of a test result's `details.class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The credentials were refused.
    Authentication,
    /// They are right, but may not do this.
    Permission,
    /// There is no such organization.
    NotFound,
    /// Another organization came back than the one asked for.
    Mismatch,
    RateLimited,
    Timeout,
    Unreachable,
    Tls,
    /// An answer that cannot be understood, or contradicts itself.
    BadResponse,
    /// A setting is missing or wrong.
    Configuration,
}

impl FailureClass {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::Mismatch => "mismatch",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::BadResponse => "bad_response",
            Self::Configuration => "configuration",
        }
    }

    /// What an administrator does about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Authentication => {
                "Check the credentials that were sent: expired, revoked, or for another instance or region"
            }
            Self::Permission => "Give the credentials the right to read organizations; the integration's notes name it",
            Self::NotFound => "Check the external organization's id; discover the organizations and choose it again",
            Self::Mismatch => "Map the organization again: the id leads to another organization than the mapping says",
            Self::RateLimited => "Wait, then try again; other programs may be using up the same limit",
            Self::Timeout => "Try again; if it goes on, look at the external system's status page",
            Self::Unreachable => "Check the host or region in the settings, and that the external system is up",
            Self::Tls => "Check the host in the settings; its certificate must be valid and publicly trusted",
            Self::BadResponse => {
                "Try again; if it goes on, the external system's API has changed and the manifest needs mending"
            }
            Self::Configuration => "Set what the message names, then try again",
        }
    }
}

/// A failure. `message` may be shown to people: it holds no credential.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub class: FailureClass,
    pub message: String,
    pub http_status: Option<u16>,
    /// How long the system asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), http_status: None, retry_after: None }
    }

    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }
}
