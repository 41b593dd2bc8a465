//! What the client wants to get: JSON or YAML, objects or tables.

use http::HeaderMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Table,
    Partial,
    /// Aggregated discovery in this version.
    Discovery(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) shape: Shape,
    pub(super) yaml: bool,
    /// The shape is wanted in its old version.
    pub(super) beta: bool,
    pub(super) acceptable: bool,
}

impl Accept {
    /// Takes the first media type that this server has.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let plain = Self { shape: Shape::Object, yaml: false, beta: false, acceptable: true };
        let wanted: Vec<&str> = headers.get_all(http::header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        if wanted.is_empty() {
            return plain;
        }
        let mut types = wanted.iter().flat_map(|header| header.split(','));
        types.find_map(one).unwrap_or(Self { acceptable: false, ..plain })
    }
}

fn one(text: &str) -> Option<Accept> {
    let mut parts = text.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "application/*" | "*/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let (mut shape, mut version, mut group) = (None, "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => shape = Some(value),
            Some(("v", value)) => version = value,
            Some(("g", value)) => group = value,
            _ => {}
        }
    }
    let shape = match (shape, version, group) {
        (None, ..) => Shape::Object,
        (Some("Table"), "v1" | "v1beta1", "meta.k8s.io") => Shape::Table,
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), "v1" | "v1beta1", "meta.k8s.io") => {
            Shape::Partial
        }
        (Some("APIGroupDiscoveryList"), "v2", "apidiscovery.k8s.io") => Shape::Discovery("v2"),
        (Some("APIGroupDiscoveryList"), "v2beta1", "apidiscovery.k8s.io") => Shape::Discovery("v2beta1"),
        _ => return None,
    };
    Some(Accept { shape, yaml, beta: version == "v1beta1", acceptable: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &'static str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, http::HeaderValue::from_static(text));
        Accept::of(&headers)
    }

    #[test]
    fn the_first_known_type_is_taken() {
        let kubectl = accept(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        );
        assert_eq!(kubectl.shape, Shape::Table);
        assert_eq!(accept("application/json;as=Table;v=v1alpha1;g=meta.k8s.io,application/json").shape, Shape::Object);
        let beta = accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
        assert_eq!((beta.shape, beta.beta), (Shape::Table, true));
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json").shape, Shape::Object);
        assert!(!accept("application/vnd.kubernetes.protobuf").acceptable);
        assert!(accept("application/yaml").yaml);
        assert!(accept("application/json, */*").acceptable);
    }
}
