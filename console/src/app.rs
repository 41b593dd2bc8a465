//! The only loop: wraps whatever happens in an event, does what `update` asks for, draws.

use std::{
    future::Future,
    io::{Write as _, stdout},
    pin::Pin,
    time::{Duration, Instant},
};

use color_eyre::eyre::{Result, WrapErr as _};
use crossterm::{
    event::{Event as TerminalEvent, EventStream, KeyEventKind},
    execute,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    canary::{self, Order},
    cluster::{
        connect::{ConnectError, Connection, ping},
        send::{FIELD_MANAGER, rehearse, send},
        watch,
    },
    event::{Event, Link},
    exit::Exit,
    screen::{Judged, Message, State, Tone},
    terminal,
    theme::{Palette, Theme},
    traffic::scrape,
    update::{Effect, update},
    view,
};

/// At most 30 frames a second.
const FRAME: Duration = Duration::from_millis(33);
const TICK: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(5);
const SCRAPE: Duration = Duration::from_secs(1);

pub type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

pub struct AppOptions {
    /// Makes a client; called again for as long as it fails.
    pub connect: Box<dyn Fn() -> Connecting + Send + Sync>,
    /// Shown until the connection says better.
    pub context: String,
    /// Shown where messages are, as long as there is nothing to tell.
    pub notice: String,
    /// How long each step of a run from the panel is observed; none for the command's own.
    pub interval: Option<Duration>,
    pub look: Look,
    pub metrics_urls: Vec<String>,
}

/// How the console looks, and whether it may do more than look.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Name or file; none for the built-in one.
    pub theme: Option<String>,
    /// None: as the terminal says.
    pub palette: Option<Palette>,
    pub readonly: bool,
}

fn begin(options: &AppOptions) -> State {
    let (theme, problems) = Theme::load(options.look.theme.as_deref().unwrap_or("dark"));
    let palette = options.look.palette.unwrap_or_else(palette);
    let theme = theme.fit(palette);
    let mut state = State::new(options.context.clone(), theme, Instant::now(), Timestamp::now());
    state.palette = palette;
    state.notice.clone_from(&options.notice);
    if let Some(interval) = options.interval {
        state.interval = interval;
    }
    state.readonly = options.look.readonly;
    state.ascii = !utf8();
    if let Some(problem) = problems.first() {
        state.screen.message = Some(Message { tone: Tone::Warn, text: problem.to_string() });
    }
    state
}

/// The state after watching for so long without a terminal; what pictures are made from.
pub async fn observe(options: AppOptions, time: Duration) -> State {
    let mut state = begin(&options);
    state.ascii = false;
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let (events, mut inbox) = mpsc::channel::<Event>(1024);
    let (connections, _connected) = mpsc::channel::<Connection>(1);
    tokio::spawn(link(options.connect, options.metrics_urls, events, connections, cancel));
    let until = tokio::time::Instant::now() + time;
    while let Ok(Some(event)) = tokio::time::timeout_at(until, inbox.recv()).await {
        state.now = Instant::now();
        state.wall = Timestamp::now();
        // Nobody presses keys, so nothing is asked for but what is judged at the end.
        let _ = update(&mut state, event);
    }
    state.judged = Judged::of(&state.store, state.wall, None);
    state
}

pub async fn run(options: AppOptions) -> Result<Exit> {
    let mut state = begin(&options);
    let (guard, mut screen) = terminal::take().wrap_err("cannot take the terminal")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    draw(&mut screen, &mut state)?;
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let (events, mut inbox) = mpsc::channel::<Event>(1024);
    let (connections, mut connected) = mpsc::channel::<Connection>(1);
    tokio::spawn(link(options.connect, options.metrics_urls, events.clone(), connections, cancel.clone()));

    let mut keys = EventStream::new();
    let mut tick = tokio::time::interval(TICK);
    let mut connection: Option<Connection> = None;
    let mut orders: Option<mpsc::Sender<Order>> = None;
    let mut drawn = Instant::now();
    let mut dirty = false;
    let exit = 'live: loop {
        let mut happened = Vec::new();
        tokio::select! {
            biased;
            _ = terminate.recv() => break Exit::Ok,
            _ = hangup.recv() => break Exit::Ok,
            _ = interrupt.recv() => break Exit::Ok,
            key = keys.next() => match key {
                Some(Ok(event)) => {
                    dirty = true;
                    happened.extend(of_terminal(event));
                }
                // The terminal is gone.
                Some(Err(_)) | None => break Exit::Ok,
            },
            Some(made) = connected.recv() => connection = Some(made),
            () = tokio::time::sleep_until((drawn + FRAME).into()), if dirty => {
                if let Err(error) = draw(&mut screen, &mut state) {
                    tracing::warn!("the terminal takes no more frames: {error}");
                    break Exit::Ok;
                }
                drawn = Instant::now();
                dirty = false;
            }
            Some(event) = inbox.recv() => {
                happened.push(event);
                while happened.len() < 4096 && let Ok(event) = inbox.try_recv() {
                    happened.push(event);
                }
            }
            _ = tick.tick() => happened.push(Event::Tick),
        }
        dirty |= !happened.is_empty();
        state.now = Instant::now();
        state.wall = Timestamp::now();
        for event in happened {
            for effect in update(&mut state, event) {
                match effect {
                    Effect::Quit => break 'live Exit::Ok,
                    Effect::Send(plan) => {
                        let Some(connection) = connection.clone() else { continue };
                        let events = events.clone();
                        tokio::spawn(async move {
                            let outcome = send(&connection, &plan).await;
                            let _ = events.send(Event::Outcome(plan, outcome)).await;
                        });
                    }
                    Effect::Rehearse(plan) => {
                        let Some(connection) = connection.clone() else { continue };
                        let events = events.clone();
                        tokio::spawn(async move {
                            let outcome = rehearse(&connection, &plan.target, FIELD_MANAGER, &plan.patch).await;
                            let outcome = outcome.map_err(|failure| failure.to_string());
                            let _ = events.send(Event::Rehearsed(plan, outcome)).await;
                        });
                    }
                    Effect::Judge(store, route) => {
                        let (events, wall) = (events.clone(), state.wall);
                        tokio::task::spawn_blocking(move || {
                            let judged = Judged::of(&store, wall, route);
                            let _ = events.blocking_send(Event::Judged(Box::new(judged)));
                        });
                    }
                    Effect::Copy(text) => terminal::copy(&text),
                    Effect::Seek(seek) => {
                        let lines = view::text_of_page(&state);
                        let _ = update(&mut state, Event::Text(seek, lines));
                    }
                    Effect::StartRun(settings) => {
                        let Some(connection) = connection.clone() else { continue };
                        let run = canary::drive::spawn(connection, *settings);
                        orders = Some(run.commands);
                        tokio::spawn(tell(run.events, events.clone()));
                    }
                    Effect::Order(order) => {
                        // A full queue means that the run has not come to the earlier orders yet.
                        let taken = orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok());
                        if !taken {
                            let text = format!("the run did not take the order to {order:?}: it has ended or is busy");
                            state.screen.message = Some(Message { tone: Tone::Bad, text: text.to_lowercase() });
                        }
                    }
                }
            }
        }
    };
    drop(guard);
    if state.screen.canary.run.as_ref().is_some_and(|run| !run.ended) {
        // After a hang-up there is nobody to tell: that must not become a panic.
        let _ = writeln!(
            std::io::stderr(),
            "gwtop: the automatic canary ends with the console; `gwtop canary` takes it up where it is"
        );
    }
    Ok(exit)
}

