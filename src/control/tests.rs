//! The socket with a rule host that has no rules; what there is to say about rules is tested with the whole agent.

use super::{Answer, AskError, PlaceError, Recorded, Request, Sources, VERSION, ask, frame, serve};
use crate::{
    events::SelfMetrics,
    rules::{self, Joint, Overlay},
    snapshot::Snapshot,
    supervise::{Ended, Tasks},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};

struct Agent {
    tasks: Tasks,
    _ended: Ended,
    sources: Sources,
    _snapshots: watch::Sender<Arc<Snapshot>>,
    _inputs: mpsc::Receiver<crate::pipeline::Input>,
}

fn agent(dir: &Path) -> Agent {
    let (tasks, ended) = Tasks::new();
    let snapshot = Snapshot {
        number: 0,
        at: crate::model::Timestamp(0),
        interval: Duration::from_secs(5),
        cluster: "".into(),
        kafka: None,
        pages: Vec::new(),
        targets: Vec::new(),
    };
    let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
    let recorded_snapshots = receiver.clone();
    let (inputs, heard) = mpsc::channel(8);
    let joint = Joint { inputs, settled: watch::channel(Arc::default()).1, restored: BTreeMap::new() };
    let config = rules::Config {
        rules_dir: None,
        rules: Vec::new(),
        parse_sidecar: |_| Ok(Overlay::default()),
        cache_dir: dir.join("compiled"),
        compiler: PathBuf::new(),
    };
    let view = watch::channel(Arc::default()).0;
    let rules = rules::start(&tasks, config, receiver, joint, view, Arc::new(SelfMetrics::default())).unwrap();
    let recorded = Recorded {
        snapshots: recorded_snapshots,
        alerts: watch::channel(Arc::default()).1,
        rules: rules.clone(),
        configuration: watch::channel("".into()).1,
    };
    let sources = Sources { rules, recorded, tasks: tasks.clone() };
    Agent { tasks, _ended: ended, sources, _snapshots: snapshots, _inputs: heard }
}

/// Runs what waits on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(work()).ok());
    receiver.await.unwrap()
}

/// The answer, asked for from a thread of its own, since the client waits.
async fn asked(dir: &Path, request: Request) -> Result<Vec<Answer>, AskError> {
    let dir = dir.to_owned();
    apart(move || ask(&dir, request)?.collect()).await
}

fn inspect() -> Request {
    Request::Inspect { rule: "nix".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_agent_answers_in_a_private_folder_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than the name of a socket may be.
    let data_dir = dir.path().join("long".repeat(40));
    let nobody = asked(&data_dir, inspect()).await.unwrap_err().to_string();
    assert!(nobody.contains("no agent runs") && nobody.contains("--config"), "{nobody}");
    let agent = agent(dir.path());
    serve(&agent.tasks, &data_dir, agent.sources.clone()).unwrap();
    for request in [inspect(), Request::State { rule: "nix".into() }, Request::ResetState { rule: "nix".into() }] {
        let refused = asked(&data_dir, request).await.unwrap_err();
        assert!(matches!(&refused, AskError::Refused(why) if why.contains("no rule \"nix\"")), "{refused}");
    }
    let folder = data_dir.join("control");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("agent.sock"))), (0o700, 0o600));
    assert!(matches!(serve(&agent.tasks, &data_dir, agent.sources.clone()), Err(PlaceError::Taken(_))));
    assert!(agent.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    assert!(!folder.join("agent.sock").exists());
    assert!(matches!(asked(&data_dir, inspect()).await, Err(AskError::NoAgent(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_socket_left_by_a_killed_agent_is_no_obstacle_and_a_folder_open_to_others_is() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("control");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let agent = agent(dir.path());
    assert!(matches!(serve(&agent.tasks, dir.path(), agent.sources.clone()), Err(PlaceError::NotPrivate(_))));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("agent.sock")).unwrap());
    assert!(matches!(asked(dir.path(), inspect()).await, Err(AskError::NoAgent(_))));
    serve(&agent.tasks, dir.path(), agent.sources.clone()).unwrap();
    assert!(matches!(asked(dir.path(), inspect()).await, Err(AskError::Refused(_))));
    agent.tasks.shut_down(Duration::from_secs(5)).await;
}

/// Sends bytes as they are; what comes back.
async fn sent(dir: &Path, bytes: Vec<u8>) -> Answer {
    let path = dir.join("control/agent.sock");
    apart(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut head = [0; frame::HEAD];
        stream.read_exact(&mut head).unwrap();
        let mut json = vec![0; frame::length(head, 1 << 20).unwrap()];
        stream.read_exact(&mut json).unwrap();
        frame::decode(&json).unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_understood_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path());
    serve(&agent.tasks, dir.path(), agent.sources.clone()).unwrap();
    let framed = |json: &str| [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], json.as_bytes()].concat();
    let newer = framed(&format!(r#"{{"version":{},"request":{{"inspect":{{"rule":"a"}}}}}}"#, VERSION + 1));
    let unknown = framed(r#"{"version":1,"request":{"fly":{}}}"#);
    for (bytes, part) in [
        (newer, "use its own command line"),
        (unknown, "not understood"),
        (framed("nonsense"), "not understood"),
        (vec![0xff; 8], "at most 65536 are taken"),
    ] {
        let answer = sent(dir.path(), bytes).await;
        assert!(matches!(&answer, Answer::Refused(why) if why.contains(part)), "{part}: {answer:?}");
    }
    // Whoever says nothing keeps nobody waiting.
    let _silent: Vec<_> = (0..3).map(|_| UnixStream::connect(dir.path().join("control/agent.sock")).unwrap()).collect();
    assert!(matches!(asked(dir.path(), inspect()).await, Err(AskError::Refused(_))));
    assert!(agent.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recording_comes_in_pieces_and_ends_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path());
    serve(&agent.tasks, dir.path(), agent.sources.clone()).unwrap();
    let mut file = Vec::new();
    for answer in asked(dir.path(), Request::Record { for_ms: 1 }).await.unwrap() {
        let Answer::Piece(hex) = answer else { panic!("{answer:?}") };
        file.extend(crate::model::hex::bytes(&hex).unwrap());
    }
    let mut reader = crate::recording::Reader::new(&file[..]).unwrap();
    assert!(reader.header.started_ms > 0 && reader.next_snapshot().unwrap().is_none());
    assert!(agent.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
}
