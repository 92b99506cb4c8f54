//! A process that runs beside the test, with its lines as they come. Ended by its own id.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{WAIT_MAX, wait_until};

#[derive(Default)]
struct Shared {
    lines: Vec<String>,
    is_ended: bool,
}

/// The lines that a process printed so far.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.lock().lines.push(line);
                writer.shared.1.notify_all();
            }
            writer.lock().is_ended = true;
            writer.shared.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.0.lock().expect("no holder of this lock can panic")
    }

    /// All lines so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// How many lines there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Whether nothing was printed so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first line with `text` in it, if it comes before the process ends its output.
    #[must_use]
    pub fn wait_for(&self, text: &str, limit: Duration) -> Option<String> {
        self.wait(limit, |lines| lines.iter().find(|line| line.contains(text)).cloned())
    }

    /// What `find` finds in the lines, as soon as it does.
    pub fn wait<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let start = Instant::now();
        let mut shared = self.lock();
        loop {
            if let Some(found) = find(&shared.lines) {
                return Some(found);
            }
            let left = limit.checked_sub(start.elapsed())?;
            if shared.is_ended {
                return None;
            }
            let waited = self.shared.1.wait_timeout(shared, left);
            shared = waited.expect("no holder of this lock can panic").0;
        }
    }

    /// Waits for the end of the output.
    pub fn wait_for_end(&self, limit: Duration) {
        let start = Instant::now();
        let mut shared = self.lock();
        while let Some(left) = limit.checked_sub(start.elapsed()).filter(|_| !shared.is_ended) {
            let waited = self.shared.1.wait_timeout(shared, left);
            shared = waited.expect("no holder of this lock can panic").0;
        }
    }
}

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it prints.
    pub stdout: Lines,
    /// What it complains about.
    pub stderr: Lines,
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().display().to_string();
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        let stdin = child.stdin.take();
        let stdout = Lines::read(child.stdout.take().expect("its output is a pipe"));
        let stderr = Lines::read(child.stderr.take().expect("its errors are a pipe"));
        Self { child, stdin, stdout, stderr }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its input.
    ///
    /// # Panics
    /// If it no longer reads.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("process {} reads no more: {error}", self.child.id()));
    }

    /// Closes its input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.close_input();
        // It may have ended by itself, which is what the caller wants.
        if self.child.kill().is_ok() && self.child.wait().is_ok() {
            self.stdout.wait_for_end(WAIT_MAX);
            self.stderr.wait_for_end(WAIT_MAX);
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.expect("a child's id is a positive number");
        kill_process(id, signal)
            .unwrap_or_else(|error| panic!("process {} takes no signal: {error}", self.child.id()));
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(WAIT_MAX)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.close_input();
        let id = self.child.id();
        let status = wait_until(&format!("the end of process {id}"), limit, || {
            self.child.try_wait().expect("a child can be waited for")
        });
        self.stdout.wait_for_end(WAIT_MAX);
        self.stderr.wait_for_end(WAIT_MAX);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
