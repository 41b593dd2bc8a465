//! The only loop: wraps whatever happens in an event, does what `update` asks for, draws.

use std::{
    future::Future,
    io::{Write as _, stdout},
    pin::Pin,
    sync::Arc,
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

use crate::{
    canary::{self, Order},
    cluster::{
        connect::{ConnectError, Connection},
        send::{FIELD_MANAGER, rehearse, send},
    },
    event::Event,
    exit::Exit,
    query::questions,
    recording::{self, Recording, player::Player},
    screen::{Judged, Message, Question, State, Tone},
    terminal,
    theme::{Palette, Theme},
    update::{Effect, update},
    view,
};

mod link;
pub mod record;

use link::{Wire, link};

/// At most 30 frames a second.
const FRAME: Duration = Duration::from_millis(33);
const TICK: Duration = Duration::from_secs(1);
/// How often a recording moves on.
const BEAT: Duration = Duration::from_millis(50);

pub type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

pub type Connect = Arc<dyn Fn(Option<String>) -> Connecting + Send + Sync>;

pub struct AppOptions {
    /// Makes a client of a context, the usual one if none is named; called again for as long as it
    /// fails.
    pub connect: Connect,
    /// Contexts that there are, the current one marked.
    pub contexts: Box<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>,
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
    let (mut wire, ways) = Wire::new();
    tokio::spawn(link(options.connect, None, options.metrics_urls, ways));
    let until = tokio::time::Instant::now() + time;
    while let Ok(Some(event)) = tokio::time::timeout_at(until, wire.inbox.recv()).await {
        state.now = Instant::now();
        state.wall = Timestamp::now();
        // Nobody presses keys, so nothing is asked for but what is judged at the end.
        let _ = update(&mut state, event);
    }
    state.judged = Judged::of(&state.store, state.wall, None);
    state
}

pub async fn run(options: AppOptions) -> Result<Exit> {
    drive(options, None).await
}

/// The console on a recording.
pub async fn replay(recording: Recording, look: Look) -> Result<Exit> {
    let options = AppOptions {
        connect: Arc::new(|_| Box::pin(std::future::pending())),
        contexts: Box::new(|| Err("a recording has one context".to_owned())),
        context: recording.context.clone(),
        notice: String::new(),
        interval: None,
        look: Look { readonly: true, ..look },
        metrics_urls: Vec::new(),
    };
    drive(options, Some(recording)).await
}

/// The state of a console on a recording, without a terminal.
pub fn still(recording: Recording, palette: Palette) -> State {
    let (theme, _) = Theme::load("dark");
    let mut state = State::new(recording.context.clone(), theme.fit(palette), Instant::now(), Timestamp::now());
    play(&mut state, recording);
    state
}

/// Shows the first moment of a recording.
pub fn play(state: &mut State, recording: Recording) {
    let cut = recording.cut.clone();
    state.player = Some(Box::new(Player::new(recording, state.now)));
    state.readonly = true;
    let _ = update(state, Event::Beat(Duration::ZERO));
    if let Some(cut) = cut {
        state.screen.message = Some(Message { tone: Tone::Warn, text: cut });
    }
}

async fn drive(options: AppOptions, recording: Option<Recording>) -> Result<Exit> {
    let mut state = begin(&options);
    let (guard, mut screen) = terminal::take().wrap_err("cannot take the terminal")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    draw(&mut screen, &mut state)?;
    let (events, mut replies) = mpsc::channel::<Event>(1024);
    let (mut wire, ways) = Wire::new();
    match recording {
        None => drop(tokio::spawn(link(Arc::clone(&options.connect), None, options.metrics_urls.clone(), ways))),
        Some(recording) => play(&mut state, recording),
    }

    let mut keys = EventStream::new();
    let mut tick = tokio::time::interval(TICK);
    let mut beat = tokio::time::interval(BEAT);
    let mut beaten = Instant::now();
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
            Some(made) = wire.connected.recv() => connection = Some(made),
            () = tokio::time::sleep_until((drawn + FRAME).into()), if dirty => {
                if let Err(error) = draw(&mut screen, &mut state) {
                    tracing::warn!("the terminal takes no more frames: {error}");
                    break Exit::Ok;
                }
                drawn = Instant::now();
                dirty = false;
            }
            Some(event) = replies.recv() => happened.push(event),
            Some(event) = wire.inbox.recv() => {
                let mut many = vec![event];
                while many.len() < 4096 && let Ok(event) = wire.inbox.try_recv() {
                    many.push(event);
                }
                happened.push(Event::Many(many));
            }
            _ = beat.tick(), if state.player.as_ref().is_some_and(|player| player.playing) => {
                happened.push(Event::Beat(beaten.elapsed().min(2 * BEAT)));
                beaten = Instant::now();
            }
            _ = tick.tick() => happened.push(Event::Tick),
        }
        dirty |= !happened.is_empty();
        if state.player.is_none() {
            state.now = Instant::now();
            state.wall = Timestamp::now();
        }
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
                    Effect::Ask(question) => {
                        let (events, connection) = (events.clone(), connection.clone());
                        let contexts = (question == Question::Contexts).then(|| (options.contexts)());
                        tokio::spawn(async move {
                            let answer = match contexts {
                                Some(contexts) => contexts,
                                None => questions::answer(connection.as_ref(), &question).await,
                            };
                            let _ = events.send(Event::Told(question, answer)).await;
                        });
                    }
                    Effect::Connect(context) => {
                        let (next, ways) = Wire::new();
                        // Whatever the old one still had to say is dropped with it.
                        wire = next;
                        (connection, orders) = (None, None);
                        let connect = Arc::clone(&options.connect);
                        tokio::spawn(link(connect, Some(context), options.metrics_urls.clone(), ways));
                    }
                    Effect::Save(lines) => {
                        let (events, context) = (events.clone(), state.context.clone());
                        tokio::task::spawn_blocking(move || {
                            let saved = recording::file::save(&context, &lines);
                            let _ = events.blocking_send(Event::Saved(saved));
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
