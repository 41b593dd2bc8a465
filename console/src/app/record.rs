//! `gwtop record`: what a console would hear, into a file.

use std::{io::Write as _, path::Path, time::Duration};

use color_eyre::eyre::{Result, WrapErr as _};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::{AppOptions, Wire, link};
use crate::{
    event::{Event, Link},
    exit::Exit,
    recording::{self, Entry, Line, Meter, file},
};

/// How often what was heard goes to the disk.
const FLUSH: Duration = Duration::from_secs(1);

/// Until the time is over or a signal ends it; whatever ends it, the file is whole.
pub async fn record(options: AppOptions, path: &Path, time: Option<Duration>) -> Result<Exit> {
    let failed = || format!("cannot write {}", path.display());
    let mut out = file::create(path).wrap_err_with(failed)?;
    recording::head(&mut out, &options.context).wrap_err_with(failed)?;
    let (mut wire, ways) = Wire::new();
    tokio::spawn(link(options.connect, None, options.metrics_urls, ways));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut flush = tokio::time::interval(FLUSH);
    let mut meters = std::collections::HashMap::<String, Meter>::new();
    let (mut lines, mut standing) = (0_u64, Link::Connecting);
    let over = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        let event = tokio::select! {
            biased;
            () = &mut over => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
            _ = flush.tick() => {
                out.flush().wrap_err_with(failed)?;
                continue;
            }
            event = wire.inbox.recv() => event,
        };
        let entry = match event {
            Some(Event::Change(change)) => Entry::Change(change),
            // The API is asked now and then; only what turns is news.
            Some(Event::Link(link)) if link != standing => {
                if let Link::Down(why) = &link {
                    eprintln!("gwtop: {why}; recording goes on when the API is back");
                }
                standing = link.clone();
                Entry::Link(link)
            }
            Some(Event::Scrape(scrape)) => {
                Entry::Samples(meters.entry(scrape.source.clone()).or_default().difference(&scrape))
            }
            Some(_) => continue,
            None => break,
        };
        recording::write(&mut out, &Line { at: Timestamp::now(), entry }).wrap_err_with(failed)?;
        lines += 1;
    }
    out.flush().wrap_err_with(failed)?;
    eprintln!("gwtop: {lines} entries in {}; look at them with: gwtop replay {}", path.display(), path.display());
    Ok(if matches!(standing, Link::Up { .. }) { Exit::Ok } else { Exit::Unreachable })
}
