//! `gwtop canary` in a terminal or a pipeline: lines out, signals in.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    OnInterrupt, Order, Settings, Transition, drive, journal,
    progress::{self, Progress},
};
use crate::{cluster::connect::Connection, exit::Exit};

/// How long a run may take to end after it was told to leave at once.
const LEAVE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Text,
    Json,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// The last line of a run that ends before it could begin.
pub fn refused(settings: &Settings, context: &str, output: Output, exit: Exit, message: &str) -> Exit {
    match output {
        Output::Json => {
            let phase = if exit == Exit::Unreachable { "Unreachable" } else { "Refused" };
            let blank = Transition::blank(settings, "", context);
            print(&Transition { phase, message: message.to_owned(), finished: Some(exit), ..blank }, output);
        }
        Output::Text => eprintln!("gwtop: {message}"),
    }
    exit
}

/// Runs a canary to its end and says how it ended.
pub async fn run(
    connection: Connection,
    settings: Settings,
    output: Output,
    on_interrupt: Option<OnInterrupt>,
) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("gwtop: cannot listen for signals, and a run that cannot be stopped is not begun: {error}");
            return Exit::Internal;
        }
    };
    let mut run = drive::spawn(connection, settings);
    let mut footer = Footer::new(output);
    let mut question = Question::new(output, on_interrupt);
    let on_interrupt = on_interrupt.unwrap_or(OnInterrupt::Rollback);
    let mut signalled = 0;
    let mut deadline = None;
    loop {
        let leave = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            transition = run.events.recv() => match transition {
                Some(transition) => {
                    footer.clear();
                    print(&transition, output);
                    if let Some(exit) = transition.finished {
                        // The Lease is given back after the last word.
                        let rest = async { while run.events.recv().await.is_some() {} };
                        let _ = tokio::time::timeout(LEAVE, rest).await;
                        return exit;
                    }
                }
                None => {
                    eprintln!("gwtop: the run ended without a word; look at the route's weights");
                    return Exit::Internal;
                }
            },
            Ok(()) = run.progress.changed(), if footer.live && !question.open => {
                let progress = run.progress.borrow_and_update().clone();
                footer.draw(&progress);
            }
            Some(line) = question.lines.recv() => match Question::answer(&line) {
                Some((order, words)) if question.open => {
                    eprintln!("gwtop: {words}");
                    question.open = order == Order::Step;
                    if order == Order::Resume {
                        signalled = 0;
                    }
                    let _ = run.commands.try_send(order);
                }
                None if question.open => question.ask(),
                _ => {}
            },
            name = signals.next() => {
                footer.clear();
                signalled += 1;
                if signalled == 1 && name == "SIGINT" && question.asks {
                    let _ = run.commands.try_send(Order::Pause);
                    question.ask();
                    continue;
                }
                question.open = false;
                let order = match on_interrupt {
                    _ if signalled > 1 => Order::Stop,
                    OnInterrupt::Rollback => Order::Rollback,
                    OnInterrupt::Hold => Order::Pause,
                    OnInterrupt::Detach => Order::Stop,
                };
                eprintln!("gwtop: {name}: {}", match order {
                    Order::Rollback => "rolling back; once more leaves the canary live",
                    Order::Pause => "holding; once more leaves the canary live",
                    _ => "leaving the canary live",
                });
                let _ = run.commands.try_send(order);
                if order == Order::Stop && deadline.is_none() {
                    deadline = Some(tokio::time::Instant::now() + LEAVE);
                }
            }
            () = leave => {
                eprintln!("gwtop: left in the middle of a call; the same command takes the canary up again");
                return Exit::Detached;
            }
        }
    }
}

/// What Ctrl-C asks of whoever sits at the terminal. The run is paused meanwhile, and a bad
/// canary is rolled back all the same.
struct Question {
    asks: bool,
    open: bool,
    typed: Option<mpsc::UnboundedSender<String>>,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Question {
    fn new(output: Output, on_interrupt: Option<OnInterrupt>) -> Self {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let (typed, lines) = mpsc::unbounded_channel();
        let asks = terminal && output == Output::Text && on_interrupt.is_none();
        Self { asks, open: false, typed: Some(typed), lines }
    }

    fn ask(&mut self) {
        self.open = true;
        eprintln!(
            "gwtop: paused; r: roll back, c: continue, s: one step once this one passes, d: leave the canary live (as Ctrl-C again does)"
        );
        // Nothing else of a run reads the terminal. A read cannot be cancelled: it must not
        // keep the process from ending either, so it has a thread that nobody waits for.
        if let Some(typed) = self.typed.take() {
            std::thread::spawn(move || {
                for line in std::io::stdin().lines().map_while(Result::ok) {
                    if typed.send(line).is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn answer(line: &str) -> Option<(Order, &'static str)> {
        match line.trim().to_lowercase().as_str() {
            "r" | "rollback" => Some((Order::Rollback, "rolling back")),
            "c" | "continue" => Some((Order::Resume, "going on")),
            "s" | "step" => Some((Order::Step, "one step once this one passes, then paused again")),
            "d" | "detach" => Some((Order::Stop, "leaving the canary live")),
            _ => None,
        }
    }
}

/// The figures below the lines, in a terminal only: drawn over themselves.
struct Footer {
    live: bool,
    drawn: usize,
    last: std::time::Instant,
}

impl Footer {
    /// More often than this nobody reads.
    const EVERY: Duration = Duration::from_millis(200);

    fn new(output: Output) -> Self {
        let live = output == Output::Text
            && std::io::stdout().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { live, drawn: 0, last: std::time::Instant::now() }
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            let mut stdout = std::io::stdout().lock();
            let _ = write!(stdout, "\x1b[{}A\x1b[J", self.drawn);
            let _ = stdout.flush();
            self.drawn = 0;
        }
    }

    fn draw(&mut self, progress: &Progress) {
        if progress.steps.is_empty() || (self.drawn > 0 && self.last.elapsed() < Self::EVERY) {
            return;
        }
        let (width, height) = crossterm::terminal::size().unwrap_or((80, 24));
        let lines = progress::lines(progress, usize::from(width));
        if lines.len() + 1 >= usize::from(height) {
            return;
        }
        self.clear();
        let mut stdout = std::io::stdout().lock();
        let _ = write!(stdout, "{}\r\n", lines.join("\r\n"));
        let _ = stdout.flush();
        self.drawn = lines.len();
        self.last = std::time::Instant::now();
    }
}

fn print(transition: &Transition, output: Output) {
    let line = match output {
        Output::Json => match serde_json::to_string(transition) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "a transition cannot be written as JSON");
                return;
            }
        },
        Output::Text => journal::text(transition),
    };
    let mut stdout = std::io::stdout().lock();
    // A closed pipe must not end a run with the canary live.
    let _ = writeln!(stdout, "{line}");
    if output == Output::Text
        && let Some(patch) = &transition.patch
        && let Ok(patch) = serde_json::to_string_pretty(patch)
    {
        let _ = writeln!(stdout, "{patch}");
    }
    if output == Output::Text
        && let Some(diff) = &transition.diff
    {
        let _ = write!(stdout, "\nTo commit, or the next sync undoes it:\n\n{diff}");
    }
    let _ = stdout.flush();
    if output == Output::Json && transition.finished.is_some_and(|exit| exit != Exit::Ok) {
        eprintln!("gwtop: {}: {}", transition.phase, transition.message);
    }
}
