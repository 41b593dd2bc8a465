//! What a request asks for, in the words of metrics and of the audit log.

use http::{Method, Request};

/// A request's verb and object, as a kube-apiserver tells them from method and URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the
    /// method in small letters where no resource is asked for.
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    /// Empty where no resource is asked for.
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) dry_run: bool,
}

impl Info {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => ("", "", &[][..]),
        };
        let method = request.method();
        let query = request.uri().query().unwrap_or_default();
        let mut info = Self {
            verb: method.as_str().to_ascii_lowercase(),
            path: path.to_owned(),
            dry_run: query.split('&').any(|pair| pair == "dryRun=All"),
            ..Self::default()
        };
        let (old_watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let [resource, rest @ ..] = rest else { return info };
        (info.group, info.version) = (group.to_owned(), version.to_owned());
        (info.resource, info.namespace) = ((*resource).to_owned(), namespace.to_owned());
        info.name = rest.first().copied().unwrap_or_default().to_owned();
        if info.resource == "namespaces" {
            info.namespace.clone_from(&info.name);
        }
        info.subresource = rest.get(1).copied().unwrap_or_default().to_owned();
        let asked = query.split('&').any(|pair| {
            pair.split_once('=').map_or(pair == "watch", |(name, value)| {
                name == "watch" && value != "0" && !value.eq_ignore_ascii_case("false")
            })
        });
        let watches = info.subresource.is_empty() && (old_watch || asked);
        let one = !info.name.is_empty();
        info.verb = match (method, one) {
            (&Method::GET | &Method::HEAD, _) if watches => "watch",
            (&Method::GET | &Method::HEAD, true) => "get",
            (&Method::GET | &Method::HEAD, false) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "delete",
            (&Method::DELETE, false) => "deletecollection",
            _ => "",
        }
        .to_owned();
        info
    }

    /// The verb as the metrics have it: HTTP's, with LIST and WATCH, and APPLY for that patch.
    pub(super) fn metric_verb(&self, apply: bool) -> &'static str {
        match self.verb.as_str() {
            "get" => "GET",
            "list" => "LIST",
            "watch" => "WATCH",
            "create" | "post" => "POST",
            "update" | "put" => "PUT",
            "patch" if apply => "APPLY",
            "patch" => "PATCH",
            "delete" | "deletecollection" => "DELETE",
            _ => "other",
        }
    }

    pub(super) fn scope(&self) -> &'static str {
        if self.resource.is_empty() {
            ""
        } else if !self.name.is_empty() || self.verb == "create" {
            "resource"
        } else if !self.namespace.is_empty() {
            "namespace"
        } else {
            "cluster"
        }
    }

    pub(super) fn is_mutating(&self) -> bool {
        !["get", "list", "watch", "head", "options"].contains(&self.verb.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(method: &str, uri: &str) -> [String; 6] {
        let info = Info::of(&Request::builder().method(method).uri(uri).body(()).unwrap());
        let scope = info.scope().to_owned();
        [info.verb, info.resource, info.subresource, info.namespace, info.name, scope]
    }

    #[test]
    fn requests_are_told_as_a_kube_apiserver_tells_them() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/pods", ["list", "pods", "", "", "", "cluster"]),
            ("GET", "/api/v1/namespaces/a/pods?watch=true", ["watch", "pods", "", "a", "", "namespace"]),
            ("GET", "/api/v1/namespaces/a/pods?watch=0", ["list", "pods", "", "a", "", "namespace"]),
            ("GET", "/api/v1/namespaces/a", ["get", "namespaces", "", "a", "a", "resource"]),
            ("PUT", "/api/v1/namespaces/a/status", ["update", "namespaces", "status", "a", "a", "resource"]),
            ("PATCH", "/apis/x/v1/namespaces/a/ys/z/status", ["patch", "ys", "status", "a", "z", "resource"]),
            ("POST", "/apis/x/v1/namespaces/a/ys", ["create", "ys", "", "a", "", "resource"]),
            ("DELETE", "/apis/x/v1/namespaces/a/ys", ["deletecollection", "ys", "", "a", "", "namespace"]),
            (
                "POST",
                "/api/v1/namespaces/a/pods/p/proxy/b/c?watch=1",
                ["create", "pods", "proxy", "a", "p", "resource"],
            ),
            ("GET", "/api/v1/namespaces/a/pods/p/proxy/b?watch=1", ["get", "pods", "proxy", "a", "p", "resource"]),
            ("GET", "/apis/x/v1", ["get", "", "", "", "", ""]),
            ("POST", "/version", ["post", "", "", "", "", ""]),
        ] {
            assert_eq!(told(method, uri), expected.map(str::to_owned), "{method} {uri}");
        }
    }
}
