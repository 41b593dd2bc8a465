//! What a Gateway asks of its clients: certificates, by port.

use std::sync::Arc;

use super::{
    authorities::Authorities,
    grants::{Grants, Kind, core},
    verdict::{Problem, reason, told},
};
use crate::{
    table::ClientAuth,
    types::{
        GROUP, Key,
        gateway::{ClientValidation, FrontendTls},
        refs::AnyRef,
    },
};

const CONFIG_MAP: Kind<'static> = Kind { group: "", kind: "ConfigMap" };
const GATEWAY: Kind<'static> = Kind { group: GROUP, kind: "Gateway" };
const VALID_ONLY: &str = "AllowValidOnly";
const INSECURE_FALLBACK: &str = "AllowInsecureFallback";

/// What an HTTPS listener has to ask for.
pub struct Asked {
    /// `None` asks for nothing; an error leaves the listener unserved.
    pub clients: Result<Option<Arc<ClientAuth>>, Problem>,
    pub unresolved: Vec<Problem>,
}

pub struct Frontend<'a> {
    tls: Option<&'a FrontendTls>,
    gateway: &'a Key,
}

impl<'a> Frontend<'a> {
    pub fn new(gateway: &'a Key, tls: Option<&'a FrontendTls>) -> Self {
        Self { tls, gateway }
    }

    /// Somewhere clients are let in whose certificate is missing or wrong.
    pub fn is_insecure(&self) -> bool {
        let configs =
            self.tls.iter().flat_map(|tls| [&tls.default].into_iter().chain(tls.per_port.iter().map(|one| &one.tls)));
        let mut modes = configs.filter_map(|config| config.validation.as_ref()?.mode.as_deref());
        modes.any(|mode| mode == INSECURE_FALLBACK)
    }

    /// For HTTPS listeners on this port.
    pub fn on(&self, port: u16, grants: &Grants<'_>, authorities: &mut Authorities<'_>) -> Asked {
        let nothing = Asked { clients: Ok(None), unresolved: Vec::new() };
        let Some(tls) = self.tls else { return nothing };
        let own = tls.per_port.iter().position(|one| one.port == port);
        let (config, field) = match own {
            Some(at) => (&tls.per_port[at].tls, format!("spec.tls.frontend.perPort[{at}].tls.validation")),
            None => (&tls.default, "spec.tls.frontend.default.validation".to_owned()),
        };
        match &config.validation {
            Some(validation) => self.asked(validation, &field, grants, authorities),
            None => nothing,
        }
    }

    fn asked(
        &self,
        validation: &ClientValidation,
        field: &str,
        grants: &Grants<'_>,
        authorities: &mut Authorities<'_>,
    ) -> Asked {
        let (mut bundles, mut unresolved) = (Vec::new(), Vec::new());
        for (at, reference) in validation.ca_certificate_refs.iter().enumerate() {
            match self.bundle(reference, &format!("{field}.caCertificateRefs[{at}]"), grants, authorities) {
                Ok(bundle) => bundles.push(bundle),
                Err(problem) => unresolved.push(problem),
            }
        }
        let required = match validation.mode.as_deref().unwrap_or(VALID_ONLY) {
            VALID_ONLY => true,
            INSECURE_FALLBACK => false,
            other => {
                let message = format!(
                    "mode \"{other}\" is not supported: use {VALID_ONLY} or {INSECURE_FALLBACK} in {field}.mode"
                );
                return Asked { clients: Err(Problem::new(reason::INVALID, message)), unresolved };
            }
        };
        if bundles.is_empty() {
            let why = match unresolved.as_slice() {
                [] => format!("no certificate of an authority is named: add one to {field}.caCertificateRefs"),
                problems => told(problems),
            };
            return Asked { clients: Err(Problem::new(reason::NO_VALID_CA_CERTIFICATE, why)), unresolved };
        }
        Asked { clients: Ok(Some(Arc::new(ClientAuth { bundles, required }))), unresolved }
    }

    fn bundle(
        &self,
        reference: &AnyRef,
        field: &str,
        grants: &Grants<'_>,
        authorities: &mut Authorities<'_>,
    ) -> Result<Arc<[u8]>, Problem> {
        if core(&reference.group) != CONFIG_MAP.group || reference.kind != CONFIG_MAP.kind {
            let message = format!(
                "{field} is of kind \"{}\" in group \"{}\": refer to a ConfigMap",
                reference.kind, reference.group
            );
            return Err(Problem::new(reason::INVALID_CA_CERTIFICATE_KIND, message));
        }
        let namespace = &self.gateway.namespace;
        let key = Key::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
        if !grants.allow(GATEWAY, namespace, CONFIG_MAP, &key) {
            let message = format!(
                "{field} refers to ConfigMap \"{}\" in namespace \"{}\", which no ReferenceGrant there allows: create \
                 one from Gateways of namespace \"{namespace}\" to ConfigMaps",
                key.name, key.namespace
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
        }
        authorities
            .bundle(&key)
            .map_err(|why| Problem::new(reason::INVALID_CA_CERTIFICATE_REF, format!("{field}: {why}")))
    }
}
