//! `brokerwarden run`.

use super::{
    EXIT_OK, EXIT_RUNTIME, EXIT_USAGE,
    log::{self, LogFormat},
};
use crate::{
    app::{App, LoadConfig, StartError},
    config::{self, Config},
    supervise::Tasks,
};
use std::{future::Future, path::Path, process::ExitCode};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Threads that all tasks share.
const WORKERS: usize = 2;
/// Hangups that may wait; those that come meanwhile are one with it.
const HANGUP_CAPACITY: usize = 1;

pub(super) fn main(path: &Path, format: Option<LogFormat>) -> ExitCode {
    let format = match LogFormat::choose(format) {
        Ok(format) => format,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let path = path.to_owned();
    let load = move || load(&path);
    let config = match load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let guard = log::start("info", format);
    let code = block_on(agent(config, Box::new(load)));
    drop(guard);
    code
}

/// Reads a configuration; the error is for people.
pub(super) fn load(path: &Path) -> Result<Config, String> {
    config::load(path, &config::process_environment).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

/// Runs a future on the agent's runtime. What still runs when it ends is left behind.
pub(super) fn block_on(future: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    match result {
        Ok(true) => ExitCode::from(EXIT_OK),
        Ok(false) => ExitCode::from(EXIT_RUNTIME),
        Err(error) => {
            eprintln!("{error:#}");
            let configuration = error.downcast_ref().is_some_and(StartError::is_configuration);
            ExitCode::from(if configuration { EXIT_USAGE } else { EXIT_RUNTIME })
        }
    }
}

async fn agent(config: Config, load: LoadConfig) -> anyhow::Result<bool> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hangup = signal(SignalKind::hangup())?;
    let app = App::start(config, load)?;
    let (tasks, _ended) = Tasks::new();
    let hangups = forward(&tasks, hangup);
    let shutdown = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let clean = app.run(shutdown, hangups).await;
    tasks.stop().stop();
    Ok(clean)
}

/// SIGHUPs as items of a channel; those that come while one is being served are one.
fn forward(tasks: &Tasks, mut hangup: Signal) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(HANGUP_CAPACITY);
    let stop = tasks.stop();
    tasks.task("sighup", async move {
        loop {
            tokio::select! {
                () = stop.wait() => return,
                _ = hangup.recv() => {
                    sender.try_send(()).ok(); // full: one is waiting already
                }
            }
        }
    });
    receiver
}
