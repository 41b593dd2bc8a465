//! Manifests and commands that mend, ready to be pasted.

use crate::{
    finding::Fix,
    model::{key::Kind, topology::Reference},
};

/// The narrowest ReferenceGrant: one namespace, one kind, one object.
pub fn grant(kind: Kind, namespace: &str, to: &Reference) -> Fix {
    let manifest = format!(
        "apiVersion: gateway.networking.k8s.io/v1beta1\n\
         kind: ReferenceGrant\n\
         metadata:\n  name: {}\n  namespace: {}\n\
         spec:\n  from:\n    - group: {}\n      kind: {}\n      namespace: {namespace}\n  \
         to:\n    - group: {}\n      kind: {}\n      name: {}\n",
        grant_name(namespace, &to.name),
        to.namespace,
        quoted(kind.group()),
        kind.name(),
        quoted(&to.group),
        to.kind,
        to.name,
    );
    Fix::new(format!("the owners of namespace {} apply this ReferenceGrant", to.namespace)).with_manifest(manifest)
}

/// A name that Kubernetes takes, however long its parts are.
fn grant_name(namespace: &str, object: &str) -> String {
    let name = format!("{namespace}-to-{object}");
    name.chars().take(253).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

fn quoted(group: &str) -> String {
    if group.is_empty() { "\"\"".to_owned() } else { group.to_owned() }
}

pub fn label(namespace: &str, labels: &[String]) -> Fix {
    Fix::new("give the namespace the label that the listener asks for")
        .with_manifest(format!("kubectl label namespace {namespace} {} --overwrite", labels.join(" ")))
}

/// The name that was probably meant: one or two letters off.
pub fn meant<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.map(|name| (distance(wrong, name), name)).filter(|(far, _)| *far <= 2).min().map(|(_, name)| name)
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(x != y));
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        assert_eq!(meant("refunds-api", ["refund-api", "cart"].into_iter()), Some("refund-api"));
        assert_eq!(meant("cart", ["till"].into_iter()), None);
        assert_eq!((distance("", ""), distance("ab", "ba"), distance("abc", "abc")), (0, 2, 0));
    }
}
