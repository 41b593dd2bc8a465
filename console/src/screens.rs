//! Where `main` meets what draws.

use gwtop::{cluster::connect::ConnectOptions, exit::Exit};

// The two bodies are replaced by calls of `gwtop::app::run` and `gwtop::demo::run` when
// those are merged.

pub(crate) async fn console(_options: ConnectOptions, _metrics_urls: Vec<String>) -> Exit {
    eprintln!("gwtop: this build has no console; `gwtop status` shows what is there");
    Exit::Usage
}

pub(crate) async fn demo(_headless: bool) -> Exit {
    eprintln!("gwtop: this build has no demo");
    Exit::Usage
}
