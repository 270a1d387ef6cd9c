//! Programs that behave, and programs that do not.

use super::*;
use std::time::Instant;

fn with(name: &str, script: &str, arguments: &[&str], timeout: Duration) -> Config {
    Config { timeout, ..action(name, shell(script, arguments)) }
}

#[tokio::test]
async fn a_program_gets_its_arguments_as_they_are_and_nothing_else() {
    let script = "printf '<%s>' \"$@\"; printf '|'; env | sort | tr '\\n' ' '";
    let mut world = World::new(vec![with("a", script, &["{{x}}", "--y={{y}}", "lit eral"], LONG)]);
    let mut asked = deed(1, "a", "the key");
    asked.params = labels(&[("x", "$(id) '\"; rm *\n{{y}}"), ("y", "-rf")]);
    let result = world.do_one(asked).await;
    assert_eq!((result.end, result.attempts), (DeedEnd::Done, 1), "{}", result.text);
    let text = result.text;
    assert!(text.starts_with("exit code 0: <$(id) '\"; rm *\\n{{y}}><--y=-rf><lit eral>|"), "{text}");
    let environment = text.split('|').nth(1).unwrap();
    let mut names: Vec<_> =
        environment.split(' ').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)); // the shell's own
    assert_eq!(
        names,
        [
            "BROKERWARDEN_ACTION",
            "BROKERWARDEN_CLUSTER",
            "BROKERWARDEN_IDEMPOTENCY_KEY",
            "BROKERWARDEN_KEY",
            "BROKERWARDEN_RULE",
            "PATH"
        ],
    );
    assert!(
        environment.contains("BROKERWARDEN_KEY=the key ") && environment.contains("IDEMPOTENCY_KEY=id-1 "),
        "{environment}"
    );
    world.stop().await;
}

