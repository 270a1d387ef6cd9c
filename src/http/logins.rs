//! Compares passwords with their hashes, one after the other, on a thread of its own: each takes 50 ms of CPU, and the
//! event loop has pages to serve.

use super::web_config::PasswordHash;
use crate::supervise::Tasks;
use std::{
    io,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    time::Duration,
};
use tokio::sync::oneshot;

/// Log-ins that wait to be looked at; further ones are refused.
pub const MAX_LOGINS_WAITING: usize = 16;

/// Longest wait of a log-in.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

struct Login {
    hash: PasswordHash,
    password: Vec<u8>,
    reply: oneshot::Sender<bool>,
}

/// Asks the thread, which ends when nobody can ask it any more.
#[derive(Clone, Debug)]
pub(super) struct Logins(SyncSender<Login>);

impl Logins {
    /// Starts the thread.
    pub(super) fn start(tasks: &Tasks) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Login>(MAX_LOGINS_WAITING);
        tasks.thread("http-logins", move |_| {
            while let Ok(login) = receiver.recv() {
                // Who hung up need not be told.
                if !login.reply.is_closed() {
                    login.reply.send(login.hash.is_of(&login.password)).ok();
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Is it the right password? `None`: there is too much to do to say.
    pub(super) async fn ask(&self, hash: PasswordHash, password: Vec<u8>) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Login { hash, password, reply }) {
            Ok(()) => tokio::time::timeout(LOGIN_TIMEOUT, answer).await.ok()?.ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}