async fn tell(mut transitions: mpsc::Receiver<canary::Transition>, events: mpsc::Sender<Event>) {
    while let Some(transition) = transitions.recv().await {
        let _ = events.send(Event::Transition(Box::new(transition))).await;
    }
    let _ = events.send(Event::RunEnded).await;
}

/// Connects, for ever if need be, then passes on what watches and scrapes say.
async fn link(
    connect: Box<dyn Fn() -> Connecting + Send + Sync>,
    metrics_urls: Vec<String>,
    events: mpsc::Sender<Event>,
    connections: mpsc::Sender<Connection>,
    cancel: CancellationToken,
) {
    let mut wait = Duration::from_millis(500);
    let connection = loop {
        let made = match connect().await {
            Ok(connection) => ping(&connection).await.map(|()| connection),
            Err(error) => Err(error),
        };
        match made {
            Ok(connection) => break connection,
            Err(error) => {
                if events.send(Event::Link(Link::Down(first_line(&error)))).await.is_err() {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    };
    let up = Link::Up { context: connection.context.clone(), url: connection.cluster_url.clone() };
    let _ = connections.send(connection.clone()).await;
    let _ = events.send(Event::Link(up.clone())).await;
    let mut changes = watch::spawn(&connection, &cancel);
    let mut scrapes = scrape::follow(&connection, metrics_urls, SCRAPE, cancel.clone());
    let mut standing = watch_over(connection.clone(), up, cancel.clone());
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            Some(change) = changes.recv() => Event::Change(change),
            Some(scrape) = scrapes.recv() => Event::Scrape(scrape),
            Some(link) = standing.recv() => Event::Link(link),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Asks the API now and then whether it is there: a watch that hears nothing looks the same
/// whether the API is idle or gone.
fn watch_over(connection: Connection, up: Link, cancel: CancellationToken) -> mpsc::Receiver<Link> {
    let (tell, standing) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut due = tokio::time::interval(PING);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = due.tick() => {}
            }
            let link = match ping(&connection).await {
                Ok(()) => up.clone(),
                Err(error) => Link::Down(first_line(&error)),
            };
            if tell.send(link).await.is_err() {
                return;
            }
        }
    });
    standing
}

fn first_line(error: &ConnectError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn of_terminal(event: TerminalEvent) -> Option<Event> {
    match event {
        TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => Some(Event::Key(key)),
        TerminalEvent::Paste(text) => Some(Event::Paste(text)),
        TerminalEvent::Resize(..) => Some(Event::Tick),
        _ => None,
    }
}

fn draw(screen: &mut terminal::Screen, state: &mut State) -> Result<()> {
    execute!(stdout(), BeginSynchronizedUpdate)?;
    screen.draw(|frame| {
        let area = frame.area();
        state.screen.height = view::list_height(area);
        state.screen.width = area.width;
        view::draw(frame.buffer_mut(), area, state);
    })?;
    execute!(stdout(), EndSynchronizedUpdate)?;
    Ok(())
}

fn palette() -> Palette {
    let var = |name| std::env::var(name).unwrap_or_default();
    if !var("NO_COLOR").is_empty() || matches!(var("TERM").as_str(), "dumb" | "vt100" | "linux-m") {
        Palette::None
    } else if matches!(var("COLORTERM").as_str(), "truecolor" | "24bit") {
        Palette::Rgb
    } else {
        Palette::Indexed
    }
}

fn utf8() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    locale.is_none_or(|locale| locale.to_lowercase().replace('-', "").contains("utf8"))
}
