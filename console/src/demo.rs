//! `gwtop demo`: a live gateway on this machine, with services and load, and no cluster.
//!
//! The only caller of gwproxy's start functions.

mod backends;
mod ground;
mod load;
mod story;

use std::time::Duration;

use color_eyre::eyre::Result;

use crate::{
    app::{self, AppOptions},
    exit::Exit,
};
use ground::Ground;

/// Whoever tries the demo does not want to wait as long as production should.
const STEP: Duration = Duration::from_secs(10);

/// Opens the console on the demo.
pub async fn console() -> Result<Exit> {
    eprintln!("starting the local API, gwproxy, {} services and their load", backends::PROFILES.len());
    let ground = Ground::start().await?;
    let connection = ground.connection.clone();
    let outcome = app::run(AppOptions {
        context: connection.context.clone(),
        connect: Box::new(move || {
            let connection = connection.clone();
            Box::pin(async move { Ok(connection) })
        }),
        notice: format!("demo: from another terminal, export KUBECONFIG={}", ground.link().display()),
        interval: Some(STEP),
        theme: None,
        readonly: false,
        palette: None,
        metrics_urls: Vec::new(),
    })
    .await;
    ground.stop().await;
    outcome
}

/// Plays the story without a terminal; see [`story`].
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
