//! `gwtop tree`: what hangs on what, from the class down to the endpoints.

use serde_json::{Value, json};

use super::{Answer, Made, Output, Scope, get, reference, yaml};
use crate::{
    exit::Exit,
    model::store::Store,
    rows::tree::{Node, one, whole},
};

fn health(node: &Node) -> String {
    node.verdict.as_ref().map(|verdict| get::health(Some(verdict))).unwrap_or_default()
}

fn data(node: &Node) -> Value {
    let below: Vec<Value> = node.below.iter().map(data).collect();
    json!({"label": node.label, "health": health(node), "children": below})
}

fn names(node: &Node, into: &mut String) {
    if let Some(key) = &node.key {
        *into += &format!("{}\n", reference(key));
    }
    node.below.iter().for_each(|node| names(node, into));
}

pub fn answer(store: &Store, words: &[String], namespace: &str, scope: &Scope, output: Output) -> Made {
    let trees = match words {
        [] => whole(store, scope.namespace.as_deref()),
        words => vec![one(&super::find(store, words, namespace)?, store)],
    };
    let document = || Value::Array(trees.iter().map(data).collect());
    let mut text = String::new();
    match output {
        Output::Json => text = super::json(&document()),
        Output::Yaml => text = yaml(&document()),
        Output::Jsonl => text = trees.iter().map(|tree| format!("{}\n", data(tree))).collect(),
        Output::Name => trees.iter().for_each(|tree| names(tree, &mut text)),
        Output::Text | Output::Wide => {
            let mut lines = Vec::new();
            trees.iter().for_each(|tree| tree.lines(false, &mut lines));
            for (before, node) in lines {
                text += format!("{before}{}  {}", node.label, health(node)).trim_end();
                text.push('\n');
            }
            if text.is_empty() {
                "no Gateway and no route there; -A looks in all namespaces\n".clone_into(&mut text);
            }
        }
    }
    Ok(Answer::new(text, Exit::Ok))
}
