//! A batch to one receiver: what is refused for its content is halved, broad first, so that one bad alert cannot mute the
//! others.

use super::{error::TellError, post::Answer};
use crate::{model::BoundedText, pipeline::Delivery};
use std::{collections::VecDeque, future::Future};

/// Refused messages of one batch, none accepted, after which the receiver is taken to refuse everything.
pub const MAX_REFUSALS: usize = 128;

/// Bytes of a refusal's text that are logged.
const MAX_LOGGED_ANSWER: usize = 300;

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) sent: Vec<Delivery>,
    pub(super) failed: Vec<Delivery>,
    /// Why the last of these failed.
    pub(super) why: Option<String>,
    /// Not told, to be tried again.
    pub(super) left: Vec<Delivery>,
    /// Why the receiver should be left alone for a while.
    pub(super) error: Option<TellError>,
}

/// Tells a batch by `tell`, which tells a part of it in one message.
pub(super) async fn send<T>(batch: Vec<Delivery>, notifier: &str, mut tell: impl FnMut(Vec<Delivery>) -> T) -> Attempt
where
    T: Future<Output = (Vec<Delivery>, Result<Answer, TellError>)>,
{
    let mut attempt = Attempt::default();
    let (mut refusals, mut refused) = (0usize, Vec::new());
    let mut parts = VecDeque::from([batch]);
    while let Some(part) = parts.pop_front() {
        let (mut part, told) = tell(part).await;
        let count = part.len();
        match told {
            Ok(_) => attempt.sent.extend(part),
            Err(error) if error.blames_content() => {
                refusals = refusals.saturating_add(1);
                if attempt.sent.is_empty() && refusals >= MAX_REFUSALS {
                    attempt.failed.extend(part.into_iter().chain(parts.into_iter().flatten()));
                    attempt.why = Some(error.chain());
                    attempt.error = Some(error);
                    break;
                }
                if count > 1 {
                    let half = part.split_off(count / 2);
                    parts.extend([part, half]);
                } else {
                    attempt.why = Some(error.chain());
                    attempt.failed.extend(part.iter().cloned());
                    refused.extend(part.pop().map(|delivery| (delivery, error)));
                }
            }
            Err(error) if error.is_final() => {
                attempt.failed.extend(part.into_iter().chain(parts.into_iter().flatten()));
                attempt.why = Some(error.chain());
                attempt.error = Some(error);
                break;
            }
            Err(error) => {
                attempt.left = part;
                attempt.left.extend(parts.into_iter().flatten());
                attempt.error = Some(error);
                break;
            }
        }
    }
    if let Some((delivery, error)) = refused.first() {
        tracing::warn!(
            notifier,
            count = refused.len(),
            rule = %delivery.alert.key.rule,
            alertname = %BoundedText(&delivery.alert.key.name, MAX_LOGGED_ANSWER),
            error = %error.chain(),
            answer = %BoundedText(error.answer(), MAX_LOGGED_ANSWER),
            "the receiver refused alerts (the first is named)"
        );
    }
    attempt
}
