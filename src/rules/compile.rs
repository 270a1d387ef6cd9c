//! Compiles a module to machine code in a child process: a compiler can be made to eat hours and gigabytes by a small
//! file. Child and parent are this same program; the child limits itself, the parent limits its wall time.
//! Nothing of the module runs here.

use super::{componentize, engine, limits};
use crate::{model::BoundedText, supervise::Stop};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Resource, Rlimit, Signal, setpriority_process, setrlimit},
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The hidden subcommand that makes the program compile standard input to standard output.
pub const SUBCOMMAND: &str = "compile-rule";
/// Priority of the child, as for `nice`.
const NICE: i32 = 10;
/// How often the parent looks whether the child is done.
const POLL: Duration = Duration::from_millis(5);

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CompileError {
    /// The module is at fault; the text says how.
    #[error("{0}")]
    Module(String),
    /// The module takes too long to compile.
    #[error("compiling it takes more than {0:?}")]
    Time(Duration),
    /// The module takes too much memory to compile.
    #[error("compiling it takes more than {mib} MiB of memory, or was ended by {0}", mib = limits::COMPILE_MEMORY >> 20)]
    Killed(String),
    /// The machine is at fault.
    #[error("cannot run the compiler: {what}")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// We are being stopped.
    #[error("stopped while compiling")]
    Stopped,
}

/// Turns bytes of a user's file into machine code: what the child does, without its limits.
pub(super) fn compile_bytes(bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    let module = |text: String| CompileError::Module(text);
    let component = componentize::component(bytes).map_err(module)?;
    let engine = engine::for_compiling().map_err(|error| module(format!("{error:#}")))?;
    engine.precompile_component(&component).map_err(|error| module(format!("{error:#}")))
}

/// The whole life of the child: limits itself, reads a module, writes machine code.
pub fn child_main() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error goes to the parent, which cuts and escapes it; there is nobody to tell if it is gone.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn child() -> Result<(), CompileError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| setpriority_process(None, NICE).map(drop))
        .map_err(|error| machine("preparing it")(error.into()))?;
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Cpu, limits::COMPILE_CPU.as_secs()),
        (Resource::As, limits::COMPILE_MEMORY),
        (Resource::Fsize, limits::MAX_COMPILED_BYTES),
    ] {
        // The hard limit lies above: at it the kernel kills without saying why.
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most.saturating_add(1)) })
            .map_err(|error| machine("limiting it")(error.into()))?;
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(limits::MAX_MODULE_BYTES).read_to_end(&mut bytes).map_err(machine("reading the module"))?;
    let code = compile_bytes(&bytes)?;
    let mut out = io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).map_err(machine("writing the code"))
}

/// A module on its way to machine code.
pub(super) enum Compiling {
    /// In a child.
    Child(Box<InChild>),
    /// At its end already.
    Done(Result<Vec<u8>, CompileError>),
}

impl Compiling {
    /// Waits up to `limit` for the end. `Err` = not there yet: ask again later.
    pub(super) fn wait(self, limit: Duration, stop: &Stop) -> Result<Result<Vec<u8>, CompileError>, Self> {
        match self {
            Self::Done(result) => Ok(result),
            Self::Child(mut child) => child.wait(limit, stop).ok_or(Self::Child(child)),
        }
    }
}

/// A child that compiles. Ended when this is dropped.
pub(super) struct InChild {
    child: Child,
    output: File,
    words: File,
    wall: Duration,
    deadline: Instant,
}

/// Starts to compile in a child; `compiler` is the program, normally `/proc/self/exe`.
pub(super) fn in_child(compiler: &Path, bytes: &[u8]) -> Compiling {
    match InChild::start(compiler, bytes, limits::COMPILE_WALL) {
        Ok(child) => Compiling::Child(Box::new(child)),
        Err(error) => Compiling::Done(Err(error)),
    }
}

fn machine(what: &'static str) -> impl Fn(io::Error) -> CompileError {
    move |source| CompileError::Machine { what, source }
}

