//! Serves the socket: few connections at once, each with one request, each wait with its deadline.

use super::{
    Answer, Envelope, MAX_CONNECTIONS, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, REQUEST_TIMEOUT, VERSION, WRITE_TIMEOUT,
    answer::{Sources, answer},
    frame,
    place::{Place, PlaceError},
};
use crate::supervise::{Children, Stop, Tasks};
use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// How long connections may go on when all is being stopped.
const GRACE: Duration = Duration::from_millis(200);

/// Listens in `data_dir` and starts to answer. To be called within a runtime.
///
/// # Errors
/// When there is no private folder for the socket, or another agent listens there.
pub fn serve(tasks: &Tasks, data_dir: &Path, sources: Sources) -> Result<(), PlaceError> {
    let place = Place::prepare(data_dir)?;
    let failed = |source: io::Error| PlaceError::Io { path: place.shown(), source };
    let socket = place.socket();
    match std::os::unix::net::UnixStream::connect(&socket) {
        Ok(_) => return Err(PlaceError::Taken(place.shown())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // An agent that was killed left it there.
        Err(_) => fs::remove_file(&socket).map_err(failed)?,
    }
    let listener = UnixListener::bind(&socket).map_err(failed)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    tasks.task("control", run(listener, place, sources, tasks.stop()));
    Ok(())
}

async fn run(listener: UnixListener, place: Place, sources: Sources, stop: Stop) {
    let mut children = Children::default();
    loop {
        let full = children.running() >= MAX_CONNECTIONS;
        tokio::select! {
            () = stop.wait() => break,
            () = children.next_ended() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => children.spawn(converse(stream, sources.clone())),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the command line");
                    tokio::time::sleep(GRACE).await;
                }
            }
        }
    }
    children.shut_down(GRACE).await;
    if let Err(error) = fs::remove_file(place.socket()) {
        tracing::warn!(%error, socket = %place.shown().display(), "cannot remove our socket");
    }
}

/// One request and its answer. Whoever went away is no concern of ours.
async fn converse(stream: UnixStream, sources: Sources) {
    let mut out = Out { stream };
    let result = match tokio::time::timeout(REQUEST_TIMEOUT, out.request()).await {
        Ok(Ok(envelope)) if envelope.version == VERSION => answer(&sources, envelope.request, &mut out).await,
        Ok(Ok(_)) => out.send(&Answer::Refused(other_version())).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            out.send(&Answer::Refused(format!("{error} ({})", other_version()))).await
        }
        Ok(Err(error)) => Err(error),
        Err(_) => out.send(&Answer::Refused("the request did not come in time".to_owned())).await,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an answer to the command line was not taken");
    }
}

fn other_version() -> String {
    format!("this agent is brokerwarden {}: use its own command line", env!("CARGO_PKG_VERSION"))
}

/// The other side.
pub(super) struct Out {
    stream: UnixStream,
}

impl Out {
    async fn request(&mut self) -> io::Result<Envelope> {
        let invalid = |error: frame::FrameError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let mut head = [0; frame::HEAD];
        self.stream.read_exact(&mut head).await?;
        let mut json = vec![0; frame::length(head, MAX_REQUEST_BYTES).map_err(invalid)?];
        self.stream.read_exact(&mut json).await?;
        frame::decode(&json).map_err(invalid)
    }

    /// Sends a frame, once the other side has room for it.
    pub(super) async fn send(&mut self, answer: &Answer) -> io::Result<()> {
        let bytes = frame::encode(answer, MAX_FRAME_BYTES).map_err(io::Error::other)?;
        tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all(&bytes)).await?
    }
}
