//! BackendTLSPolicies: which one a Service's port follows, and what each has to hear.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use rustls_pki_types::ServerName;

use super::{
    AncestorVerdict, PolicyVerdict, Verdict,
    authorities::Authorities,
    backends::Client,
    grants::core,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    resources::Set,
    table::{Roots, SubjectName, UpstreamProtocol, UpstreamTls, upstream_tls::Settings},
    types::{BackendTlsPolicy, Key, policy::BackendTlsValidation, refs::ParentRef},
};

/// By protocol and the Secret with the Gateway's own certificate.
type Made = HashMap<(Option<UpstreamProtocol>, Option<Key>), Arc<UpstreamTls>>;

/// What a valid policy asks for, until protocol and Gateway are known.
pub struct TlsPlan {
    hostname: String,
    roots: Roots,
    names: Vec<SubjectName>,
    made: Mutex<Made>,
}

impl TlsPlan {
    /// One for all rules that ask alike.
    pub fn tls(&self, protocol: Option<UpstreamProtocol>, client: &Client) -> Arc<UpstreamTls> {
        let key = (protocol, client.as_ref().map(|client| client.secret.clone()));
        // The map is whole at every moment.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let tls = made.entry(key).or_insert_with(|| {
            let (hostname, roots, names) = (self.hostname.clone(), self.roots.clone(), self.names.clone());
            Arc::new(UpstreamTls::new(Settings { protocol, hostname, roots, names, client: client.clone() }))
        });
        Arc::clone(tls)
    }
}

#[derive(Default)]
pub struct Policies {
    all: Vec<Policy>,
    /// By Service and port name, which is empty for all ports: the policies that want them, the
    /// one that has them first.
    wanted: HashMap<(Key, String), Vec<usize>>,
    /// Policies that target any part of a Service, with whether that part is theirs.
    by_service: HashMap<Key, Vec<(usize, bool)>>,
}

struct Policy {
    key: Key,
    object: Arc<BackendTlsPolicy>,
    plan: Option<Arc<TlsPlan>>,
    /// Why it is not accepted.
    invalid: Option<Problem>,
    unresolved: Vec<Problem>,
    /// Gateways that send to its targets, each with whether one of these targets is the policy's.
    ancestors: BTreeMap<Key, bool>,
}

impl Policies {
    pub fn new(set: &Set) -> Self {
        let mut authorities = Authorities::new(set);
        let mut all: Vec<_> = set.backend_tls_policies.iter().collect();
        all.sort_by_key(|(key, policy)| (super::created(&policy.metadata), *key));
        let all: Vec<_> = all.into_iter().map(|(key, object)| Policy::new(key, object, &mut authorities)).collect();
        let (mut wanted, mut by_service) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, policy) in all.iter().enumerate() {
            let services = policy.object.spec.target_refs.iter();
            for target in services.filter(|target| core(&target.group).is_empty() && target.kind == "Service") {
                let service = Key::new(&policy.key.namespace, &target.name);
                let section = target.section_name.clone().unwrap_or_default();
                let policies: &mut Vec<usize> = wanted.entry((service.clone(), section)).or_default();
                policies.push(at);
                let holds = policies.first() == Some(&at);
                by_service.entry(service).or_default().push((at, holds));
            }
        }
        Self { all, wanted, by_service }
    }

    /// The TLS that a port of a Service asks for; an error when its policy is not valid.
    pub fn find(&self, service: &Key, port: Option<&str>) -> Option<Result<Arc<TlsPlan>, ()>> {
        // Most clusters have no policy at all.
        if !self.by_service.contains_key(service) {
            return None;
        }
        let named = port.filter(|name| !name.is_empty()).map(str::to_owned);
        let holder = named
            .into_iter()
            .chain([String::new()])
            .find_map(|section| self.wanted.get(&(service.clone(), section)).and_then(|policies| policies.first()))?;
        Some(self.all[*holder].plan.clone().ok_or(()))
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Before it is told anew who sends where.
    pub fn forget_reached(&mut self) {
        self.all.iter_mut().for_each(|policy| policy.ancestors.clear());
    }

    /// `gateway` sends to `service`: the policies of the one answer to the other.
    pub fn reached(&mut self, service: &Key, gateway: &Key) {
        for (at, holds) in self.by_service.get(service).into_iter().flatten() {
            *self.all[*at].ancestors.entry(gateway.clone()).or_default() |= holds;
        }
    }

    pub fn verdicts(&self) -> BTreeMap<Key, PolicyVerdict> {
        let reached = self.all.iter().filter(|policy| !policy.ancestors.is_empty());
        reached.map(|policy| (policy.key.clone(), policy.verdict())).collect()
    }
}

