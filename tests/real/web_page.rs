//! The page at `/` in a real Chromium: what each view shows, names that attack, the keyboard, both colour schemes, a phone, and
//! 5,000 groups. The cluster is the stub: real Kafka takes no such names of topics, and a minute for so many groups.
//! Screenshots are in `target/tmp/screenshots`.

use crate::harness::{
    browser::{Browser, ENTER, LEFT, TAB},
    daemon::{Daemon, Home},
    holds,
    http::{Server, reply},
    stub::Stub,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const SEEN: Duration = Duration::from_mins(1);

/// Names as somebody would give them who wants harm: markup, script, another direction of text, nothing to see, and long.
const HOSTILE: &[&str] = &[
    "<script>window.harmed = 1</script>",
    "<img src=x onerror=\"window.harmed = 1\">",
    "\"><svg onload=window.harmed=1>",
    "javascript:window.harmed=1",
    "evil\u{202e}txt.exe",
    "zero\u{200b}width\ttab",
    "a/../b?c&d=e#f%00",
    "..",
];

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(format!("{name}.png"))
}

fn long_name() -> String {
    "l".repeat(249)
}

/// A page in a browser that has to be clean at the end: nothing on the console, nothing asked of anybody else.
struct Visit {
    browser: Browser,
    origin: String,
}

impl Visit {
    fn to(agent: &Daemon) -> Self {
        let visit = Self { browser: Browser::start(), origin: format!("http://{}/", agent.address()) };
        visit.browser.size(1400, 900, false);
        visit.go("");
        visit
    }

    /// Goes to a view as somebody would who was sent its URL.
    fn go(&self, fragment: &str) {
        self.browser.open("about:blank");
        self.browser.open(&format!("{}{fragment}", self.origin));
        self.shows("document.querySelector('#connection').dataset.kind === 'live'");
    }

    #[track_caller]
    fn shows(&self, condition: &str) {
        self.browser.until(condition, "location.href + '\\n' + document.body.innerText.slice(0, 3000)");
    }

    /// Waits until the text is on the page.
    #[track_caller]
    fn reads(&self, text: &str) {
        let text = serde_json::to_string(text).unwrap();
        self.shows(&format!("document.querySelector('main').innerText.includes({text})"));
    }

    #[track_caller]
    fn must_be_clean(&self) {
        let console = self.browser.console();
        assert!(console.is_empty(), "{console:#?}");
        let requests = self.browser.requests();
        assert!(requests.iter().any(|url| url.ends_with("/api/v1/events")), "{requests:?}");
        for url in requests {
            assert!(url.starts_with(&self.origin) || url == "about:blank", "{url}");
        }
        assert_eq!(self.browser.text("typeof window.harmed"), "undefined");
    }
}

/// A small cluster in trouble, and an agent that tells a receiver which refuses.
fn troubled() -> (Stub, Server, Daemon) {
    let stub = Stub::start(3);
    {
        let mut model = stub.lock();
        model.topic("orders", (1..=3).map(|leader| (leader, 10_000)));
        model.topic("<b>bold</b>\u{202e}", [(1, 5)]);
        model.topic(&long_name(), [(2, 7)]);
        for (lag, name) in (1_i64..).zip(HOSTILE) {
            model.group(name, 1, "orders", 10_000 - lag);
        }
        model.group(&long_name(), 2, "orders", 1_000);
        model.group("bold-reader", 3, "<b>bold</b>\u{202e}", 2);
        model.group("caught-up", 3, "orders", 10_000);
    }
    let receiver = Server::start(|_, stream, _| reply(stream, 503, "text/plain", b"no room for <b>alerts</b>"));
    let home = Home::new();
    home.write("rules/broken.wasm", b"no component");
    let yaml = format!(
        "kafka: {{bootstrap_servers: \"{}\", offsets: admin, scope: cluster, interval: 1s, timeout: 900ms}}\n\
         cluster: \"<i>test</i>\"\nrules_dir: rules\n\
         jmx: [{{name: absent, url: \"http://127.0.0.1:1/metrics\", interval: 1s, timeout: 900ms}}]\n\
         rules:\n\
         - {{name: consumer-lag, module: \"builtin:lag-threshold\", config: {{threshold: 100}}, labels: {{severity: warning}}}}\n\
         - {{name: patient, module: \"builtin:lag-threshold\", config: {{threshold: 100}}, for: 1h}}\n\
         - {{name: on-trial, module: \"builtin:lag-threshold\", config: {{threshold: 100}}, shadow: true}}\n\
         notify: [{{name: pager, type: alertmanager, urls: [\"{}\"]}}, {{name: log, type: log}}]",
        stub.bootstrap(),
        receiver.url("")
    );
    let agent = home.start(&yaml);
    agent.until(SEEN, "an alert fires", |page| {
        let firing = page.all("brokerwarden_alert", &[("rule", "consumer-lag"), ("state", "firing")]);
        holds(!firing.is_empty(), "none yet")
    });
    (stub, receiver, agent)
}

