//! A real Chromium, driven by chromedriver through WebDriver (W3C) with what Chromium adds to it: as much of it as the tests of
//! the page need. A crate for this would bring an async runtime and a TLS stack for one HTTP request after the other.

use super::{free_port, holds, http, local, process::Process, temp_dir, within};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

/// Longest wait for a command, and for what a page shows.
const PATIENCE: Duration = Duration::from_mins(1);

/// Keys as WebDriver names them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const LEFT: &str = "\u{e012}";

/// A browser with one window; gone when dropped.
pub(crate) struct Browser {
    _driver: Process,
    _dir: tempfile::TempDir,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts one without a window that anybody sees.
    pub(crate) fn start() -> Self {
        let (dir, port) = (temp_dir("browser"), free_port());
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("TMPDIR", dir.path()).env("HOME", dir.path());
        let driver = Process::start("chromedriver", &mut command, &dir.path().join("driver.log"));
        let address = local(port);
        within(PATIENCE, "chromedriver answers", || http::get(address, "/status").map(drop));
        let mut browser = Self { _driver: driver, _dir: dir, address, session: String::new() };
        // Its sandbox does not run as root; nothing but our own page is shown.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-GB"];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let session = browser.post("/session", &capabilities);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let kind = [("Content-Type", "application/json")];
        let body = serde_json::to_vec(body).unwrap();
        let answer = http::send(PATIENCE, self.address, "POST", path, &kind, &body).unwrap();
        let mut json = answer.json();
        assert_eq!(answer.status, 200, "{path}: {json}");
        json["value"].take()
    }

    fn command(&self, what: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}/{what}", self.session), body)
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Goes to a URL, and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// What a JavaScript expression is on the page now.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.command("execute/sync", &json!({"script": format!("return ({expression});"), "args": []}))
    }

    /// The same as text.
    pub(crate) fn text(&self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until a JavaScript expression is true; `seen` is told otherwise.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str, seen: &str) {
        within(PATIENCE, expression, || holds(self.value(expression) == Value::Bool(true), self.text(seen)));
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let one = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<_> = keys.chars().flat_map(one).collect();
        self.command("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Makes the page so many CSS pixels large; `mobile` as a phone does.
    pub(crate) fn size(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// What the reader's system prefers.
    pub(crate) fn prefers(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.chromium("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Writes what is seen now as PNG.
    pub(crate) fn screenshot(&self, path: &Path) {
        let picture = self.chromium("Page.captureScreenshot", &json!({"format": "png"}));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// What was written to the console since the last look, errors of the network among it.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// URLs that the page asked for since the last look.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({"type": "performance"}));
        let message = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let messages = entries.as_array().unwrap().iter().filter_map(message);
        let url = |message: Value| Some(message["message"]["params"]["request"]["url"].as_str()?.to_owned());
        messages.filter(|one| one["message"]["method"] == "Network.requestWillBeSent").filter_map(url).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium, which is in no group of ours.
        let path = format!("/session/{}", self.session);
        http::ask(self.address, "DELETE", &path, &[]).ok();
    }
}