impl InChild {
    fn start(compiler: &Path, bytes: &[u8], wall: Duration) -> Result<Self, CompileError> {
        // Files in memory instead of pipes: nobody can block, and nobody else can write to them.
        let memory = |name: &str| -> Result<File, CompileError> {
            let fd =
                memfd_create(name, MemfdFlags::CLOEXEC).map_err(|error| machine("reserving memory")(error.into()))?;
            Ok(File::from(fd))
        };
        let (mut input, output, words) = (memory("module")?, memory("code")?, memory("words")?);
        input.write_all(bytes).and_then(|()| input.rewind()).map_err(machine("handing over the module"))?;
        let stdio = |file: &File| file.try_clone().map(Stdio::from).map_err(machine("handing over a file"));
        let child = Command::new(compiler)
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(stdio(&input)?)
            .stdout(stdio(&output)?)
            .stderr(stdio(&words)?)
            .spawn()
            .map_err(machine("starting it"))?;
        let deadline = Instant::now() + wall;
        Ok(Self { child, output, words, wall, deadline })
    }

    /// What came of it; `None` = it is still at it after `limit`.
    fn wait(&mut self, limit: Duration, stop: &Stop) -> Option<Result<Vec<u8>, CompileError>> {
        let until = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(self.result(status)),
                Ok(None) => {}
                Err(error) => return Some(Err(machine("waiting for it")(error))),
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Some(Err(CompileError::Time(self.wall)));
            }
            if now >= until {
                return None;
            }
            if stop.sleep(POLL) {
                return Some(Err(CompileError::Stopped));
            }
        }
    }

    fn result(&mut self, status: ExitStatus) -> Result<Vec<u8>, CompileError> {
        if status.success() {
            return read(&mut self.output, limits::MAX_COMPILED_BYTES).map_err(machine("reading the code"));
        }
        let said = read(&mut self.words, limits::MAX_COMPILER_WORDS).map_err(machine("reading what it said"))?;
        let said = String::from_utf8_lossy(&said);
        let said = BoundedText(said.trim(), limits::MAX_REASON).to_string();
        Err(match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::XCPU) => CompileError::Time(limits::COMPILE_CPU),
            Some(signal) => CompileError::Killed(format!("signal {}: {said}", signal.as_raw())),
            None => CompileError::Module(said),
        })
    }
}

impl Drop for InChild {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &tempfile::TempDir, body: &str) -> std::path::PathBuf {
        let path = dir.path().join("compiler");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn end(compiling: Compiling, stop: &Stop) -> Result<Vec<u8>, CompileError> {
        compiling.wait(Duration::from_mins(1), stop).unwrap_or_else(|_| panic!("it does not end"))
    }

    #[test]
    fn the_child_gets_the_module_and_no_environment_and_its_output_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let compiler = script(&dir, r#"[ "$1" = compile-rule ] && [ -z "$HOME$USER" ] && cat"#);
        assert_eq!(end(in_child(&compiler, b"bytes"), &Stop::new()).unwrap(), b"bytes");
    }

    #[test]
    fn a_child_that_hangs_fails_dies_or_is_missing_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let start = |body: &str| {
            Compiling::Child(Box::new(InChild::start(&script(&dir, body), b"x", Duration::from_millis(300)).unwrap()))
        };
        let run = |body: &str| end(start(body), &Stop::new());
        assert!(matches!(run("exec sleep 60"), Err(CompileError::Time(_))));
        assert!(matches!(run("echo bad module >&2; exit 1"), Err(CompileError::Module(text)) if text == "bad module"));
        assert!(matches!(run("kill -XCPU $$"), Err(CompileError::Time(limit)) if limit == limits::COMPILE_CPU));
        assert!(matches!(run("kill -ABRT $$"), Err(CompileError::Killed(text)) if text.contains("signal 6")));
        let missing = end(in_child(Path::new("/nonexistent/compiler"), b"x"), &Stop::new());
        assert!(matches!(missing, Err(CompileError::Machine { .. })));
        let stop = Stop::new();
        stop.stop();
        let stopped = end(start("exec sleep 60"), &stop);
        assert!(matches!(stopped, Err(CompileError::Stopped)));
    }

    #[test]
    fn what_is_no_component_is_refused_in_clear_words() {
        let refused = |bytes: &[u8]| compile_bytes(bytes).unwrap_err().to_string();
        assert!(refused(b"").contains("not a WebAssembly component"));
        assert!(refused(b"\x7fELF\x02\x01\x01").contains("machine code"));
        let plain = wat::parse_str("(module (memory 1))").unwrap();
        assert!(refused(&plain).contains("core module, and neither says which world"));
        let component = wat::parse_str("(component)").unwrap();
        let code = compile_bytes(&component).unwrap();
        assert!(refused(&code).contains("machine code"));
        let long = [&component[..], &[0xff; 40]].concat();
        assert!(!refused(&long).is_empty());
    }
}
