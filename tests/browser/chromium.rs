//! A headless Chromium, spoken to over its debugging pipe: real keys and clicks, and everything that it complains about.
//!
//! The pipe needs neither a port nor a library: the browser reads commands from descriptor 3 and writes what happens to
//! descriptor 4, as JSON that a NUL ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    said: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The browser of this machine.
pub(crate) fn find() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| which::which(name).ok())
}

impl Browser {
    /// Starts it with an empty profile, which goes with it.
    pub(crate) fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars \
                     --remote-debugging-pipe --host-resolver-rules=MAP\u{a0}*\u{a0}~NOTFOUND about:blank";
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags.split_ascii_whitespace().map(|flag| flag.replace('\u{a0}', " ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, said) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser =
            Self { child, input, said, session: None, last_id: 0, problems: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Carries out a command.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        let answer = self.hear(|said| said["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Waits for a message, and keeps what the page complains of meanwhile.
    fn hear(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let said = self.said.recv_timeout(PATIENCE).expect("the browser answers");
            match said["method"].as_str() {
                Some("Runtime.exceptionThrown" | "Log.entryAdded") => self.problems.push(said["params"].to_string()),
                Some("Runtime.consoleAPICalled") => self.problems.push(said["params"]["args"].to_string()),
                _ => {}
            }
            if wanted(&said) {
                return said;
            }
        }
    }

    /// Opens a file and waits until it is loaded. Gives the milliseconds from the start of the navigation to the end of the
    /// first frame after loading.
    pub(crate) fn open(&mut self, path: &Path, hash: &str) -> f64 {
        self.call("Page.navigate", &json!({"url": format!("file://{}{hash}", path.display())}));
        self.hear(|said| said["method"] == "Page.loadEventFired");
        let frame = "new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))";
        self.eval(frame).as_f64().unwrap()
    }

    /// The value of an expression, awaited where it is a promise.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let script = format!(
            "new Promise((done, fail) => {{ const late = performance.now() + 20000; const look = () => ({expression}) \
             ? done(true) : performance.now() > late ? fail(new Error('never true')) : requestAnimationFrame(look); look(); }})"
        );
        self.eval(&script);
    }

    /// Presses a key.
    pub(crate) fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            letter => (u32::from(letter.to_ascii_uppercase().as_bytes()[0]), letter),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &params);
        }
    }

    /// Clicks into the middle of what a selector finds first.
    pub(crate) fn click(&mut self, selector: &str) {
        let at = self.eval(&format!(
            "(() => {{ const node = document.querySelector({}); node.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = node.getBoundingClientRect(); const at = [box.x + box.width / 2, box.y + box.height / 2]; \
             const hit = document.elementFromPoint(...at); \
             return node.contains(hit) ? at : `${{at}} hits ${{hit?.outerHTML.slice(0, 200)}}`; }})()",
            json!(selector)
        ));
        assert!(at.is_array(), "{selector} cannot be clicked: {at}");
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &params);
        }
    }

    /// Takes a form of the screen and of the light.
    pub(crate) fn screen(&mut self, width: u32, height: u32, mobile: bool, light: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": light}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The screen as PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        BASE64.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Everything that was written to the console or thrown so far.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = json!({"id": self.last_id + 1, "method": "Browser.close"});
        if self.input.write_all(format!("{close}\0").as_bytes()).is_ok() {
            let answered = |said: Value| said["id"] == self.last_id + 1;
            while self.said.recv_timeout(Duration::from_secs(10)).is_ok_and(|said| !answered(said)) {}
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
