//! `brokerwarden run`.

use super::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE, environment, log};
use crate::{
    app::{App, LoadConfig},
    config::{self, Config},
    supervise::Tasks,
};
use std::{future::Future, path::Path, process::ExitCode};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

pub(super) fn main(path: &Path) -> ExitCode {
    let config = match config::load(path, &environment) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let guard = log::start("info");
    let path = path.to_owned();
    let load = Box::new(move || config::load(&path, &environment).map_err(|error| error.to_string()));
    let code = block_on(agent(config, load));
    drop(guard);
    code
}

/// Runs a future on the agent's runtime. What still runs when it ends is left behind.
pub(super) fn block_on(future: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
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
            ExitCode::from(EXIT_RUNTIME)
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
    let (sender, receiver) = mpsc::channel(1);
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
