//! What became of the actions that this rule asked for: to say it in an alert, or to ask for something else.
//!
//! ```
//! use brokerwarden_rule::{own_actions::{OwnAction, OwnActions, State}, prelude::*};
//!
//! /// What the alert says of the ticket that was asked for; nothing before that.
//! fn ticket(key: &str, actions: &OwnActions) -> Option<String> {
//!     let ticket = actions.find("open-ticket", key)?;
//!     Some(match ticket.state {
//!         State::Failed => format!("failed: {}", ticket.text),
//!         state => state.word().to_owned(),
//!     })
//! }
//!
//! let failed = OwnAction {
//!     name: "open-ticket".into(),
//!     key: "orders/payments".into(),
//!     state: State::Failed,
//!     requested_at_ms: 1_000,
//!     ended_at_ms: Some(4_000),
//!     attempts: 3,
//!     text: "HTTP 503".into(),
//! };
//! let actions = OwnActions::from(vec![failed]);
//! assert_eq!(ticket("orders/payments", &actions).as_deref(), Some("failed: HTTP 503"));
//! assert_eq!(ticket("audit/payments", &actions), None);
//! ```

use crate::imports;

pub use crate::bindings::brokerwarden::rule::own_actions::{OwnAction, State};

impl State {
    /// As the contract calls it: `waiting`, `done`, `failed`, `expired`, `dry-run`, `silenced`, `dropped`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::DryRun => "dry-run",
            Self::Silenced => "silenced",
            Self::Dropped => "dropped",
        }
    }
}

/// Actions that this rule asked for, as its last evaluation left them: those that wait, then those that ended, each the newest first;
/// at most 100. What was refused is not among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnActions {
    actions: Vec<OwnAction>,
}

impl From<Vec<OwnAction>> for OwnActions {
    /// For tests of code that asks for them.
    fn from(actions: Vec<OwnAction>) -> Self {
        Self { actions }
    }
}

impl OwnActions {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &OwnAction> {
        self.actions.iter()
    }

    /// How the last request of this name and key stands.
    pub fn find(&self, name: &str, key: &str) -> Option<&OwnAction> {
        self.actions.iter().find(|action| action.name == name && action.key == key)
    }
}

/// Asks the agent for them.
pub fn recent() -> OwnActions {
    imports::own_actions::recent().into()
}
