//! Named tasks and threads, one stop signal, one deadline. The only place that spawns.

use std::{
    future::Future,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// How many ends of tasks may wait to be looked at; more would only repeat "stop".
const ENDED_CAPACITY: usize = 64;
/// Bytes of a thread's name that Linux keeps.
const MAX_THREAD_NAME: usize = 15;

/// Tells tasks and threads to end. Cloning shares the signal.
#[derive(Clone, Debug)]
pub struct Stop {
    token: CancellationToken,
    bell: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    /// A signal of its own, not yet given.
    pub fn new() -> Self {
        Self { token: CancellationToken::new(), bell: Arc::default() }
    }

    /// Gives the signal.
    pub fn stop(&self) {
        self.token.cancel();
        let (stopped, bell) = &*self.bell;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
    }

    /// Was it given?
    pub fn stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when it is given. For async code.
    pub fn wait(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// Sleeps for `limit`, or until the signal is given; then true. For threads.
    pub fn sleep(&self, limit: Duration) -> bool {
        let (stopped, bell) = &*self.bell;
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) =
            bell.wait_timeout_while(guard, limit, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

enum Running {
    Task(tokio::task::JoinHandle<()>),
    Thread(thread::JoinHandle<()>),
}

/// A group of named tasks and threads that end together. Cloning shares the group.
#[derive(Clone)]
pub struct Tasks {
    stop: Stop,
    ended: mpsc::Sender<String>,
    running: Arc<Mutex<Vec<(String, Running)>>>,
}

/// Hears of tasks that ended by themselves, which none should.
pub struct Ended(mpsc::Receiver<String>);

impl Ended {
    /// The name of the next task that ended without being told to. Cancel-safe.
    pub async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

impl Tasks {
    /// An empty group, and where it tells of tasks that end by themselves.
    pub fn new() -> (Self, Ended) {
        let (ended, receiver) = mpsc::channel(ENDED_CAPACITY);
        (Self { stop: Stop::new(), ended, running: Arc::default() }, Ended(receiver))
    }

    /// A group with a stop signal of its own, which whoever makes it must give, that tells of ended tasks to the
    /// same place.
    #[must_use]
    pub fn group(&self) -> Self {
        Self { stop: Stop::new(), ended: self.ended.clone(), running: Arc::default() }
    }

    /// The signal that ends this group.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs a future on the present runtime until it ends; it should end soon after the stop signal.
    pub fn task(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        let guard = EndGuard { name: name.to_owned(), stop: self.stop(), ended: self.ended.clone() };
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let handle = tokio::spawn(async move {
            let _guard = guard;
            future.await;
        });
        self.keep(name, Running::Task(handle));
    }

    /// Runs a closure on a thread of its own. The name is cut to [`MAX_THREAD_NAME`].
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn thread(&self, name: &str, body: impl FnOnce(Stop) + Send + 'static) -> std::io::Result<()> {
        let guard = EndGuard { name: name.to_owned(), stop: self.stop(), ended: self.ended.clone() };
        let stop = self.stop();
        let short = crate::model::clip(name, MAX_THREAD_NAME).to_owned();
        let handle = thread::Builder::new().name(short).spawn(move || {
            let _guard = guard;
            body(stop);
        })?;
        self.keep(name, Running::Thread(handle));
        Ok(())
    }

    fn keep(&self, name: &str, running: Running) {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, running)| match running {
            Running::Task(handle) => !handle.is_finished(),
            Running::Thread(handle) => !handle.is_finished(),
        });
        all.push((name.to_owned(), running));
    }

    /// Gives the stop signal and waits up to `grace` for all to end. Returns the names of those that did not: tasks
    /// among them are aborted, threads are left behind (they hold nothing that the process needs to end).
    pub async fn shut_down(&self, grace: Duration) -> Vec<String> {
        self.stop.stop();
        let deadline = Instant::now() + grace;
        let mut late = Vec::new();
        let all = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, running) in all {
            let ended = match running {
                Running::Task(mut handle) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let ended = tokio::time::timeout(left, &mut handle).await.is_ok();
                    if !ended {
                        handle.abort();
                    }
                    ended
                }
                Running::Thread(handle) => loop {
                    if handle.is_finished() {
                        break true;
                    }
                    if Instant::now() >= deadline {
                        break false;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                },
            };
            if !ended {
                late.push(name);
            }
        }
        late
    }
}

/// Short-lived tasks of one kind, each of which may end by itself. Their owner awaits them; dropping this aborts them.
#[derive(Debug, Default)]
pub struct Children(JoinSet<()>);

impl Children {
    /// Runs a future on the present runtime.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future);
    }

    /// How many run. Forgets those that ended.
    pub fn running(&mut self) -> usize {
        while let Some(ended) = self.0.try_join_next() {
            tell_panic(ended);
        }
        self.0.len()
    }

    /// Waits up to `grace` for all to end, then aborts the rest. Returns how many those were.
    pub async fn shut_down(mut self, grace: Duration) -> usize {
        let all = async {
            while let Some(ended) = self.0.join_next().await {
                tell_panic(ended);
            }
        };
        drop(tokio::time::timeout(grace, all).await);
        self.0.len()
    }

    /// Waits for the next to end; for ever while none runs. Cancel-safe.
    pub async fn next_ended(&mut self) {
        match self.0.join_next().await {
            Some(ended) => tell_panic(ended),
            None => std::future::pending().await,
        }
    }
}

fn tell_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task ended badly");
    }
}

/// Tells that a task ended, also when it panicked, unless it was told to end.
struct EndGuard {
    name: String,
    stop: Stop,
    ended: mpsc::Sender<String>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.stop.stopped() && self.ended.try_send(std::mem::take(&mut self.name)).is_err() {
            // Full or closed: somebody is being told to stop already.
            self.stop.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_named_and_a_stopped_one_is_not() {
        let (tasks, mut ended) = Tasks::new();
        tasks.task("short", async {});
        assert_eq!(ended.next().await.as_deref(), Some("short"));
        let stop = tasks.stop();
        tasks.task("obedient", async move { stop.wait().await });
        tasks.task("deaf", std::future::pending());
        assert_eq!(tasks.shut_down(Duration::from_millis(50)).await, ["deaf"]);
    }

    #[tokio::test]
    async fn children_end_by_themselves_and_the_slow_are_counted() {
        let mut children = Children::default();
        children.spawn(async {});
        children.next_ended().await;
        assert_eq!(children.running(), 0);
        children.spawn(async { panic!("on purpose") });
        children.spawn(std::future::pending());
        children.next_ended().await;
        assert_eq!(children.running(), 1);
        assert_eq!(children.shut_down(Duration::from_millis(20)).await, 1);
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_named_and_a_sleeping_one_wakes() {
        let (tasks, mut ended) = Tasks::new();
        tasks.thread("bad", |_| panic!("on purpose")).unwrap();
        assert_eq!(ended.next().await.as_deref(), Some("bad"));
        tasks.thread("sleeper", |stop| assert!(stop.sleep(Duration::from_mins(1)))).unwrap();
        assert!(tasks.shut_down(Duration::from_secs(10)).await.is_empty());
    }
}
