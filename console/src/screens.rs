//! Where `main` meets what draws.

use gwtop::{
    app::{self, AppOptions},
    cluster::connect::{ConnectOptions, configure},
    exit::Exit,
};

pub(crate) async fn console(options: ConnectOptions, metrics_urls: Vec<String>) -> Exit {
    let context = options.context.clone().unwrap_or_else(|| "the current context".to_owned());
    let options = AppOptions {
        connect: Box::new(move || {
            let options = options.clone();
            Box::pin(async move { configure(&options).await })
        }),
        context,
        title: String::new(),
        theme: None,
        readonly: false,
        palette: None,
        metrics_urls,
    };
    match app::run(options).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("gwtop: {error:#}");
            Exit::Internal
        }
    }
}

pub(crate) async fn demo(_headless: bool) -> Exit {
    eprintln!("gwtop: this build has no demo");
    Exit::Usage
}