/// Did whoever started these tests leave that descriptor open to all that is started by them?
fn inherited(descriptor: &str) -> bool {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    !["0", "1", "2"].contains(&descriptor) && flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

#[tokio::test]
async fn a_program_has_no_descriptors_of_ours_and_a_group_of_its_own() {
    let _held = std::fs::File::open("/proc/self/status").unwrap();
    let script = "for fd in /proc/$$/fd/*; do printf '%s ' ${fd##*/}; done; printf '|'; cut -d' ' -f1,5 /proc/$$/stat; \
                  printf '|'; pwd; printf '|'; cat";
    let mut world = World::new(vec![with("a", script, &[], LONG)]);
    let text = world.do_one(deed(1, "a", "k")).await.text;
    let parts: Vec<_> = text.strip_prefix("exit code 0: ").unwrap().split('|').collect();
    let mut descriptors: Vec<_> = parts[0].split_whitespace().filter(|fd| !inherited(fd)).collect();
    descriptors.sort_unstable();
    // One more is the shell's own look at the folder, and one its script, if it has them.
    assert!(descriptors.starts_with(&["0", "1"]) && descriptors.contains(&"2"), "{text}");
    assert!(descriptors.len() <= 5, "{text}");
    let ids: Vec<_> = parts[1].trim_end_matches("\\n").split(' ').collect();
    assert_eq!(ids[0], ids[1], "{text}");
    assert_eq!((parts[2], parts[3]), ("/\\n", ""), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn how_it_ended_is_told_and_a_failure_is_not_repeated() {
    let mut world = World::new(vec![
        with("code", "echo oops >&2; exit 3", &[], LONG),
        with("signal", "kill -SEGV $$", &[], LONG),
        action(
            "missing",
            Kind::Exec(Exec { program: "/nonexistent/x".into(), arguments: Vec::new(), environment: BTreeMap::new() }),
        ),
        action("folder", Kind::Exec(Exec { program: "/".into(), arguments: Vec::new(), environment: BTreeMap::new() })),
        action(
            "secret",
            Kind::Exec(Exec {
                program: "/bin/true".into(),
                arguments: Vec::new(),
                environment: BTreeMap::from([("T".to_owned(), Secret::File("/nonexistent/secret".into()))]),
            }),
        ),
        with("hole", "true", &["{{gone}}"], LONG),
    ]);
    for (name, said) in [
        ("code", "exit code 3: oops"),
        ("signal", "ended by signal 11"),
        ("missing", "cannot start /nonexistent/x: No such file"),
        ("folder", "cannot start /: Permission denied"),
        ("secret", "cannot read the file for environment.T: No such file"),
        ("hole", "a parameter of {{gone}} is missing"),
    ] {
        let result = world.do_one(deed(1, name, "k")).await;
        assert_eq!((result.end, result.attempts), (DeedEnd::Failed, 1), "{name}");
        assert!(result.text.starts_with(said), "{name}: {}", result.text);
        assert_eq!((world.count(name, "failed"), world.count(name, "retried")), (1.0, 0.0));
    }
    world.stop().await;
}

#[tokio::test]
async fn who_writes_without_end_is_read_capped_and_killed_in_time() {
    let limit = Duration::from_millis(700);
    let mut world = World::new(vec![
        with("yes", "exec yes", &[], limit),
        with("much", "head -c 3000000 /dev/zero | tr '\\0' '\\033'; echo end", &[], LONG),
    ]);
    let start = Instant::now();
    let result = world.do_one(deed(1, "yes", "k")).await;
    assert_eq!(result.end, DeedEnd::Failed);
    assert!(result.text.starts_with("it did not end within 700ms and was killed: y\\ny\\n"), "{}", result.text);
    assert!(result.text.len() <= crate::pipeline::MAX_RESULT_TEXT);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let result = world.do_one(deed(2, "much", "k")).await;
    assert_eq!(result.end, DeedEnd::Done, "{}", result.text);
    assert!(
        !result.text.contains('\u{1b}') && result.text.len() <= crate::pipeline::MAX_RESULT_TEXT,
        "{}",
        result.text
    );
    world.stop().await;
}

#[tokio::test]
async fn the_whole_group_is_killed_also_who_ignores_being_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! > $1; echo $$ >> $1; while :; do sleep 1; done";
    let mut world = World::new(vec![with("deaf", script, &[file.to_str().unwrap()], Duration::from_millis(500))]);
    let start = Instant::now();
    let result = world.do_one(deed(1, "deaf", "k")).await;
    assert_eq!(result.end, DeedEnd::Failed);
    assert!(result.text.contains("was killed"), "{}", result.text);
    assert!(start.elapsed() >= Duration::from_millis(1500), "it was told before: {:?}", start.elapsed());
    let pids = read(&file);
    assert_eq!(pids.lines().count(), 2, "{pids}");
    until("both are gone", || !pids.lines().any(runs)).await;
    world.stop().await;
}

#[tokio::test]
async fn who_heeds_being_told_may_clean_up() {
    let script = "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let mut world = World::new(vec![with("tidy", script, &[], Duration::from_millis(400))]);
    let result = world.do_one(deed(1, "tidy", "k")).await;
    assert!(result.end == DeedEnd::Failed && result.text.contains("cleaned"), "{}", result.text);
    world.stop().await;
}

#[tokio::test]
async fn a_child_that_keeps_the_pipe_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let mut world =
        World::new(vec![with("parent", "sleep 30 & echo $! > $1; echo done", &[file.to_str().unwrap()], LONG)]);
    let start = Instant::now();
    let result = world.do_one(deed(1, "parent", "k")).await;
    assert_eq!((result.end, result.text.as_str()), (DeedEnd::Done, "exit code 0: done"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // What a program leaves running was meant to run.
    let pid = read(&file);
    assert!(runs(&pid));
    std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
    world.stop().await;
}

#[tokio::test]
async fn what_runs_when_we_stop_is_ended_and_not_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let (quick, slow) = ("sleep 0.5; echo quick", "trap '' TERM; echo $$ > $1; while :; do sleep 1; done");
    let mut world = World::new(vec![
        with("quick", quick, &[], LONG),
        with("slow", slow, &[file.to_str().unwrap()], Duration::from_mins(1)),
    ]);
    world.ask([deed(1, "quick", "k"), deed(2, "slow", "k"), deed(3, "slow", "k")]).await;
    until("it runs", || !read(&file).trim().is_empty()).await;
    let start = Instant::now();
    assert_eq!(world.tasks.shut_down(Duration::from_secs(10)).await, Vec::<String>::new());
    assert!(start.elapsed() < RUN_OUT + CUT_OUT + Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(!runs(&read(&file)), "it runs on");
    let Some(Input::Ended(result)) = world.results.recv().await else { panic!() };
    assert_eq!((result.sequence, result.end), (1, DeedEnd::Done), "it had time to end");
    assert!(world.results.recv().await.is_none(), "what was cut off, or never began, is to be done again");
}
