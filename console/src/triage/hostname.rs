//! Hostnames as the Gateway API understands them.

/// What a listener and a route both serve; none if there is nothing. A missing hostname of a
/// listener is every host, as is a route without hostnames.
pub fn intersect<'a>(listener: Option<&'a str>, route: &'a str) -> Option<&'a str> {
    let Some(listener) = listener.filter(|host| !host.is_empty()) else { return Some(route) };
    match (listener.strip_prefix('*'), route.strip_prefix('*')) {
        // The narrower wildcard, where one is within the other.
        (Some(below), Some(of)) if ends(of, below) => Some(route),
        (Some(below), Some(of)) if ends(below, of) => Some(listener),
        (Some(below), None) => (route.len() > below.len() && ends(route, below)).then_some(route),
        (None, Some(of)) => (listener.len() > of.len() && ends(listener, of)).then_some(listener),
        (None, None) => listener.eq_ignore_ascii_case(route).then_some(route),
        _ => None,
    }
}

fn ends(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// Whether any hostname of a route is served by the listener.
pub fn any(listener: Option<&str>, route: &[String]) -> bool {
    route.is_empty() || route.iter().any(|host| intersect(listener, host).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::intersect;

    /// Whether a name is meant by a pattern, label by label.
    fn meant(pattern: &str, name: &[&str]) -> bool {
        let mut labels: Vec<&str> = pattern.split('.').collect();
        if labels[0] == "*" {
            labels.remove(0);
            name.len() > labels.len() && name[name.len() - labels.len()..] == labels[..]
        } else {
            name == labels
        }
    }

    /// Every name of up to five labels out of three.
    fn names() -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&str>> = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..5 {
            last = last
                .iter()
                .flat_map(|name| ["a", "b", "com"].map(|label| [name.as_slice(), &[label]].concat()))
                .collect();
            all.extend(last.clone());
        }
        all.retain(|name| !name.is_empty());
        all
    }

    fn pattern() -> impl Strategy<Value = String> {
        (any::<bool>(), prop::collection::vec(prop::sample::select(vec!["a", "b", "com"]), 1..4))
            .prop_map(|(wild, labels)| if wild { format!("*.{}", labels.join(".")) } else { labels.join(".") })
    }

    proptest! {
        #[test]
        fn as_a_naive_evaluator_has_it(listener in pattern(), route in pattern()) {
            let both: Vec<_> = names().into_iter().filter(|name| meant(&listener, name) && meant(&route, name)).collect();
            match intersect(Some(&listener), &route) {
                None => prop_assert!(both.is_empty(), "{listener} {route}: {both:?}"),
                Some(host) => {
                    let served: Vec<_> = names().into_iter().filter(|name| meant(host, name)).collect();
                    prop_assert_eq!(served, both, "{} {}", listener, route);
                }
            }
        }

        #[test]
        fn any_text_is_borne(listener in ".*", route in ".*") {
            let _ = intersect(Some(&listener), &route);
            prop_assert_eq!(intersect(None, &route), Some(route.as_str()));
        }
    }

    #[test]
    fn a_wildcard_is_not_its_own_domain() {
        assert_eq!(intersect(Some("*.example.com"), "example.com"), None);
        assert_eq!(intersect(Some("*.example.com"), "a.b.example.com"), Some("a.b.example.com"));
        assert_eq!(intersect(Some("Shop.example.com"), "shop.example.com"), Some("shop.example.com"));
        assert_eq!(intersect(Some("*.example.com"), "*.shop.example.com"), Some("*.shop.example.com"));
        assert_eq!(intersect(Some("*.example.com"), "badexample.com"), None);
    }
}
