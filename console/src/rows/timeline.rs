//! What happened: newest first.

use jiff::tz::TimeZone;

use super::{Cell, Column, Row, admitted, column, muted, plain};
use crate::{
    model::{
        health::{Health, Verdict},
        key::{Kind, ObjectKey},
        timeline::Timeline,
    },
    screen::{Lens, RowKey},
};

pub(super) const COLUMNS: &[Column] =
    &[column("TIME", 8, 0), column("STATE", 10, 2), column("OBJECT", 32, 1), column("WHAT", 30, 0).flex()];

pub(super) fn rows(timeline: &Timeline, lens: &Lens) -> Vec<Row> {
    let mut moments: Vec<_> = timeline.moments().collect();
    moments.sort_by_key(|moment| std::cmp::Reverse((moment.at, moment.number)));
    moments
        .into_iter()
        .filter(|moment| !lens.faults || moment.health.is_some_and(Health::is_fault))
        .filter_map(|moment| {
            let nothing = || ObjectKey::new(Kind::Namespace, "", "");
            let key = moment.key.clone().unwrap_or_else(nothing);
            admitted(lens, &key.namespace, || format!("{} {key} {}", key.kind.name(), moment.text)).then(|| Row {
                verdict: moment
                    .health
                    .map_or_else(|| Verdict::new(Health::Ok, ""), |health| Verdict::new(health, health.word())),
                key: RowKey::Moment(moment.number, key),
                rps: 0.0,
                created: Some(moment.at),
            })
        })
        .collect()
}

pub(super) fn cells(row: &Row, timeline: &Timeline) -> Vec<Cell> {
    let RowKey::Moment(number, _) = &row.key else { return Vec::new() };
    let Some(moment) = timeline.find(*number) else { return Vec::new() };
    let time = moment.at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
    let object = moment.key.as_ref().map(|key| format!("{} {key}", key.kind.name())).unwrap_or_default();
    let state = match moment.health {
        Some(_) => Cell::Status(row.verdict.clone()),
        None => muted("change"),
    };
    vec![muted(time), state, plain(object), plain(&moment.text)]
}
