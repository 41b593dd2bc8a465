//! `gwtop migrate --watch`: the progress of a fleet until nothing is left.

use std::{collections::BTreeSet, io::IsTerminal as _, time::Duration};

use serde_json::json;

use crate::{
    check::{Options, collect, seen::Seen},
    cluster::connect::Connection,
    exit::Exit,
    migrate::progress::{Phase, rows, table},
};

const SCHEMA: &str = "gwtop.dev/migrate-progress/v1";

/// Prints the table whenever it changes. 0 once no Ingress is left that is not deleted, 1 when it is
/// stopped before.
pub async fn watch(
    connection: &Connection,
    namespace: Option<&str>,
    options: &Options,
    every: Duration,
    json: bool,
) -> Exit {
    let mut before: BTreeSet<String> = BTreeSet::new();
    let mut last = None;
    let mut begun = false;
    loop {
        let mut seen = Seen::at(jiff::Timestamp::now());
        collect::cluster(&mut seen, connection, namespace).await;
        if let Some(why) = collect::unreadable(&seen) {
            eprintln!("gwtop: {why}");
            // A cluster that goes away for a while does not end a watch that has seen it.
            if !begun {
                return Exit::Unreachable;
            }
        } else {
            begun = true;
            collect::names(&mut seen, options, connection.request_timeout).await;
            let rows = rows(&seen, options, &before);
            before.extend(rows.iter().map(|row| row.ingress.clone()));
            if last.as_ref() != Some(&rows) {
                if json {
                    println!("{}", json!({"schema": SCHEMA, "ingresses": rows}));
                } else {
                    if std::io::stdout().is_terminal() {
                        print!("\x1b[2J\x1b[H");
                    }
                    print!("{}", table(&rows));
                }
                last = Some(rows.clone());
            }
            if rows.iter().all(|row| row.phase == Phase::Deleted) {
                return Exit::Ok;
            }
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Exit::ProblemsFound,
            () = tokio::time::sleep(every) => {}
        }
    }
}
