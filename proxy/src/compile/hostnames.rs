//! Hostnames of listeners and routes, and what they have in common.

/// As the table keeps them: lower case, without the dot of an absolute name.
pub fn normal(hostname: &str) -> String {
    hostname.strip_suffix('.').unwrap_or(hostname).to_ascii_lowercase()
}

/// The hostnames on which a listener takes the requests of a route: of each pair that fits
/// the more specific one. Empty when nothing fits; the empty hostname is any host.
pub fn effective(listener: &str, route: &[String]) -> Vec<String> {
    if route.is_empty() {
        return vec![listener.to_owned()];
    }
    let mut all: Vec<_> = route.iter().filter_map(|hostname| common(listener, hostname)).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn common<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if takes(a, b) {
        Some(b)
    } else if takes(b, a) {
        Some(a)
    } else {
        None
    }
}

/// Whether every host of `narrow` is one of `wide`.
fn takes(wide: &str, narrow: &str) -> bool {
    wide.is_empty()
        || wide == narrow
        || wide.strip_prefix('*').is_some_and(|suffix| {
            suffix.starts_with('.') && narrow.strip_suffix(suffix).is_some_and(|label| !label.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_have_in_common() {
        for (listener, route, expected) in [
            ("", "a.com", Some("a.com")),
            ("a.com", "a.com", Some("a.com")),
            ("a.com", "b.com", None),
            ("*.com", "a.com", Some("a.com")),
            ("*.com", "b.a.com", Some("b.a.com")),
            ("*.a.com", "a.com", None),
            ("b.a.com", "*.a.com", Some("b.a.com")),
            ("*.a.com", "*.com", Some("*.a.com")),
            ("*.com", "*.a.com", Some("*.a.com")),
            ("*.a.com", "*.b.com", None),
            ("*.a.com", "xa.com", None),
        ] {
            assert_eq!(common(listener, route), expected, "{listener} and {route}");
        }
    }

    #[test]
    fn each_hostname_once() {
        let route = ["*.com", "a.com", "*.org"].map(str::to_owned);
        assert_eq!(effective("a.com", &route), ["a.com"]);
        assert_eq!(effective("", &route), ["*.com", "*.org", "a.com"]);
        assert_eq!(effective("a.net", &route), [""; 0]);
        assert_eq!(effective("a.net", &[]), ["a.net"]);
    }
}
