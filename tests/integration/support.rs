//! What the tests share: the executable under test, a made-up trace, records made from it, and
//! waiting with a deadline.

use std::fmt::Write as _;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;
use tempfile::TempDir;

/// Far beyond what any run takes here, so that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A stop takes at most the grace period of eight seconds, and a moment.
const GRACE: Duration = Duration::from_secs(10);

/// Between two looks at something that is waited for.
const STEP: Duration = Duration::from_millis(10);

#[expect(clippy::disallowed_methods, reason = "a process is waited for in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks until there is something, or panics.
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(STEP);
    }
}

/// The executable, with arguments and without settings from this process's environment.
pub(crate) fn bursar<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("BURSAR__")) {
        command.env_remove(name);
    }
    command
}

/// What a finished process leaves.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }
}

/// Runs to the end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Done {
    Running::start(command).wait()
}

/// A process whose output is collected while it runs; killed when it goes out of scope.
pub(crate) struct Running {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), &stdout),
            collect(child.stderr.take().unwrap(), &stderr),
        ];
        Self { child, readers, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Standard output so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    pub(crate) fn signal(&self, name: &str) {
        // The shell's own command: not every system has one of that name beside it.
        let order = format!("kill -s {name} {}", self.pid());
        let sent = Command::new("sh").args(["-c", &order]).status();
        assert!(sent.unwrap().success());
    }

    #[track_caller]
    pub(crate) fn wait(mut self) -> Done {
        let status = until("the end of the process", PATIENCE, || self.child.try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Done { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what the process said:\n{}", self.stderr());
        }
        // Both fail where it has ended already, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A daemon that serves on a port of its own and writes its decisions to a folder of its own.
pub(crate) struct Daemon {
    running: Running,
    folder: TempDir,
    address: String,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        command.env("BURSAR__SERVER__LISTEN", "127.0.0.1:0");
        command.env("BURSAR__OUTPUT__DECISIONS", folder.path().join("decisions.jsonl"));
        let mut running = Running::start(command);
        let address = until("the address", PATIENCE, || {
            assert!(!running.has_ended(), "{}", running.stderr());
            let told = running.stdout();
            let (_, rest) = told.lines().nth(2)?.split_once("://")?;
            Some(rest.split_once('/')?.0.to_owned())
        });
        assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
        Self { running, folder, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where its decisions are.
    pub(crate) fn decisions_file(&self) -> PathBuf {
        self.folder.path().join("decisions.jsonl")
    }

    /// Standard output and standard error so far.
    pub(crate) fn said(&self) -> String {
        self.running.stdout() + &self.running.stderr()
    }

    /// The whole answer to a request of whatever form.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off says nothing, or half of it.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Gives an order with these headers; status and body of the answer.
    pub(crate) fn order(&self, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let (host, length) = (&self.address, body.len());
        let answer = self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        ));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    #[cfg(any(feature = "kafka", feature = "kinesis"))]
    pub(crate) fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    pub(crate) fn decisions(&self) -> Vec<Value> {
        self.decisions_after(&mut 0)
    }

    /// The decisions after the first `seen` bytes, which it moves on by whole lines.
    pub(crate) fn decisions_after(&self, seen: &mut u64) -> Vec<Value> {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.folder.path().join("decisions.jsonl")) {
            file.seek(SeekFrom::Start(*seen)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        *seen += text.len() as u64;
        lines(&text)
    }

    /// Status and body of an answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A metric's value; `None` where there is no such series.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Asks it to stop; its decisions and its words.
    pub(crate) fn stop(mut self) -> (Vec<Value>, String) {
        self.running.signal("TERM");
        until("the end", GRACE, || self.running.has_ended().then_some(()));
        let decisions = self.decisions();
        (decisions, self.running.wait().succeeded().stdout)
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned()
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut block = [0; 8_192];
        while let Ok(count @ 1..) = from.read(&mut block) {
            into.lock().unwrap().extend_from_slice(&block[..count]);
        }
    })
}

/// JSON lines, whole ones only: the last may still be on its way. What chains a daemon's is left
/// out, since it depends on all that was written before.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut lines: Vec<Value> = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
    for fields in lines.iter_mut().filter_map(Value::as_object_mut) {
        fields.retain(|field, _| field != "prev" && field != "hash");
    }
    lines
}

pub(crate) fn lines_of(path: &Path) -> Vec<Value> {
    lines(&fs::read_to_string(path).unwrap())
}

/// The lines of one kind.
pub(crate) fn kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// Alarms that were opened as pages.
pub(crate) fn pages(lines: &[Value]) -> Vec<&Value> {
    let opened = |line: &&Value| line["state"] == "opened" && line["severity"] == "page";
    kind(lines, "alarm").into_iter().filter(opened).collect()
}

/// A time as it is written, in milliseconds since 1970.
#[track_caller]
pub(crate) fn ms(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Sixty functions as they are found in recorded traces: few busy ones behind an API, queues whose
/// load comes in waves, timers, and many that are hardly ever called.
pub(crate) fn write_trace(folder: &Path, minutes: u32) -> PathBuf {
    let mut calls = "HashOwner,HashApp,HashFunction,Trigger".to_owned();
    (1..=minutes).for_each(|minute| write!(calls, ",{minute}").unwrap());
    let mut durations = "HashOwner,HashApp,HashFunction".to_owned();
    let percents = [0, 1, 25, 50, 75, 99, 100];
    percents.iter().for_each(|at| write!(durations, ",percentile_Average_{at}").unwrap());
    let mut memory = "HashFunction,SampleCount,AverageAllocatedMb".to_owned();
    for row in 0..60_u32 {
        let (trigger, median, mb) = match row {
            0..12 => ("http", 500 - 30 * row, 1_000 - 250 * (row % 4)),
            12..20 => ("queue", 100 + 50 * (row - 12), 200),
            20..40 => ("timer", 300 + 100 * (row - 20), 150),
            _ => ("event", 200 + 10 * row, 100),
        };
        write!(calls, "\no{},a{},f{row:02}x,{trigger}", row % 5, row / 3).unwrap();
        for minute in 0..minutes {
            // Any hash does that is the same everywhere: an eighth more or less.
            let noise = (row * 7_919 + minute * 104_729 + 12_345) % 97;
            let count = match row {
                0..12 => (120 - 8 * row) * (84 + noise / 3) / 100,
                12..20 => noise % 5 + if (minute / 3 + row) % 4 == 0 { 45 } else { 18 },
                20..30 => 1,
                30..40 => u32::from(minute % (5 * (row - 29)) == row % 5),
                _ => u32::from((minute * 31 + row * 17) % 23 == 0),
            };
            write!(calls, ",{count}").unwrap();
        }
        write!(durations, "\no{},a{},f{row:02}x", row % 5, row / 3).unwrap();
        for percent in [30, 35, 80, 100, 130, 300, 500] {
            write!(durations, ",{}", median * percent / 100).unwrap();
        }
        write!(memory, "\nf{row:02}x,100,{mb}").unwrap();
    }
    let path = folder.join("calls.csv");
    fs::write(&path, calls + "\n").unwrap();
    fs::write(folder.join("durations.csv"), durations + "\n").unwrap();
    fs::write(folder.join("memory.csv"), memory + "\n").unwrap();
    path
}

/// Generated records and the truth about them, in a folder of their own.
pub(crate) struct Recorded {
    pub(crate) folder: TempDir,
    pub(crate) records: PathBuf,
    pub(crate) truth: Value,
}

impl Recorded {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The only attack.
    pub(crate) fn attack(&self) -> &Value {
        let [attack] = &self.truth["attacks"].as_array().unwrap()[..] else {
            panic!("not one attack: {}", self.truth);
        };
        attack
    }
}

pub(crate) fn generate(seed: u64, minutes: u32, attack: Option<&str>) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let trace = write_trace(folder.path(), minutes);
    generate_from(folder, &trace, seed, minutes, attack)
}

/// The same with all functions behind APIs of one account.
pub(crate) fn generate_in_one_account(seed: u64, minutes: u32, attack: Option<&str>) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let trace = write_trace(folder.path(), minutes);
    let mut text = fs::read_to_string(&trace).unwrap();
    (1..5).for_each(|owner| text = text.replace(&format!("\no{owner},"), "\no0,"));
    ["queue", "timer", "event"].iter().for_each(|kind| text = text.replace(kind, "http"));
    fs::write(&trace, text).unwrap();
    generate_from(folder, &trace, seed, minutes, attack)
}

fn generate_from(
    folder: TempDir,
    trace: &Path,
    seed: u64,
    minutes: u32,
    attack: Option<&str>,
) -> Recorded {
    let [records, truth] = ["records.jsonl", "truth.json"].map(|name| folder.path().join(name));
    let mut command = bursar(["generate"]);
    command.arg("--trace").arg(trace).arg("--out").arg(&records).arg("--truth").arg(&truth);
    command.args(["--seed", &seed.to_string(), "--minutes", &minutes.to_string()]);
    command.args(attack.iter().flat_map(|spec| ["--attack", spec]));
    run(&mut command).succeeded();
    let truth = serde_json::from_str(&fs::read_to_string(truth).unwrap()).unwrap();
    Recorded { folder, records, truth }
}

/// What a replay wrote.
pub(crate) struct Replayed {
    pub(crate) decisions: String,
    pub(crate) ledger: String,
    pub(crate) stdout: String,
}

impl Replayed {
    pub(crate) fn lines(&self) -> Vec<Value> {
        lines(&self.decisions)
    }
}

/// Replays into `folder`; `more` adds settings, inputs and options.
pub(crate) fn replay(folder: &Path, more: impl FnOnce(&mut Command)) -> Replayed {
    let [decisions, ledger] = ["decisions.jsonl", "ledger.jsonl"].map(|name| folder.join(name));
    let mut command = bursar(["replay"]);
    command.arg("--decisions").arg(&decisions).arg("--ledger").arg(&ledger);
    more(&mut command);
    let done = run(&mut command).succeeded();
    Replayed {
        decisions: fs::read_to_string(decisions).unwrap(),
        ledger: fs::read_to_string(ledger).unwrap(),
        stdout: done.stdout,
    }
}
