//! `brokerwarden demo`: the real agent on the demo's world, and what it sees on standard output.

use super::{
    log::{self, LogFormat},
    run::{block_on, load},
};
use crate::{
    app::{App, Looks},
    demo::{
        self, ScratchDir, World,
        table::{self, Told, Trend},
    },
    supervise::{Stop, Tasks},
};
use anyhow::Context;
use std::{
    io::{IsTerminal, Write, stdout},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(500);
/// How long the demo's world may take to end, after the agent.
const WORLD_GRACE: Duration = Duration::from_millis(800);
/// Columns of a terminal that does not say how many it has.
const DEFAULT_WIDTH: usize = 100;

pub(super) fn main(listen: SocketAddr, duration: Option<Duration>) -> ExitCode {
    // On a terminal the table would be torn by anything else.
    let guard = log::start(if stdout().is_terminal() { "off" } else { "warn" }, LogFormat::Text);
    let code = block_on(demo(listen, duration));
    drop(guard);
    code
}

async fn demo(listen: SocketAddr, duration: Option<Duration>) -> anyhow::Result<bool> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Of a terminal that was closed; there is no file to read again.
    let mut hangup = signal(SignalKind::hangup())?;
    let scratch = ScratchDir::new()?;
    let (tasks, mut ended) = Tasks::new();
    let world = World::start(&tasks).await?;
    let path = scratch.path().join("agent.yaml");
    std::fs::write(&path, demo::config_yaml(&world, &listen.to_string(), scratch.path()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let load = Box::new(move || load(&path));
    let app = App::start(load().map_err(anyhow::Error::msg)?, load)?;
    let show = show(app.looks(), world, format!("http://{}", app.address()), tasks.stop());
    tasks.task("table", show);
    let shutdown = async move {
        let time_is_up = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            _ = hangup.recv() => true,
            () = time_is_up => true,
            name = ended.next() => {
                tracing::error!(task = name, "a part of the demo's world ended on its own; stopping");
                false
            }
        }
    };
    let mut world_is_well = true;
    let shutdown = async { world_is_well = shutdown.await };
    let (_no_hangups, hangups) = mpsc::channel(1);
    let clean = app.run(shutdown, hangups).await;
    tasks.shut_down(WORLD_GRACE).await;
    Ok(clean && world_is_well)
}

async fn show(looks: Looks, world: World, url: String, stop: Stop) {
    let mut timer = interval(REDRAW);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let terminal = stdout().is_terminal();
    let (mut trend, mut told) = (Trend::default(), Told::default());
    if !terminal {
        print(&format!(
            "metrics: {url}/metrics  rules: {url}/api/v1/rules  alerts: {url}/api/v1/alerts  people: {url}/\n"
        ));
    }
    loop {
        tokio::select! { () = stop.wait() => return, _ = timer.tick() => {} }
        let (snapshot, alerts, rules) =
            (looks.snapshots.borrow().clone(), looks.alerts.borrow().clone(), looks.rules.borrow().clone());
        if terminal {
            print(&table::render(&snapshot, &alerts, &rules, &mut trend, width(), &url, world.elapsed()));
        } else {
            for line in table::lines(&snapshot, &alerts, &rules, &mut told, world.elapsed()) {
                print(&format!("{line}\n"));
            }
        }
    }
}

/// A reader that went away (`| head`) is no reason to stop.
fn print(text: &str) {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(DEFAULT_WIDTH)
}
