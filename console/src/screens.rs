//! Where `main` meets what draws.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use gwtop::{
    app::{self, AppOptions, Look},
    cluster::connect::{ConnectOptions, configure},
    demo,
    exit::Exit,
};

pub(crate) async fn console(options: ConnectOptions, metrics_urls: Vec<String>, look: Look) -> Exit {
    // A cluster that does not answer may come back; a kubeconfig that is not there will not.
    let context = match configure(&options).await {
        Ok(connection) => connection.context,
        Err(error) => {
            eprintln!("gwtop: {error}");
            return Exit::Unreachable;
        }
    };
    let options = AppOptions {
        connect: Box::new(move || {
            let options = options.clone();
            Box::pin(async move { configure(&options).await })
        }),
        context,
        notice: String::new(),
        interval: None,
        look,
        metrics_urls,
    };
    finish(Box::pin(app::run(options)).await)
}

pub(crate) async fn demo(headless: bool, pictures: Option<PathBuf>, look: Look) -> Exit {
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

fn finish(outcome: color_eyre::Result<Exit>) -> Exit {
    outcome.unwrap_or_else(|error| {
        // The terminal may be what failed.
        let _ = writeln!(std::io::stderr(), "gwtop: {error:#}");
        Exit::Internal
    })
}
