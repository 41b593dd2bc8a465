//! Services and what routes to them.

use super::{Column, few, join, list, or, pairs, read, text};

pub(in super::super) fn service() -> Vec<Column> {
    vec![
        read("Type", "string", |o| or(&o["spec"]["type"], "ClusterIP")),
        read("Cluster-IP", "string", |o| or(&o["spec"]["clusterIP"], "<none>")),
        read("External-IP", "string", |o| {
            let mut found: Vec<String> = list(&o["status"]["loadBalancer"]["ingress"])
                .iter()
                .map(|ingress| text(if ingress["ip"].is_null() { &ingress["hostname"] } else { &ingress["ip"] }))
                .chain(list(&o["spec"]["externalIPs"]).iter().map(text))
                .collect();
            if o["spec"]["type"] == "ExternalName" {
                found = vec![text(&o["spec"]["externalName"])];
            }
            join(found, if o["spec"]["type"] == "LoadBalancer" { "<pending>" } else { "<none>" })
        }),
        read("Port(s)", "string", |o| {
            let ports = list(&o["spec"]["ports"]).iter().map(|port| {
                let node = if port["nodePort"].is_null() { String::new() } else { format!(":{}", port["nodePort"]) };
                format!("{}{node}/{}", port["port"], text(&port["protocol"]))
            });
            join(ports, "<none>")
        }),
        Column::age(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"])).wide(),
    ]
}

pub(in super::super) fn endpoints() -> Vec<Column> {
    vec![
        read("Endpoints", "string", |o| {
            let mut found = Vec::new();
            for subset in list(&o["subsets"]) {
                for port in list(&subset["ports"]) {
                    for address in list(&subset["addresses"]) {
                        found.push(format!("{}:{}", text(&address["ip"]), port["port"]));
                    }
                }
            }
            few(found, "<none>")
        }),
        Column::age(),
    ]
}

pub(in super::super) fn endpoint_slice() -> Vec<Column> {
    vec![
        read("AddressType", "string", |o| or(&o["addressType"], "")),
        read("Ports", "string", |o| few(list(&o["ports"]).iter().map(|port| text(&port["port"])).collect(), "<unset>")),
        read("Endpoints", "string", |o| {
            let addresses = list(&o["endpoints"]).iter().flat_map(|endpoint| list(&endpoint["addresses"]));
            few(addresses.map(text).collect(), "<unset>")
        }),
        Column::age(),
    ]
}

pub(in super::super) fn ingress() -> Vec<Column> {
    vec![
        read("Class", "string", |o| or(&o["spec"]["ingressClassName"], "<none>")),
        read("Hosts", "string", |o| {
            few(list(&o["spec"]["rules"]).iter().map(|rule| text(&or(&rule["host"], "*"))).collect(), "*")
        }),
        read("Address", "string", |o| {
            let ingress = list(&o["status"]["loadBalancer"]["ingress"]).iter();
            join(ingress.map(|i| text(if i["ip"].is_null() { &i["hostname"] } else { &i["ip"] })), "")
        }),
        read("Ports", "string", |o| if list(&o["spec"]["tls"]).is_empty() { "80".into() } else { "80, 443".into() }),
        Column::age(),
    ]
}

pub(in super::super) fn ingress_class() -> Vec<Column> {
    vec![
        read("Controller", "string", |o| or(&o["spec"]["controller"], "")),
        read("Parameters", "string", |o| {
            let parameters = &o["spec"]["parameters"];
            if parameters.is_null() {
                return "<none>".into();
            }
            let group = text(&parameters["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(&parameters["kind"]), text(&parameters["name"])).into()
        }),
        Column::age(),
    ]
}

pub(in super::super) fn network_policy() -> Vec<Column> {
    vec![read("Pod-Selector", "string", |o| pairs(&o["spec"]["podSelector"]["matchLabels"])), Column::age()]
}
