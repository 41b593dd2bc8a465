//! Why a route is as it is, and what hangs on an object.

use ratatui::text::{Line, Span};

use crate::{
    finding::{Finding, Severity},
    model::{key::ObjectKey, store::Feed},
    rows::tree,
    screen::State,
    theme::Role,
    triage::chain::{Chain, Standing},
};

pub(super) fn lines(key: &ObjectKey, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let judged = &state.judged;
    let known = judged.way.as_ref().filter(|(of, _)| of == key);
    let Some((_, chain)) = known else {
        let lost = matches!(state.store.feed(key.kind), Feed::Loading);
        let text = if lost { "loading" } else { "looking" };
        return vec![Line::styled(text, theme.style(Role::Unknown))];
    };
    match chain {
        Some(chain) => of_chain(chain, state),
        None => {
            let own = judged.report.findings.iter().filter(|one| {
                one.object.kind == key.kind.name()
                    && one.object.namespace == key.namespace
                    && one.object.name == key.name
            });
            let mut lines: Vec<Line<'static>> = own.flat_map(|one| finding(one, state)).collect();
            if lines.is_empty() {
                lines.push(Line::styled("nothing is wrong with it", theme.style(Role::Ok)));
            }
            lines
        }
    }
}

fn of_chain(chain: &Chain, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let verdict = match chain.broken.map(|at| &chain.hops[at]) {
        Some(hop) => Line::styled(format!("broken at its {}: {}", hop.step.word(), hop.says), theme.style(Role::Bad)),
        None => Line::styled("requests can reach its backends", theme.style(Role::Ok)),
    };
    let mut lines = vec![verdict, Line::default()];
    let width = chain.hops.iter().map(|hop| hop.subject.chars().count()).max().unwrap_or_default().min(44);
    for (at, hop) in chain.hops.iter().enumerate() {
        let role = match hop.standing {
            Standing::Ok => Role::Ok,
            Standing::Note => Role::Muted,
            Standing::Warning => Role::Warn,
            Standing::Unknown => Role::Unknown,
            Standing::Broken => Role::Bad,
        };
        let glyph = if state.ascii { hop.standing.ascii() } else { hop.standing.glyph() };
        let first = chain.broken == Some(at);
        let mark = match (first, state.ascii) {
            (true, false) => "→",
            (true, true) => ">",
            (false, _) => " ",
        };
        let says = theme.style(if first { Role::Bad } else { Role::Text });
        lines.push(Line::from(vec![
            Span::styled(format!("{mark} {glyph} "), theme.style(role)),
            Span::styled(format!("{:<10}  ", hop.step.word()), theme.style(Role::Key)),
            Span::styled(format!("{:<width$}  ", hop.subject), theme.style(Role::Muted)),
            Span::styled(hop.says.clone(), says),
            Span::styled(hop.id.map(|id| format!("  {id}")).unwrap_or_default(), theme.style(Role::Muted)),
        ]));
    }
    for one in chain.findings.iter().filter(|one| one.severity > Severity::Info) {
        lines.push(Line::default());
        lines.extend(finding(one, state));
    }
    lines
}

fn finding(one: &Finding, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let role = match one.severity {
        Severity::Error => Role::Bad,
        Severity::Warning => Role::Warn,
        Severity::Unknown => Role::Unknown,
        Severity::Info => Role::Muted,
    };
    let field = |name: &'static str, text: &str, role: Role| {
        text.lines()
            .enumerate()
            .map(|(at, line)| {
                let name = if at == 0 { name } else { "" };
                Line::from(vec![
                    Span::styled(format!("  {name:<5} "), theme.style(Role::Muted)),
                    Span::styled(line.to_owned(), theme.style(role)),
                ])
            })
            .collect::<Vec<_>>()
    };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{} {} ", one.severity.word(), one.id), theme.style(role)),
        Span::styled(one.title.clone(), theme.style(Role::Title)),
    ])];
    if !one.field.is_empty() {
        lines.extend(field("at", &one.field, Role::Text));
    }
    for evidence in &one.evidence {
        lines.extend(field("seen", &format!("{}: {}", evidence.from, evidence.says), Role::Text));
    }
    if let Some(fix) = &one.fix {
        lines.extend(field("fix", &fix.text, Role::Accent));
        if let Some(manifest) = &fix.manifest {
            lines.extend(field("", manifest.trim_end(), Role::Added));
        }
    }
    lines.extend(field("more", &one.docs(), Role::Muted));
    lines
}

pub(super) fn tree(key: &ObjectKey, state: &State) -> Vec<Line<'static>> {
    let root = tree::one(key, state.seen().0);
    let mut nodes = Vec::new();
    root.lines(state.ascii, &mut nodes);
    let line = |(before, node): &(String, &tree::Node)| {
        let mut spans = vec![
            Span::styled(before.clone(), state.theme.style(Role::Border)),
            Span::styled(node.label.clone(), state.theme.style(Role::Text)),
        ];
        if let Some(verdict) = &node.verdict {
            let (glyph, role) = super::health(verdict.health, state.ascii);
            let word = if verdict.reason.is_empty() { verdict.health.word() } else { &verdict.reason };
            spans.push(Span::styled(format!("  {glyph} {word}"), state.theme.style(role)));
        }
        Line::from(spans)
    };
    nodes.iter().map(line).collect()
}