#[test]
fn every_view_shows_what_is_and_hostile_names_do_nothing() {
    let (stub, _receiver, agent) = troubled();
    let visit = Visit::to(&agent);
    let browser = &visit.browser;

    // Groups: the one with an alert first, all names as they are, none of them markup.
    visit.shows("document.querySelectorAll('tbody tr').length === 11");
    assert!(browser.text("document.querySelector('tbody tr').innerText").contains("alert firing"));
    assert_eq!(browser.text("document.querySelector('tbody tr .name').textContent"), long_name());
    for name in HOSTILE {
        let shown = name.replace('\u{202e}', "\\u{202e}").replace('\u{200b}', "\\u{200b}").replace('\t', "\\u{9}");
        visit.reads(&shown);
    }
    assert_eq!(browser.value("document.scripts.length"), 1);
    assert_eq!(browser.value("document.querySelectorAll('main img, main b, main script, main [onload]').length"), 0);
    assert!(browser.text("document.querySelector('#cluster').textContent").contains("<i>test</i>"));
    // Trends need two moments.
    visit.shows("document.querySelectorAll('svg.spark').length > 5");
    browser.screenshot(&picture("groups"));

    // A group by each of these names: the way there and back is a URL.
    for name in HOSTILE.iter().map(|name| (*name).to_owned()).chain([long_name()]) {
        let encoded = browser.text(&format!("encodeURIComponent({})", serde_json::to_string(&name).unwrap()));
        visit.go(&format!("#/group?name={encoded}"));
        visit.shows("document.querySelectorAll('section:last-of-type tbody tr').length === 3");
    }
    stub.lock().group(&long_name(), 2, "orders", 2_000);
    visit.shows("document.querySelectorAll('svg.chart path.line').length >= 2");
    visit.reads("Firing since");
    browser.screenshot(&picture("group"));
    browser.value("document.querySelector('tbody th a[href*=partition]').click()");
    visit.reads("Only orders partition");
    assert!(browser.text("location.hash").contains("partition="));

    visit.go("#/topics");
    visit.reads("<b>bold</b>\\u{202e}");
    visit.reads(&long_name());
    browser.screenshot(&picture("topics"));
    browser.value("[...document.querySelectorAll('tbody a')].find(a => a.textContent.includes('bold')).click()");
    visit.reads("bold-reader");
    browser.screenshot(&picture("topic"));

    visit.go("#/targets");
    visit.reads("down");
    visit.reads("127.0.0.1:1");
    browser.screenshot(&picture("targets"));

    visit.go("#/rules");
    visit.reads("not live");
    visit.reads("New version refused");
    visit.reads("shadow: told to nobody");
    browser.screenshot(&picture("rules"));
    visit.go("#/rule?name=on-trial");
    visit.reads("A shadow rule");
    visit.shows("document.querySelectorAll('section:last-of-type tbody tr').length === 10");
    visit.reads("1 alerts, 0 measurements, 0 actions");
    browser.screenshot(&picture("rule"));

    visit.go("#/alerts");
    visit.reads("Told when it fires");
    visit.reads("Told to nobody: its rule is a shadow");
    visit.reads("Last handed to notifiers");
    visit.reads("not accepted");
    visit.reads("log was told firing: accepted");
    visit.reads("503");
    browser.screenshot(&picture("alerts"));
    visit.go("#/alerts?state=pending&search=patient");
    visit.shows("document.querySelectorAll('main .scroll:first-of-type tbody tr').length > 0");
    assert_eq!(
        browser
            .value("[...document.querySelectorAll('.story')].every(one => !one.textContent.includes('Firing since'))"),
        true
    );

    visit.go("#/actions");
    visit.reads("No action was asked for");
    browser.screenshot(&picture("actions"));

    visit.go("#/group?name=none");
    visit.reads("This agent knows no such group");
    let console = browser.console();
    // Chromium tells of each answer of 404: of that group, and of nothing else.
    assert!(console.iter().all(|line| line.contains("/api/v1/group?name=none")), "{console:#?}");
    visit.go("");
    visit.must_be_clean();
}

