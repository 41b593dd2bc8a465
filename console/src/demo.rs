//! `gwtop demo`: a live gateway on this machine, with services and load, and no cluster.
//!
//! The only caller of gwproxy's start functions.

mod backends;
mod ground;
mod incident;
mod load;
mod story;

use std::{fs, path::Path, sync::Arc, time::Duration};

use color_eyre::eyre::{Result, WrapErr as _};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    app::{self, AppOptions, Look},
    event::Event,
    exit::Exit,
    picture,
    recording::Recording,
    screen::Judged,
    theme::Palette,
    update::update,
};
use ground::Ground;

/// Of the pictures, in cells.
const WIDTH: u16 = 118;
/// Whoever tries the demo does not want to wait as long as production should.
const STEP: Duration = Duration::from_secs(10);

/// Opens the console on the demo.
pub async fn console(look: Look) -> Result<Exit> {
    eprintln!("starting the local API, gwproxy, {} services and their load", backends::PROFILES.len());
    let ground = Ground::start().await?;
    let notice = format!("demo: from another terminal, export KUBECONFIG={}", ground.link().display());
    let outcome = app::run(options(&ground, notice, look)).await;
    ground.stop().await;
    outcome
}

/// Writes pictures of the console's own frames: the list, a route, its canary.
pub async fn pictures(folder: &Path) -> Result<Exit> {
    fs::create_dir_all(folder).wrap_err_with(|| format!("cannot create {}", folder.display()))?;
    let ground = Ground::start().await?;
    let look = Look { palette: Some(Palette::Rgb), ..Look::default() };
    let mut state = app::observe(options(&ground, String::new(), look), Duration::from_secs(25)).await;
    ground.stop().await;
    for (name, height, keys) in [("routes", 14, ""), ("route", 22, "/app-canary\r\r"), ("canary", 20, "\x1bp++")] {
        for key in keys.chars() {
            let code = match key {
                '\r' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                key => KeyCode::Char(key),
            };
            let _ = update(&mut state, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        let file = folder.join(format!("{name}.svg"));
        let picture = picture::svg(&picture::screen(&state, WIDTH, height), "gwtop demo");
        fs::write(&file, picture).wrap_err_with(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(Exit::Ok)
}

/// Plays an incident and records it.
pub async fn incident(file: &Path) -> Result<Exit> {
    let ground = Ground::start().await?;
    let outcome = incident::play(&ground, options(&ground, String::new(), Look::default()), file).await;
    ground.stop().await;
    outcome
}

/// Writes pictures of a recording at its first problem: the list, why, and at its end the timeline.
pub fn pictures_of(recording: Recording, folder: &Path) -> Result<Exit> {
    fs::create_dir_all(folder).wrap_err_with(|| format!("cannot create {}", folder.display()))?;
    let mut state = app::still(recording, Palette::Rgb);
    for (name, height, keys) in [("alarm", 12, "}"), ("cause", 30, "w"), ("proof", 16, "\x1b5")] {
        for key in keys.chars() {
            let code = if key == '\x1b' { KeyCode::Esc } else { KeyCode::Char(key) };
            let _ = update(&mut state, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        let way = state.screen.selection().map(|key| key.object().clone());
        state.judged = Judged::of(&state.store, state.wall, way);
        let file = folder.join(format!("incident-{name}.svg"));
        let picture = picture::svg(&picture::screen(&state, WIDTH, height), "gwtop replay");
        fs::write(&file, picture).wrap_err_with(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
        if name == "cause" {
            // To the end, where it is over.
            let _ = update(&mut state, Event::Key(KeyEvent::new(KeyCode::Char(' '), KeyModifiers::NONE)));
            let _ = update(&mut state, Event::Beat(Duration::from_secs(3600)));
            state.screen.message = None;
        }
    }
    Ok(Exit::Ok)
}

fn options(ground: &Ground, notice: String, look: Look) -> AppOptions {
    let connection = ground.connection.clone();
    AppOptions {
        context: connection.context.clone(),
        connect: Arc::new(move |_| {
            let connection = connection.clone();
            Box::pin(async move { Ok(connection) })
        }),
        contexts: Box::new(|| Ok(vec!["the demo is the only one".to_owned()])),
        notice,
        interval: Some(STEP),
        look,
        metrics_urls: Vec::new(),
    }
}

/// Plays the story without a terminal.
pub async fn headless() -> Result<Exit> {
    eprintln!("starting the local API, gwproxy, {} services and their load", backends::PROFILES.len());
    let ground = Ground::start().await?;
    eprintln!("Gateway at http://{}, kubeconfig {}", ground.gateway, ground.link().display());
    let interrupted = async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    };
    let outcome = tokio::select! {
        outcome = story::play(&ground) => outcome,
        _ = interrupted => {
            eprintln!("interrupted");
            Ok(Exit::Stopped)
        }
    };
    ground.stop().await;
    outcome
}
