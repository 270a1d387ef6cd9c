//! Why something was not told. No URL stands in an error, since URLs hold tokens; nor does what the receiver said, which
//! may repeat them.

use super::connect::ConnectError;
use hyper::StatusCode;
use std::{io, time::Duration};

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum TellError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the request failed")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("cannot connect")]
    Connect(#[from] ConnectError),
    #[error("the receiver answered {status}")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
        /// The start of the answer; not in the text, since it may repeat what was sent.
        answer: String,
    },
    #[error("the mail server answered {code} to {step}")]
    Refused {
        code: u16,
        /// What was said to it: the first word of the command.
        step: &'static str,
        answer: String,
    },
    #[error("the connection to the mail server broke")]
    Broken(#[source] io::Error),
    #[error("the mail server {0}")]
    MailServer(&'static str),
    #[error("cannot read the file of a secret")]
    Secret(#[source] io::Error),
    #[error("the url is not one of http or https")]
    Url,
    #[error("a password or token holds characters that no header can")]
    Header,
    #[error("the answer broke off, or has more than {0} bytes")]
    Answer(usize),
    #[error("cannot make the request")]
    Request(#[source] hyper::http::Error),
    #[error("cannot encode the alerts")]
    Encode(#[source] serde_json::Error),
    #[error("cannot write the mail")]
    Mail(#[source] lettre::error::Error),
}

impl TellError {
    /// Does the receiver find fault with what we sent, so that less of it may pass?
    pub(super) fn blames_content(&self) -> bool {
        match self {
            Self::Status { status, .. } => [400, 413, 422].contains(&status.as_u16()),
            // 552: too much; 554 after the text: it was not liked.
            Self::Refused { code, step, .. } => *code == 552 || (*code == 554 && *step == "the text"),
            Self::Encode(_) | Self::Mail(_) => true,
            _ => false,
        }
    }

    /// Is it of no use to send the same again? Credentials are read at each use and may be mended, so that those who do
    /// not like ours are asked again.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                !status.is_server_error() && ![401, 403, 407, 408, 425, 429].contains(&status.as_u16())
            }
            // Before a mailbox is named nothing is about this mail.
            Self::Refused { code, step, .. } => *code >= 500 && ["RCPT", "DATA", "the text"].contains(step),
            Self::Encode(_) | Self::Mail(_) => true,
            _ => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the receiver said; empty if it said nothing.
    pub(super) fn answer(&self) -> &str {
        match self {
            Self::Status { answer, .. } | Self::Refused { answer, .. } => answer,
            _ => "",
        }
    }

    /// The error and its causes in one line.
    pub(super) fn chain(&self) -> String {
        crate::model::with_causes(self)
    }
}