/// Pixels of the window that the page is wider than it.
const OVERFLOW: &str = "document.documentElement.scrollWidth - innerWidth";

/// The least contrast of any text to what is behind it, and that text (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => { for (let at = node; at; at = at.parentElement) { const color = parse(getComputedStyle(at).backgroundColor); if (color[3] !== 0) return color; } return [255, 255, 255]; };
  let least = [99, ''];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest('svg, :disabled, .unseen, .skip') || !node.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least[0]) least = [ratio, node.outerHTML.slice(0, 200)];
  }
  return least;
})()";

/// What a reader of the page with a screen reader would miss.
const UNNAMED: &str = "(() => {
  const faults = [];
  for (const table of document.querySelectorAll('table')) if (!table.caption?.textContent) faults.push('a table without a caption');
  for (const field of document.querySelectorAll('input, select')) if (!field.labels.length) faults.push(`${field.id} without a label`);
  for (const one of document.querySelectorAll('button, a')) if (!one.textContent.trim()) faults.push(`nameless ${one.outerHTML}`);
  for (const one of document.querySelectorAll('svg')) if (one.getAttribute('aria-hidden') !== 'true' && !one.getAttribute('aria-label')) faults.push('a drawing without words');
  for (const cell of document.querySelectorAll('thead th')) if (cell.scope !== 'col') faults.push('a head of no column');
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
  if (document.documentElement.lang !== 'en') faults.push('no language');
  return faults;
})()";

const VIEWS: &[&str] = &["groups", "topics", "targets", "rules", "alerts", "actions", "rule?name=consumer-lag"];

#[test]
fn both_colour_schemes_a_phone_and_the_keyboard_are_enough() {
    let (_stub, _receiver, mut agent) = troubled();
    let visit = Visit::to(&agent);
    let browser = &visit.browser;
    let of_group = format!("group?name={}", long_name());
    let views = || VIEWS.iter().copied().chain([of_group.as_str()]);
    let background = || browser.text("getComputedStyle(document.body).backgroundColor");
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        backgrounds.push(background());
        for view in views() {
            visit.go(&format!("#/{view}"));
            visit.shows("document.querySelector('main').innerText.length > 40");
            let least = browser.value(CONTRAST);
            assert!(least[0].as_f64().unwrap() >= 4.5, "{scheme} {view}: {least}");
            assert_eq!(browser.value(UNNAMED), serde_json::json!([]), "{view}");
            let name = view.split('?').next().unwrap();
            browser.screenshot(&picture(&format!("{name}-{scheme}")));
        }
    }
    assert_ne!(backgrounds[0], backgrounds[1]);

    browser.prefers("light");
    browser.size(390, 844, true);
    for view in views() {
        visit.go(&format!("#/{view}"));
        visit.shows("document.querySelector('main').innerText.length > 40");
        assert!(browser.value(OVERFLOW).as_i64().unwrap() <= 0, "{view} is wider than a phone");
        let name = view.split('?').next().unwrap();
        browser.screenshot(&picture(&format!("{name}-phone")));
    }
    browser.size(1400, 900, false);

    // From the top with nothing but keys: past the frame, into the search, to a group, and along its chart.
    visit.go("#/groups");
    visit.shows("document.querySelectorAll('tbody tr').length > 5");
    browser.press(TAB);
    assert_eq!(browser.text("document.activeElement.id"), "skip");
    browser.press(ENTER);
    assert_eq!(browser.text("document.activeElement.id"), "main");
    browser.press("/");
    assert_eq!(browser.text("document.activeElement.id"), "search");
    browser.press("caught");
    visit.shows("document.querySelectorAll('tbody tr').length === 1 && location.hash === '#/groups?search=caught'");
    visit.shows("document.querySelector('#said').textContent === '1 group found'");
    assert_eq!(browser.text("document.activeElement.id"), "search", "a refresh takes nobody's focus");
    browser.press(&TAB.repeat(3));
    assert_eq!(browser.text("document.activeElement.textContent"), "Group");
    browser.press(ENTER);
    visit.shows("document.querySelector('th[aria-sort]')?.getAttribute('aria-sort') === 'ascending'");
    browser.press(ENTER);
    visit.shows("document.querySelector('th[aria-sort]').getAttribute('aria-sort') === 'descending'");
    visit.go(&format!("#/{of_group}"));
    visit.shows("document.querySelectorAll('svg.chart path.line').length >= 1");
    browser.value("document.querySelector('svg.chart').focus()");
    browser.press(LEFT);
    visit.shows("document.querySelector('output').textContent.includes('Lag')");

    // Live: each snapshot is seen without anybody's doing; not while it is paused; and again after a restart of the agent.
    let number = || {
        browser
            .value(
                "Number(document.querySelector('#moment').textContent.match(/Snapshot ([\\d,]+)/)[1].replace(',', ''))",
            )
            .as_u64()
            .unwrap()
    };
    let first = number();
    visit.shows(&format!("Number(document.querySelector('#moment').textContent.match(/[\\d]+/)[0]) > {first} + 2"));
    visit.must_be_clean();
    browser.value("document.querySelector('#pause').click()");
    visit.shows("document.querySelector('#connection').dataset.kind === 'paused'");
    let paused = number();
    agent.snapshots(3.0, SEEN);
    assert!(number() <= paused + 1, "one answer may have been under way");
    browser.value("document.querySelector('#pause').click()");
    visit.shows(&format!("Number(document.querySelector('#moment').textContent.match(/[\\d]+/)[0]) > {paused} + 1"));
    let (code, took) = agent.terminate();
    assert!(code == Some(0) && took < Duration::from_secs(5), "with a stream of events open: {code:?} after {took:?}");
    visit.shows("document.querySelector('#connection').dataset.kind === 'lost'");
    visit.shows("document.querySelector('#said').textContent.includes('is lost')");
    let _agent = agent.start_again();
    visit.shows("document.querySelector('#connection').dataset.kind === 'live'");
}

