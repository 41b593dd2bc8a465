//! Everything an operator can ask for in the console.

use crate::model::key::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    Quit,
    Back,
    Help,
    CommandLine,
    Filter,
    Routes,
    Gateways,
    Backends,
    Findings,
    Timeline,
    Events,
    AllEvents,
    Audit,
    Contexts,
    /// What was heard, as a recording.
    Save,
    PlayPause,
    PlayBack,
    PlayForward,
    Faster,
    Slower,
    NextProblem,
    PreviousProblem,
    NextTab,
    Down,
    Up,
    Top,
    Bottom,
    PageDown,
    PageUp,
    HalfDown,
    HalfUp,
    Open,
    Detail,
    Yaml,
    Edit,
    Undo,
    Why,
    Tree,
    /// The fix of what is seen, to the clipboard.
    Copy,
    Find,
    NextMatch,
    PreviousMatch,
    NextTheme,
    Canary,
    AllNamespaces,
    ThisNamespace,
    Freeze,
    Faults,
    SortName,
    SortAge,
    SortStatus,
    SortTraffic,
    StageUp,
    StageDown,
    NextRule,
    Review,
    Auto,
    Pause,
    Rollback,
    Confirm,
    Cancel,
}

/// Words of the command line, with their meaning.
pub const WORDS: &[(&str, Command, &str)] = &[
    ("routes route hr", Command::Routes, "routes of every kind"),
    ("gw gateways gateway gtw", Command::Gateways, "gateways"),
    ("be backends backend", Command::Backends, "backends"),
    ("findings problems", Command::Findings, "everything that is wrong, worst first"),
    ("timeline tl", Command::Timeline, "what happened: conditions, weights, endpoints, errors, writes"),
    ("events ev", Command::AllEvents, "Kubernetes Events, the newest last"),
    ("audit", Command::Audit, "what was written from this machine"),
    ("ctx context contexts", Command::Contexts, "contexts of the kubeconfig"),
    ("save", Command::Save, "save the last half hour as a recording"),
    ("why", Command::Why, "why the selected route does not work"),
    ("tree", Command::Tree, "what hangs on the selected object"),
    ("help h", Command::Help, "keys and commands"),
    ("canary", Command::Canary, "canary panel of the selected route"),
    ("edit", Command::Edit, "edit the object"),
    ("undo", Command::Undo, "take the last write of this session back"),
    ("yaml", Command::Yaml, "the object as YAML"),
    ("faults", Command::Faults, "only what has problems"),
    ("all", Command::AllNamespaces, "all namespaces"),
    ("q quit exit", Command::Quit, "leave"),
];

/// What a line typed after `:` means.
pub fn parse(line: &str) -> Result<Word, String> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Err("nothing typed".to_owned()) };
    let rest: Vec<_> = words.collect();
    if matches!(first, "ns" | "namespace") {
        return match rest.as_slice() {
            [] | ["all" | "*"] => Ok(Word::Namespace(None)),
            [name] => Ok(Word::Namespace(Some((*name).to_owned()))),
            _ => Err(":ns takes one namespace".to_owned()),
        };
    }
    if let ("ctx" | "context", [name]) = (first, rest.as_slice()) {
        return Ok(Word::Context((*name).to_owned()));
    }
    if first == "theme" {
        return match rest.as_slice() {
            [] => Ok(Word::Command(Command::NextTheme)),
            [name] => Ok(Word::Theme((*name).to_owned())),
            _ => Err(":theme takes one name".to_owned()),
        };
    }
    let found = WORDS.iter().find(|(names, ..)| names.split(' ').any(|name| name == first));
    match (found, rest.is_empty()) {
        (Some((_, command, _)), true) => Ok(Word::Command(*command)),
        (Some(_), false) => Err(format!(":{first} takes nothing after it")),
        (None, true) => {
            let kind = Kind::parse(first);
            kind.map(Word::Kind).ok_or_else(|| format!("no command or kind :{first}; ? lists them"))
        }
        (None, false) => Err(format!("no command :{first}; ? lists them")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Command(Command),
    Namespace(Option<String>),
    /// Objects of any kind.
    Kind(Kind),
    Theme(String),
    Context(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_aliases() {
        assert_eq!(parse("gw"), Ok(Word::Command(Command::Gateways)));
        assert_eq!(parse(" ns  shop "), Ok(Word::Namespace(Some("shop".to_owned()))));
        assert_eq!(parse("ns"), Ok(Word::Namespace(None)));
        assert_eq!(parse("svc"), Ok(Word::Kind(Kind::Service)));
        assert_eq!(parse("listenersets"), Ok(Word::Kind(Kind::ListenerSet)));
        assert_eq!(parse("theme nord"), Ok(Word::Theme("nord".to_owned())));
        assert!(parse("gwx").is_err_and(|said| said.contains(":gwx")));
        assert!(parse("q now").is_err());
    }

    #[test]
    fn no_word_means_two_things() {
        let mut seen = std::collections::BTreeSet::new();
        for (names, ..) in WORDS {
            for name in names.split(' ') {
                assert!(seen.insert(name), "{name} twice");
            }
        }
    }
}
