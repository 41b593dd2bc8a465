//! Where `main` meets what draws.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use gwtop::{
    app::{self, AppOptions, Look},
    cluster::connect::{ConnectOptions, configure, contexts},
    demo,
    exit::Exit,
    recording,
};

use crate::args::{Demo, Replay};

pub(crate) async fn console(options: ConnectOptions, metrics_urls: Vec<String>, look: Look) -> Exit {
    match app_options(options, metrics_urls, look).await {
        Ok(options) => finish(Box::pin(app::run(options)).await),
        Err(exit) => exit,
    }
}

pub(crate) async fn record(
    options: ConnectOptions,
    metrics_urls: Vec<String>,
    file: &Path,
    time: Option<Duration>,
) -> Exit {
    match app_options(options, metrics_urls, Look::default()).await {
        Ok(options) => finish(Box::pin(app::record::record(options, file, time)).await),
        Err(exit) => exit,
    }
}

async fn app_options(options: ConnectOptions, metrics_urls: Vec<String>, look: Look) -> Result<AppOptions, Exit> {
    // A cluster that does not answer may come back; a kubeconfig that is not there will not.
    let context = match configure(&options).await {
        Ok(connection) => connection.context,
        Err(error) => {
            eprintln!("gwtop: {error}");
            return Err(Exit::Unreachable);
        }
    };
    Ok(AppOptions {
        contexts: Box::new({
            let options = options.clone();
            move || contexts(&options)
        }),
        connect: Arc::new(move |context| {
            let options = match context {
                // Another context has a cluster and a user of its own.
                Some(context) => {
                    ConnectOptions { context: Some(context), cluster: None, user: None, ..options.clone() }
                }
                None => options.clone(),
            };
            Box::pin(async move { configure(&options).await })
        }),
        context,
        notice: String::new(),
        interval: None,
        look,
        metrics_urls,
    })
}

pub(crate) async fn demo(args: Demo, look: Look) -> Exit {
    let Demo { headless, pictures, incident } = args;
    if let Some(file) = incident {
        return finish(Box::pin(demo::incident(&file)).await);
    }
    if let Some(folder) = pictures {
        return finish(Box::pin(demo::pictures(&folder)).await);
    }
    if !headless && !std::io::stdout().is_terminal() {
        eprintln!("gwtop: the demo's console needs a terminal; without one there is `gwtop demo --headless`");
        return Exit::Usage;
    }
    let outcome = if headless { Box::pin(demo::headless()).await } else { Box::pin(demo::console(look)).await };
    finish(outcome)
}

pub(crate) async fn replay(args: &Replay, look: Look) -> Exit {
    let file = &args.file;
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let recording = match read.and_then(|text| recording::read(&text).map_err(|error| error.to_string())) {
        Ok(recording) => recording,
        Err(why) => {
            eprintln!("gwtop: cannot play {}: {why}", file.display());
            return Exit::Usage;
        }
    };
    if let Some(folder) = &args.pictures {
        return finish(demo::pictures_of(recording, folder));
    }
    if !std::io::stdout().is_terminal() {
        eprintln!("gwtop: a recording is played on a terminal");
        return Exit::Usage;
    }
    finish(Box::pin(app::replay(recording, look)).await)
}

fn finish(outcome: color_eyre::Result<Exit>) -> Exit {
    outcome.unwrap_or_else(|error| {
        // The terminal may be what failed.
        let _ = writeln!(std::io::stderr(), "gwtop: {error:#}");
        Exit::Internal
    })
}
