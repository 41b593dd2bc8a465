//! Performs what the machine decides: reads, writes, probes, scrapes, leases.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use self::{preflight::Refused, tell::Teller};
use super::{Order, Run, Settings, Transition, machine::Event, progress::Progress};
use crate::{
    cluster::{connect::Connection, lease},
    exit::Exit,
};

mod checks;
mod driver;
mod dry;
pub(in crate::canary) mod heartbeat;
mod judge;
mod preflight;
pub(in crate::canary) mod target;
mod tell;

/// What every part of a run needs.
pub(super) struct Context {
    connection: Connection,
    settings: Settings,
    run: String,
    holder: String,
}

/// Starts a run. It goes on until it ends by itself or is ordered to.
pub fn spawn(connection: Connection, settings: Settings) -> Run {
    let (events, receiver) = mpsc::channel(256);
    let (commands, orders) = mpsc::channel(16);
    let (sender, progress) = watch::channel(Progress::default());
    tokio::spawn(run(connection, settings, events, orders, sender));
    Run { events: receiver, commands, progress }
}

async fn run(
    connection: Connection,
    settings: Settings,
    events: mpsc::Sender<Transition>,
    mut orders: mpsc::Receiver<Order>,
    progress: watch::Sender<Progress>,
) {
    let now = Timestamp::now();
    let run = format!("{}-{}", now.strftime("%Y%m%dT%H%M%S%3f"), std::process::id());
    let holder = format!("{}/{}", lease::identity(), now.as_millisecond());
    let context = Arc::new(Context { connection, settings, run, holder });
    let mut teller = Teller::new(&context, events);
    // What was ordered before there was a run to order.
    let mut early = Vec::new();
    // Steps are counted only where there are some.
    let ready = match context.settings.validate() {
        Err(why) => Err(Refused::usage(why)),
        Ok(()) => {
            let mut preflight = std::pin::pin!(preflight::preflight(&context));
            loop {
                tokio::select! {
                    ready = &mut preflight => break ready,
                    Some(order) = orders.recv() => match order {
                        Order::Rollback | Order::Stop => {
                            let message = "stopped before anything was written".to_owned();
                            break Err(Refused { exit: Exit::Stopped, message });
                        }
                        order => early.push(order),
                    },
                }
            }
        }
    };
    match ready {
        Ok(ready) if context.settings.dry_run.is_some() => Box::pin(dry::run(&context, &teller, ready)).await,
        Ok(ready) => {
            let mut driver = driver::Driver::new(context, teller, ready, progress);
            driver.queue.extend(early.into_iter().map(Event::Order));
            Box::pin(driver.drive(orders)).await;
        }
        Err(Refused { exit, message }) => {
            let phase = if exit == Exit::Unreachable { "Unreachable" } else { "Refused" };
            let last = Transition { phase, message, finished: Some(exit), ..teller.blank() };
            teller.tell(last).await;
        }
    }
}
