//! `from-to-www-redirect`: the other form of a host sends its clients to the one that serves.

use serde_json::json;

use super::{Conversion, annotation_field, path_match, slug};
use crate::migrate::{gateways::Wanted, nginx::Server, report::Note};

impl Conversion<'_> {
    pub(super) fn www(&mut self, server: &Server, at: usize, host: &str) {
        let ingress = &self.input.ingresses[at];
        let namespace = ingress.namespace.clone();
        let from = vec![self.source(at)];
        let code = self.code(self.nginx.settings.http_redirect_code);
        let rule = json!({"matches": [{"path": path_match("PathPrefix", "/")}], "filters": [
            {"type": "RequestRedirect", "requestRedirect": {"hostname": host, "statusCode": code}}]});
        let mut parents = vec![self.gateways.parent(Wanted::Http, &server.host, 80, &namespace, None, &from[0])];
        if let Some((of, secret)) = self.secret(server) {
            parents.push(self.gateways.parent(
                Wanted::Https,
                &server.host,
                443,
                &namespace,
                Some((&of, &secret)),
                &from[0],
            ));
        }
        let base = format!("{}-{}", ingress.name, slug(&server.host));
        self.notes[at]
            .add(annotation_field("from-to-www-redirect"), Note::exact(format!("HTTPRoute {namespace}/{base}")));
        self.push_routes(
            "HTTPRoute",
            &namespace,
            &base,
            std::slice::from_ref(&server.host),
            &parents,
            vec![rule],
            &from,
        );
    }
}