impl Policy {
    fn new(key: &Key, object: &Arc<BackendTlsPolicy>, authorities: &mut Authorities<'_>) -> Self {
        let validation = &object.spec.validation;
        let mut unresolved = Vec::new();
        let plan = plan(key, validation, authorities, &mut unresolved);
        let (plan, invalid) = match plan {
            Ok(plan) => (Some(Arc::new(plan)), None),
            Err(problem) => (None, Some(problem)),
        };
        let (key, object) = (key.clone(), Arc::clone(object));
        Self { key, object, plan, invalid, unresolved, ancestors: BTreeMap::new() }
    }

    fn verdict(&self) -> PolicyVerdict {
        let resolved = match self.unresolved.first() {
            Some(first) => Verdict::no(condition::RESOLVED_REFS, first.reason, told(&self.unresolved)),
            None => Verdict::yes(condition::RESOLVED_REFS, reason::RESOLVED_REFS, "all references resolve"),
        };
        let ancestors = self.ancestors.iter().map(|(gateway, holds)| {
            let accepted = match &self.invalid {
                _ if !holds => {
                    let message = "an older BackendTLSPolicy targets the same Service: remove one of them";
                    Verdict::no(condition::ACCEPTED, reason::CONFLICTED, message)
                }
                Some(problem) => Verdict::no(condition::ACCEPTED, problem.reason, problem.message.clone()),
                None => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the policy is in force"),
            };
            let ancestor = ParentRef::gateway(gateway);
            AncestorVerdict { ancestor, conditions: vec![accepted, resolved.clone()] }
        });
        PolicyVerdict { generation: self.object.generation(), ancestors: ancestors.collect() }
    }
}

fn plan(
    key: &Key,
    validation: &BackendTlsValidation,
    authorities: &mut Authorities<'_>,
    unresolved: &mut Vec<Problem>,
) -> Result<TlsPlan, Problem> {
    let invalid = |message| Problem::new(reason::INVALID, message);
    let roots = match validation.well_known_ca_certificates.as_deref().filter(|name| !name.is_empty()) {
        None => Roots::Pem(bundles(key, validation, authorities, unresolved)?),
        Some("System") => Roots::System,
        Some(other) => {
            return Err(invalid(format!(
                "\"{other}\" is no set of certificates that gwproxy knows: use System in \
                 spec.validation.wellKnownCACertificates, or name a ConfigMap in spec.validation.caCertificateRefs"
            )));
        }
    };
    if ServerName::try_from(validation.hostname.as_str()).is_err() {
        let hostname = &validation.hostname;
        return Err(invalid(format!("\"{hostname}\" is no hostname: correct spec.validation.hostname")));
    }
    let names = validation.subject_alt_names.iter().enumerate().map(|(at, name)| {
        match (name.type_.as_str(), &name.hostname, &name.uri) {
            ("Hostname", Some(hostname), _) => Ok(SubjectName::Dns(hostname.to_ascii_lowercase())),
            ("URI", _, Some(uri)) => Ok(SubjectName::Uri(uri.clone())),
            (type_, ..) => Err(invalid(format!(
                "spec.validation.subjectAltNames[{at}] of type \"{type_}\" cannot be used: give type Hostname a hostname, \
                 or type URI a uri"
            ))),
        }
    });
    let names = names.collect::<Result<_, _>>()?;
    Ok(TlsPlan { hostname: validation.hostname.clone(), roots, names, made: Mutex::default() })
}

/// Those references that lead to certificates; an error when none does.
fn bundles(
    key: &Key,
    validation: &BackendTlsValidation,
    authorities: &mut Authorities<'_>,
    unresolved: &mut Vec<Problem>,
) -> Result<Vec<Arc<[u8]>>, Problem> {
    let mut bundles = Vec::new();
    for (at, reference) in validation.ca_certificate_refs.iter().enumerate() {
        let field = format!("spec.validation.caCertificateRefs[{at}]");
        if !core(&reference.group).is_empty() || reference.kind != "ConfigMap" {
            let message = format!(
                "{field} is of kind \"{}\" in group \"{}\": refer to a ConfigMap",
                reference.kind, reference.group
            );
            unresolved.push(Problem::new(reason::INVALID_KIND, message));
            continue;
        }
        match authorities.bundle(&Key::new(&key.namespace, &reference.name)) {
            Ok(bundle) => bundles.push(bundle),
            Err(why) => {
                unresolved.push(Problem::new(reason::INVALID_CA_CERTIFICATE_REF, format!("{field}: {why}")));
            }
        }
    }
    if bundles.is_empty() {
        let message = match unresolved.as_slice() {
            [] => "no certificate of an authority is named: add one to spec.validation.caCertificateRefs".to_owned(),
            problems => told(problems),
        };
        return Err(Problem::new(reason::NO_VALID_CA_CERTIFICATE, message));
    }
    Ok(bundles)
}
