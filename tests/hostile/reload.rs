//! Files that change in every way that editors, copying programs and Kubernetes have, while all runs.

#![expect(clippy::float_cmp, reason = "counts: whole numbers")]

use crate::{
    alone,
    footprint::{Footprint, NOTHING},
    harness::{
        daemon::{Daemon, Home, idle},
        guests::{self, Fault},
        holds,
        page::Page,
        pause,
    },
};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

const SEEN: Duration = Duration::from_mins(1);
/// Longer than two looks at the folder.
const LOOKS: Duration = Duration::from_secs(2);

fn version(number: u8) -> Vec<u8> {
    guests::another_version(&guests::rule("Always", Fault::None), number)
}

fn sha256(page: &Page, rule: &str) -> Result<String, String> {
    let found = page.all("brokerwarden_rule_info", &[("rule", rule)]);
    found.first().map(|sample| sample.labels["sha256"].clone()).ok_or_else(|| format!("{rule} is not live"))
}

/// When the rule's alert began, as the API tells it: changes with each new beginning.
fn began(agent: &Daemon, rule: &str) -> String {
    let alerts = agent.get("/api/v1/alerts").json();
    let all = alerts["data"]["alerts"].as_array().unwrap();
    let mut of_rule = all.iter().filter(|alert| alert["labels"]["rule"] == rule && alert["state"] == "firing");
    let one = of_rule.next().unwrap_or_else(|| panic!("{rule} does not fire: {alerts}"));
    assert!(of_rule.next().is_none(), "{alerts}");
    one["activeAt"].to_string()
}

fn reloads(page: &Page, outcome: &str) -> f64 {
    page.sum("brokerwarden_rule_reloads_total", &[("outcome", outcome)])
}

/// Waits until another version is live than the one of that hash.
#[track_caller]
fn changes(agent: &Daemon, what: &str, before: &mut String) {
    *before = agent.until(SEEN, what, |page| {
        let now = sha256(page, "a")?;
        holds(now != *before, "the old version goes on")?;
        Ok(now)
    });
}

