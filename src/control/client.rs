//! Asks a running agent, and waits for it: for the command line, which has nothing else to do.

use super::{
    ANSWER_TIMEOUT, Answer, Envelope, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, REQUEST_TIMEOUT, Request, VERSION, frame,
    place::Place,
};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent runs with the data_dir {0}: start it, or name its configuration with --config")]
    NoAgent(PathBuf),
    /// It is somebody else's.
    #[error("not allowed to ask the agent with the data_dir {0}: run this as the agent's user")]
    NotAllowed(PathBuf),
    /// It went away, or is too slow.
    #[error("the agent does not answer")]
    Io(#[from] io::Error),
    /// It says what we do not understand.
    #[error("the agent's answer cannot be read: {0}")]
    Answer(String),
    /// It says why not.
    #[error("{0}")]
    Refused(String),
}

/// The frames of an answer up to its end, as they come. After an error there are no more.
pub struct Answers(Option<UnixStream>);

/// Asks the agent that runs with this `data_dir`.
///
/// # Errors
/// When no agent can be asked. That it refuses is the first of the answers.
pub fn ask(data_dir: &Path, request: Request) -> Result<Answers, AskError> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoAgent(data_dir.to_owned()),
        io::ErrorKind::PermissionDenied => AskError::NotAllowed(data_dir.to_owned()),
        _ => AskError::Io(error),
    };
    let place = Place::find(data_dir).map_err(refused)?;
    let mut stream = UnixStream::connect(place.socket()).map_err(refused)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let envelope = Envelope { version: VERSION, request };
    let bytes = frame::encode(&envelope, MAX_REQUEST_BYTES).map_err(|error| AskError::Answer(error.to_string()))?;
    stream.write_all(&bytes)?;
    Ok(Answers(Some(stream)))
}

impl Iterator for Answers {
    type Item = Result<Answer, AskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = read(self.0.as_mut()?);
        match answer {
            Ok(Answer::Done) => {
                self.0 = None;
                None
            }
            Ok(Answer::Refused(why)) => {
                self.0 = None;
                Some(Err(AskError::Refused(why)))
            }
            Ok(answer) => Some(Ok(answer)),
            Err(error) => {
                self.0 = None;
                Some(Err(error))
            }
        }
    }
}

fn read(stream: &mut UnixStream) -> Result<Answer, AskError> {
    let unreadable = |error: frame::FrameError| AskError::Answer(error.to_string());
    let mut head = [0; frame::HEAD];
    stream.read_exact(&mut head)?;
    let mut json = vec![0; frame::length(head, MAX_FRAME_BYTES).map_err(unreadable)?];
    stream.read_exact(&mut json)?;
    frame::decode(&json).map_err(unreadable)
}