#[test]
fn five_thousand_groups_and_twenty_thousand_partitions_stay_usable() {
    let stub = Stub::start(3);
    {
        let mut model = stub.lock();
        model.topic("orders", (1..=3).map(|leader| (leader, 10_000)));
        model.topic("wide", (0..20_000).map(|partition| (1 + partition % 3, 1_000)));
        for number in 0..5_000_i64 {
            model.group(
                &format!("service-{number:04}"),
                1 + i32::try_from(number % 3).unwrap(),
                "orders",
                10_000 - number % 50,
            );
        }
        model.group("wide-reader", 1, "wide", 900);
    }
    let yaml = format!(
        "kafka: {{bootstrap_servers: \"{}\", offsets: admin, scope: cluster, interval: 5s, timeout: 4s}}",
        stub.bootstrap()
    );
    let agent = Home::new().start(&yaml);
    agent.until(Duration::from_mins(3), "all groups are there", |page| {
        let count = page.all("kafka_consumergroup_members", &[]).len();
        holds(count == 5_001, count)
    });
    let visit = Visit::to(&agent);
    let browser = &visit.browser;
    visit.reads("5,001 groups");
    assert_eq!(browser.value("document.querySelectorAll('tbody tr').length"), 100, "a page of them");
    assert_eq!(browser.text("document.querySelector('tbody .name').textContent"), "wide-reader", "the most lag");
    visit.reads("1–100 of 5,001 groups");
    browser.screenshot(&picture("groups-5000"));
    // What it costs: the answer, and showing it anew.
    let took = |path: &str| {
        let script = format!(
            "(() => {{ const from = performance.now(); const request = new XMLHttpRequest(); request.open('GET', '{path}', false); \
             request.send(); return [performance.now() - from, request.responseText.length]; }})()"
        );
        let (time, length) = (browser.value(&script)[0].as_f64().unwrap(), browser.value(&script)[1].clone());
        println!("{path}: {time:.0} ms, {length} bytes of JSON");
        time
    };
    for path in [
        "api/v1/overview",
        "api/v1/groups",
        "api/v1/groups?search=service-12",
        "api/v1/group?name=wide-reader",
        "api/v1/topics",
        "api/v1/topic?name=wide",
    ] {
        assert!(took(path) < 1_000.0, "{path}");
    }
    browser.value("[...document.querySelectorAll('.pager button')].find(one => one.textContent === 'Next').click()");
    visit.reads("101–200 of 5,001 groups");
    assert!(browser.text("location.hash").contains("page=1"));
    browser.press("/");
    browser.press("service-4321");
    visit.shows("document.querySelectorAll('tbody tr').length === 1");
    visit.go("#/groups?page=50");
    visit.reads("5,001–5,001 of 5,001 groups");
    visit.go("#/group?name=wide-reader");
    visit.reads("1–100 of 20,000 partitions");
    visit.go("#/topic?name=wide&page=199");
    visit.reads("19,901–20,000 of 20,000 partitions");
    visit.must_be_clean();
    // Others are not held up by all that.
    let asked = std::time::Instant::now();
    assert_eq!(agent.get("/metrics").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}
