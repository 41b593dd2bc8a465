//! What pages ask that no watch tells.

use jiff::Timestamp;

use super::events::{self, Event};
use crate::{
    cluster::{connect::Connection, read},
    screen::Question,
    settings::gwtop_state,
};

/// The newest of them that fit a page one can still read.
const MOST: usize = 2000;

pub async fn answer(connection: Option<&Connection>, question: &Question) -> Result<Vec<String>, String> {
    match question {
        Question::Audit => audit(),
        Question::Contexts => Ok(Vec::new()),
        Question::Events(of) => {
            let connection = connection.ok_or("there is no connection to ask")?;
            let events = match of {
                Some(key) => events::of(connection, key).await,
                None => {
                    let all = read::events(connection, None).await.map_err(|failure| failure.to_string())?;
                    let mut events: Vec<Event> = all.into_iter().filter_map(Event::read).collect();
                    events.sort_by_key(|event| event.at);
                    events
                }
            };
            let from = events.len().saturating_sub(MOST);
            let table = events::table(&events[from..], Timestamp::now(), of.is_none());
            Ok(table.lines().map(str::to_owned).collect())
        }
    }
}

/// Of the audit file, a line each.
fn audit() -> Result<Vec<String>, String> {
    let path = gwtop_state().join("audit.jsonl");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let all: Vec<&str> = text.lines().collect();
    let said = |line: &&str| {
        let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) else { return format!("? {line}") };
        let word = |field: &str| entry.get(field).and_then(serde_json::Value::as_str).unwrap_or("-").to_owned();
        let of = |field: &str| entry.pointer(&format!("/object/{field}")).and_then(serde_json::Value::as_str);
        let object = ["kind", "namespace", "name"].map(|field| of(field).unwrap_or("-")).join("/");
        format!("{}  {:<11}  {}  {object}  {}", word("time"), word("outcome"), word("context"), word("summary"))
    };
    Ok(all.iter().skip(all.len().saturating_sub(MOST)).map(said).collect())
}
