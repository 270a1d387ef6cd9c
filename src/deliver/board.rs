//! What each receiver answered last, for people.

use super::settings::Config;
use crate::{
    model::{BoundedText, Timestamp},
    pipeline::{NotifierView, NotifiersView, ReceiverView},
};
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes kept of why a receiver could not be told.
const MAX_REFUSAL: usize = 2048;

/// All notifiers as they stand. The channel keeps the newest state only; whoever tells is its one sender.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<Arc<NotifiersView>>);

impl Board {
    pub(super) fn new() -> Self {
        Self(watch::channel(Arc::default()).0)
    }

    pub(super) fn view(&self) -> watch::Receiver<Arc<NotifiersView>> {
        self.0.subscribe()
    }

    /// These notifiers there are now; of one that stays it stays known what it answered.
    pub(super) fn configured<'a>(&self, configs: impl IntoIterator<Item = &'a Config>) {
        self.change(|view| {
            let mut before = std::mem::take(&mut view.notifiers);
            view.notifiers = configs
                .into_iter()
                .map(|config| {
                    let kind = config.kind.text();
                    let known = before.extract_if(.., |known| known.name == config.name && known.kind == kind).next();
                    let mut notifier = known.unwrap_or_else(|| NotifierView {
                        name: config.name.clone(),
                        kind,
                        receivers: Vec::new(),
                    });
                    notifier.receivers.resize(config.receivers().max(1), ReceiverView::default());
                    notifier
                })
                .collect();
        });
    }

    /// A receiver took what it was told.
    pub(super) fn accepted(&self, notifier: &str, receiver: usize, at: Timestamp) {
        self.change(|view| {
            if let Some(receiver) = view.receiver(notifier, receiver) {
                receiver.accepted_at = Some(at);
                receiver.refusal = None;
            }
        });
    }

    /// A receiver could not be told.
    pub(super) fn refused(&self, notifier: &str, receiver: usize, at: Timestamp, why: &str) {
        self.change(|view| {
            if let Some(receiver) = view.receiver(notifier, receiver) {
                receiver.refusal = Some((at, BoundedText(why, MAX_REFUSAL).to_string()));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut NotifiersView)) {
        self.0.send_modify(|view| change(Arc::make_mut(view)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Kind;

    #[test]
    fn what_a_receiver_answered_stays_known_while_it_is_configured() {
        let board = Board::new();
        let view = board.view();
        let urls = |count: usize| (0..count).map(|_| hyper::Uri::from_static("http://a/")).collect();
        let config = |name: &str, count| Config::new(name.into(), Kind::Alertmanager { urls: urls(count) });
        board.configured(&[config("a", 2), Config::new("log".into(), Kind::Log)]);
        board.accepted("a", 0, Timestamp(5));
        board.refused("a", 1, Timestamp(6), "refused\n");
        board.refused("a", 2, Timestamp(6), "no such receiver");
        board.accepted("gone", 0, Timestamp(6));
        board.configured(&[config("a", 2), config("b", 1)]);
        let seen = Arc::clone(&view.borrow());
        assert_eq!(
            seen.notifiers.iter().map(|one| (one.name.as_str(), one.receivers.len())).collect::<Vec<_>>(),
            [("a", 2), ("b", 1)]
        );
        let [first, second] = &*seen.notifiers[0].receivers else { panic!("{seen:?}") };
        assert_eq!((first.accepted_at, &first.refusal), (Some(Timestamp(5)), &None));
        assert_eq!((second.accepted_at, &second.refusal), (None, &Some((Timestamp(6), "refused\\n".to_owned()))));
        // Another kind under the same name is another notifier.
        board.configured(&[Config::new("a".into(), Kind::Log)]);
        assert_eq!(view.borrow().notifiers[0].receivers, [ReceiverView::default()]);
    }
}