#[test]
fn files_change_in_every_way_and_alerts_stand() {
    let _alone = alone();
    let home = Home::with_its_own_binary();
    let folder = home.path("rules");
    home.write("rules/a.wasm", version(0));
    let mut agent = home.start(&format!("{}\nrules_dir: rules", idle()));
    let mut live = agent.until(SEEN, "live", |page| sha256(page, "a"));
    agent.until(SEEN, "it fires", |page| {
        holds(page.has("brokerwarden_alert", &[("rule", "a"), ("state", "firing")]), "it does not")
    });
    let since = began(&agent, "a");

    // Written beside and renamed, as editors do it.
    fs::write(folder.join(".a.wasm.swp"), version(1)).unwrap();
    fs::rename(folder.join(".a.wasm.swp"), folder.join("a.wasm")).unwrap();
    changes(&agent, "renamed over", &mut live);
    // Cut off and written anew, slowly, as `cp` over a bad link does it.
    let bytes = version(2);
    let mut file = File::create(folder.join("a.wasm")).unwrap();
    for piece in bytes.chunks(bytes.len() / 8) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        pause(Duration::from_millis(300));
    }
    drop(file);
    changes(&agent, "written anew", &mut live);
    // Written again and again without a rest: what is half of one and half of another is never taken.
    let started = Instant::now();
    let mut number = 10;
    while started.elapsed() < Duration::from_secs(6) {
        number = if number == 10 { 11 } else { 10 };
        let bytes = version(number);
        let mut file = File::options().write(true).open(folder.join("a.wasm")).unwrap();
        for half in bytes.chunks(bytes.len() / 2 + 1) {
            file.write_all(half).unwrap();
            pause(Duration::from_millis(20));
        }
    }
    changes(&agent, "at rest again", &mut live);

    // A ConfigMap: files are links into `..data`, itself a link that is swapped.
    let mount = |number: u8| {
        let real = folder.join(format!("..real-{number}"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("a.wasm"), version(number)).unwrap();
        fs::write(real.join("a.yaml"), format!("labels: {{mount: \"{number}\"}}\n")).unwrap();
        symlink(format!("..real-{number}"), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    mount(20);
    fs::remove_file(folder.join("a.wasm")).unwrap();
    symlink("..data/a.wasm", folder.join("a.wasm")).unwrap();
    changes(&agent, "links instead of files", &mut live);
    assert_eq!(began(&agent, "a"), since, "the alert began anew");
    symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    let labelled = |page: &Page, mount: &str| {
        let labels = [("rule", "a"), ("mount", mount), ("state", "firing")];
        holds(page.has("brokerwarden_alert", &labels), "not told with its label")
    };
    agent.until(SEEN, "the YAML of the mount", |page| labelled(page, "20"));
    mount(21);
    fs::remove_dir_all(folder.join("..real-20")).unwrap();
    changes(&agent, "the link was swapped", &mut live);
    agent.until(SEEN, "the YAML of the next mount", |page| labelled(page, "21"));
    let since = began(&agent, "a");

    // Fifty at once.
    for number in 0..50 {
        fs::write(folder.join(format!("burst-{number}.wasm")), version(number)).unwrap();
    }
    let started = Instant::now();
    agent.until(SEEN, "fifty more are live", |page| {
        (0..50).try_for_each(|number| sha256(page, &format!("burst-{number}")).map(drop))
    });
    println!("fifty files at once were live after {:?}", started.elapsed());

    // The folder goes away and comes back.
    let (before, away) = (agent.page(), agent.home.path("away"));
    fs::rename(&folder, &away).unwrap();
    agent.until(SEEN, "the folder is missed", |page| page.expect("brokerwarden_rules_dir_readable", &[], 0.0));
    pause(LOOKS);
    fs::rename(&away, &folder).unwrap();
    agent.until(SEEN, "the folder is back", |page| page.expect("brokerwarden_rules_dir_readable", &[], 1.0));
    pause(LOOKS);
    let page = agent.page();
    assert_eq!(reloads(&page, "removed"), 0.0);
    assert_eq!(reloads(&page, "loaded"), reloads(&before, "loaded"), "something was loaded again");
    assert_eq!((began(&agent, "a"), sha256(&page, "a")), (since.clone(), Ok(live.clone())));
    assert_eq!(reloads(&page, "refused"), 0.0, "{}", agent.get("/api/v1/rules").text());

    // Under fire: one version after the other, and nothing stays behind.
    let cache = agent.home.path("data/compiled");
    let replace = |number: u8| {
        let beside = folder.join(".new");
        fs::write(&beside, version(number)).unwrap();
        fs::rename(&beside, folder.join("..real-21/a.wasm")).unwrap();
    };
    for number in [30, 31, 30, 31] {
        replace(number);
        changes(&agent, "replaced", &mut live);
    }
    let held = Footprint::of(agent.id(), &cache);
    for number in [30, 31].repeat(10) {
        replace(number);
        changes(&agent, "replaced again", &mut live);
    }
    Footprint::of(agent.id(), &cache).as_before(&held, NOTHING).unwrap();
    assert_eq!(began(&agent, "a"), since, "the alert began anew");

    // Our own binary is replaced by an upgrade; what runs goes on and can still compile.
    let binary = agent.home.path("brokerwarden");
    fs::copy(&binary, agent.home.path("upgrade")).unwrap();
    fs::rename(agent.home.path("upgrade"), &binary).unwrap();
    let running = fs::read_link(format!("/proc/{}/exe", agent.id())).unwrap();
    assert!(running.to_string_lossy().ends_with(" (deleted)"), "{}", running.display());
    fs::write(folder.join("after-upgrade.wasm"), guests::rule("Later", Fault::None)).unwrap();
    agent.until(SEEN, "a rule that was never compiled before", |page| sha256(page, "after-upgrade"));

    // Kept code that was changed is not believed, and made anew.
    let kept: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let code: Vec<_> = kept.iter().filter(|path| path.extension().is_some_and(|end| end == "cwasm")).collect();
    assert!(code.len() > 50, "{kept:?}");
    for (number, path) in code.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        if number % 2 == 0 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        } else {
            bytes.truncate(bytes.len() / 2);
        }
        fs::write(path, bytes).unwrap();
    }
    agent.must_run();
    let agent = agent.start_again();
    agent.until(SEEN, "all are live again", |page| {
        (0..50).try_for_each(|number| sha256(page, &format!("burst-{number}")).map(drop))?;
        holds(sha256(page, "a")? == live, "another version")
    });
    assert!(agent.log().contains("is not what was written"), "{}", agent.log());
}
