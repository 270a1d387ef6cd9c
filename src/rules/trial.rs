//! The trial of a version before it goes live: which version of its state it writes, whether it takes over what the one
//! before it remembers, whether its configuration is good, and a dry run. All of that runs its code. A version that may take
//! more CPU time than most is tried on a thread of its own, where it holds up only others of its kind.

use super::{
    Limits,
    evaluate::{self, Job},
    load::LoadError,
    memory::Memory,
    registry::Version,
    state::State,
};
use crate::{pipeline::Verdict, snapshot::Snapshot, supervise::Stop};
use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, TrySendError},
};
use tokio::sync::oneshot;

/// What versions are tried with.
#[derive(Clone)]
pub(super) struct Trials {
    secret: [u8; 32],
    stop: Stop,
    /// `None`: all are tried on the caller's thread.
    slow: Option<SyncSender<Waiting>>,
}

/// A version that waits for its trial on the other thread.
pub(super) struct Waiting {
    version: Version,
    memory: Memory,
    snapshot: Arc<Snapshot>,
    answer: oneshot::Sender<Result<Version, LoadError>>,
}

/// What comes of it.
pub(super) type Answer = oneshot::Receiver<Result<Version, LoadError>>;

/// How far a trial came.
pub(super) enum Tried {
    /// It may go live, or not.
    Done(Result<Version, LoadError>),
    /// It is under way on the other thread, which answers here.
    Begun(Answer),
    /// Too many wait for that thread: ask again.
    Later,
}

impl Trials {
    /// Trials with the random of evaluations that comes from `secret`.
    pub(super) fn new(secret: [u8; 32], stop: Stop) -> Self {
        Self { secret, stop, slow: None }
    }

    /// The same, with a thread ([`serve`]) for versions that may take long.
    pub(super) fn with_thread(self, slow: SyncSender<Waiting>) -> Self {
        Self { slow: Some(slow), ..self }
    }

    /// Tries a version that would take over `memory`.
    pub(super) fn begin(&self, version: Version, memory: Memory, snapshot: &Arc<Snapshot>) -> Tried {
        let slow = self.slow.as_ref().filter(|_| version.limits.time > Limits::default().time);
        let Some(slow) = slow else { return Tried::Done(self.whole(version, memory, snapshot)) };
        let (answer, begun) = oneshot::channel();
        match slow.try_send(Waiting { version, memory, snapshot: Arc::clone(snapshot), answer }) {
            Ok(()) => Tried::Begun(begun),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Tried::Later,
        }
    }

    fn whole(&self, mut version: Version, mut memory: Memory, snapshot: &Arc<Snapshot>) -> Result<Version, LoadError> {
        version.writes_as = self.state_version(&version.job(Arc::clone(snapshot), Memory::default()))?;
        memory.state = self.take_over(&version, &memory.state, snapshot)?;
        self.try_out(&version.job(Arc::clone(snapshot), memory))?;
        Ok(version)
    }

    /// Which version of its state the rule writes.
    fn state_version(&self, job: &Job) -> Result<u32, LoadError> {
        evaluate::state_version(job, &self.secret, &self.stop).map_err(LoadError::State)
    }

    /// What a version remembers that takes over from the one before: a copy, migrated where it has to be.
    pub(super) fn take_over(
        &self,
        version: &Version,
        before: &State,
        snapshot: &Arc<Snapshot>,
    ) -> Result<State, LoadError> {
        let refused = |text: String| LoadError::State(text);
        let (state, from) = before.taken_over_by(version.writes_as).map_err(|no_way| refused(no_way.to_string()))?;
        let Some(previous) = from else { return Ok(state) };
        let memory = Memory { state, ..Memory::default() };
        let migrated =
            evaluate::migrate(&version.job(Arc::clone(snapshot), memory), previous, &self.secret, &self.stop);
        migrated.map_err(|text| refused(format!("it does not migrate what version {previous} wrote: {text}")))
    }

    /// Would the rule work as it is configured, on what is observed now? What it says is thrown away.
    pub(super) fn try_out(&self, job: &Job) -> Result<(), LoadError> {
        evaluate::check_config(job, &self.secret, &self.stop).map_err(LoadError::Config)?;
        match evaluate::evaluate(job, &self.secret, &self.stop).verdict {
            Verdict::Outcome(_) | Verdict::Unavailable(_) => Ok(()),
            Verdict::Failed { reason, text } => Err(LoadError::DryRun { reason, text }),
        }
    }
}

/// The thread for versions that may take long; ends when nobody can send it any more.
pub(super) fn serve(trials: &Trials, waiting: &Receiver<Waiting>) {
    for Waiting { version, memory, snapshot, answer } in waiting {
        // Nobody may want it any more: its file was changed or removed.
        if !answer.is_closed() {
            answer.send(trials.whole(version, memory, &snapshot)).ok();
        }
    }
}
