//! Starts programs, on a thread of its own: where a program's file is on a disk that hangs, that hangs, too. Keeps those that
//! do not end though they were killed, until they have.

use crate::supervise::{Stop, Tasks};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// Programs that may wait to be started.
const MAX_STARTS: usize = 64;
/// Programs that did not end though they were killed; while there are so many, none is started.
pub(super) const MAX_LEFT: usize = 32;
/// How often those are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Programs that were killed, and nobody waits for.
type Left = Arc<Mutex<Vec<Child>>>;

struct Job {
    command: Command,
    reply: oneshot::Sender<io::Result<Running>>,
}

/// Asks the thread that starts programs.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    jobs: SyncSender<Job>,
    left: Left,
}

impl Spawner {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(super) fn start(tasks: &Tasks) -> io::Result<Self> {
        let (jobs, receiver) = sync_channel(MAX_STARTS);
        let left = Left::default();
        let kept = Arc::clone(&left);
        tasks.thread("actions-spawn", move |stop| work(&receiver, &kept, &stop))?;
        Ok(Self { jobs, left })
    }

    /// Starts a program, which must be the first of a process group of its own. Whoever gives up waiting has it killed.
    /// `None`: we are stopping.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Option<Running>> {
        if locked(&self.left).len() >= MAX_LEFT {
            return Err(io::Error::other(format!("{MAX_LEFT} programs that were killed have not ended yet")));
        }
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job { command, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(io::Error::other("too many programs wait to be started")),
            Err(TrySendError::Disconnected(_)) => return Ok(None),
        }
        // Without an answer the thread has ended.
        answer.await.map_or(Ok(None), |started| started.map(Some))
    }
}

fn work(jobs: &Receiver<Job>, left: &Left, stop: &Stop) {
    // Also after the stop signal: programs of deeds that are under way then are killed and looked after here.
    loop {
        match jobs.recv_timeout(LOOK) {
            Ok(Job { mut command, reply }) => {
                let running = command.spawn().and_then(|child| Running::new(child, Arc::clone(left)));
                drop(command); // with our ends of its pipes
                drop(reply.send(running)); // and with it the program, where nobody waits any more
            }
            Err(RecvTimeoutError::Disconnected) if stop.sleep(LOOK) => return,
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
        locked(left).retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if stop.stopped() {
            return;
        }
    }
}

/// A program that was started. Dropped, it and its group are killed.
#[derive(Debug)]
pub(super) struct Running {
    /// `None`: it was waited for.
    child: Option<Child>,
    pid: Pid,
    left: Left,
}

impl Running {
    fn new(mut child: Child, left: Left) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else {
            drop(child.kill()); // fails only when it has ended
            return Err(io::Error::other("it has no process id"));
        };
        Ok(Self { child: Some(child), pid, left })
    }

    /// Has it ended? It is not waited for, so that its number stays its own, and that of its group.
    pub(super) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Tells it and all of its group.
    pub(super) fn signal(&self, signal: Signal) {
        // Fails only when the last of them has ended.
        kill_process_group(self.pid, signal).ok();
    }

    /// How it ended; `None`: it has not.
    pub(super) fn take_status(mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.signal(Signal::KILL);
            locked(&self.left).push(child);
        }
    }
}

fn locked(left: &Left) -> MutexGuard<'_, Vec<Child>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}
