//! Gateways of our classes: their own conditions and the listeners that go into the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Addresses, ClassVerdict, GatewayVerdict, ListenerSetVerdict, Verdict,
    authorities::Authorities,
    backends::Client,
    certificates::Certificates,
    classes,
    conflicts::{self, Sockets},
    frontend::Frontend,
    grants::Grants,
    listeners::{ListenerPlan, Owner},
    memory::Memory,
    sets::{self, SetPlan},
    verdict::{Problem, condition, reason},
};
use crate::{
    contract::ACCEPT_PROXY_ANNOTATION,
    resources::Set,
    table::Protocol,
    types::{Gateway, Key, ListenerSet},
};

/// One Gateway of ours on its way into the table.
pub struct GatewayPlan<'a> {
    pub key: &'a Key,
    gateway: &'a Gateway,
    /// Its own, then those of its ListenerSets.
    pub listeners: Vec<ListenerPlan<'a>>,
    /// ListenerSets that name this Gateway, whether it takes them or not.
    pub sets: Vec<SetPlan<'a>>,
    /// Ports whose connections begin with a PROXY header.
    pub accept_proxy: BTreeSet<u16>,
    /// Empty when nothing is to be served.
    pub addresses: &'a [IpAddr],
    /// What it shows to endpoints that ask who it is.
    pub client: Client,
    /// What is wrong with that, where it is configured.
    client_problem: Option<Result<(), Problem>>,
    not_accepted: Option<Problem>,
    /// Reason and message of `Programmed`.
    no_address: Option<Problem>,
}

/// Older Gateways first, as where two of them want the same socket.
pub fn plan<'a>(
    set: &'a Set,
    classes: &BTreeMap<String, ClassVerdict>,
    addresses: &'a Addresses,
    grants: &'a Grants<'a>,
    memory: &mut Memory,
) -> Vec<GatewayPlan<'a>> {
    let served = |gateway: &Gateway| classes.get(&gateway.spec.gateway_class_name).is_some_and(classes::accepted);
    let mut ours: Vec<_> = set.gateways.iter().filter(|(_, gateway)| served(gateway)).collect();
    ours.sort_by_key(|(key, gateway)| (super::created(&gateway.metadata), *key));
    let mut certificates = Certificates::new(set, grants, memory);
    let mut authorities = Authorities::new(set);
    let mut sockets = Sockets::default();
    let mut sets = sets::by_gateway(set);
    let plans = ours
        .into_iter()
        .map(|(key, gateway)| {
            let mut plan = GatewayPlan::new(key, gateway, addresses.get(key), &mut certificates);
            conflicts::within(&mut plan.listeners);
            for (key, set_object) in sets.remove(key).unwrap_or_default() {
                plan.take_up(set, key, set_object, &mut certificates);
            }
            plan.ask_clients(grants, &mut authorities);
            for listener in plan.listeners.iter_mut().filter(|listener| listener.is_accepted()) {
                sockets.claim(listener, plan.addresses);
            }
            plan
        })
        .collect();
    certificates.finish();
    plans
}

impl<'a> GatewayPlan<'a> {
    fn new(
        key: &'a Key,
        gateway: &'a Gateway,
        given: Option<&'a Result<Vec<IpAddr>, super::AddressProblem>>,
        certificates: &mut Certificates<'_>,
    ) -> Self {
        let spec = &gateway.spec;
        let listeners = spec.listeners.iter().enumerate();
        let owner = Owner::Gateway(key);
        let listeners = listeners.map(|(at, spec)| ListenerPlan::new(key, owner, spec, at, certificates)).collect();
        let mut plan = Self {
            key,
            gateway,
            listeners,
            sets: Vec::new(),
            accept_proxy: accept_proxy(gateway).unwrap_or_default(),
            addresses: &[],
            client: None,
            client_problem: None,
            not_accepted: refused(gateway),
            no_address: None,
        };
        let backend = spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
        if let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref()) {
            let made = certificates.resolve(owner, reference, "spec.tls.backend.clientCertificateRef");
            plan.client_problem = Some(match made {
                Ok(certificate) => {
                    plan.client = Some(Arc::new(certificate));
                    Ok(())
                }
                Err(problem) if problem.reason == reason::REF_NOT_PERMITTED => Err(problem),
                Err(problem) => Err(Problem::new(reason::INVALID_CLIENT_CERTIFICATE_REF, problem.message)),
            });
        }
        match given {
            Some(Ok(addresses)) if !addresses.is_empty() => plan.addresses = addresses,
            Some(Err(problem)) if problem.reason == reason::UNSUPPORTED_ADDRESS => {
                plan.not_accepted.get_or_insert(Problem::new(problem.reason, problem.message.clone()));
            }
            Some(Err(problem)) => plan.no_address = Some(Problem::new(problem.reason, problem.message.clone())),
            Some(Ok(_)) | None => {
                let message = "no address has been assigned yet";
                plan.no_address = Some(Problem::new(reason::ADDRESS_NOT_ASSIGNED, message));
            }
        }
        if plan.not_accepted.is_some() {
            plan.addresses = &[];
        }
        plan
    }

    fn frontend(&self) -> Frontend<'a> {
        Frontend::new(self.key, self.gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()))
    }

    fn ask_clients(&mut self, grants: &Grants<'_>, authorities: &mut Authorities<'_>) {
        let frontend = self.frontend();
        for listener in &mut self.listeners {
            if listener.protocol == Some(Protocol::Https) {
                listener.ask_clients(frontend.on(listener.spec.port, grants, authorities));
            }
        }
    }

    /// What keeps the whole Gateway off the network.
    fn kept_off(&self) -> Result<(), Problem> {
        if let Some(problem) = &self.not_accepted {
            return Err(Problem::new(reason::INVALID, problem.message.clone()));
        }
        match &self.no_address {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        }
    }

    fn take_up(&mut self, set: &Set, key: &'a Key, object: &'a ListenerSet, certificates: &mut Certificates<'_>) {
        let refused = sets::refused(set, self.key, self.gateway, key, self.not_accepted.as_ref());
        if refused.is_none() {
            let owner = Owner::ListenerSet(key);
            let specs = object.spec.listeners.iter().enumerate();
            let mut theirs: Vec<_> =
                specs.map(|(at, spec)| ListenerPlan::new(self.key, owner, spec, at, certificates)).collect();
            conflicts::with_earlier(&self.listeners, &mut theirs);
            conflicts::within(&mut theirs);
            self.listeners.append(&mut theirs);
        }
        self.sets.push(SetPlan { key, object, refused });
    }

    fn listeners_of(&self, owner: Owner<'a>) -> impl Iterator<Item = &ListenerPlan<'a>> {
        self.listeners.iter().filter(move |listener| listener.owner == owner)
    }

    fn own(&self) -> impl Iterator<Item = &ListenerPlan<'a>> {
        self.listeners_of(Owner::Gateway(self.key))
    }

    pub fn verdict(&self) -> GatewayVerdict {
        let kept_off = self.kept_off();
        let for_listeners = for_listeners(&kept_off);
        let listeners: Vec<_> =
            self.own().map(|listener| listener.verdict(self.addresses, for_listeners.as_ref())).collect();
        let resolved = self.client_problem.as_ref().map(|found| match found {
            Ok(()) => Verdict::yes(condition::RESOLVED_REFS, reason::RESOLVED_REFS, "all references resolve"),
            Err(problem) => Verdict::no(condition::RESOLVED_REFS, problem.reason, problem.message.clone()),
        });
        let insecure = self.frontend().is_insecure().then(|| {
            let message = "clients are let in whose certificate is missing or wrong: see spec.tls.frontend";
            Verdict::yes(condition::INSECURE_FRONTEND_VALIDATION_MODE, reason::CONFIGURATION_CHANGED, message)
        });
        let conditions = [self.accepted(), self.programmed(&kept_off)].into_iter().chain(resolved).chain(insecure);
        let conditions = conditions.collect();
        let attached = self.sets.iter().filter(|set| self.takes(set)).count();
        let asked = attached > 0 || self.gateway.spec.allowed_listeners.is_some();
        GatewayVerdict {
            generation: self.gateway.generation(),
            addresses: self.addresses.to_vec(),
            conditions,
            listeners,
            attached_listener_sets: asked.then(|| i32::try_from(attached).unwrap_or(i32::MAX)),
        }
    }

    /// A set is taken up when one of its listeners at least is of use.
    fn takes(&self, set: &SetPlan<'a>) -> bool {
        set.refused.is_none() && self.listeners_of(Owner::ListenerSet(set.key)).any(ListenerPlan::is_servable)
    }

    pub fn set_verdicts(&self) -> impl Iterator<Item = (Key, ListenerSetVerdict)> {
        let kept_off = self.kept_off();
        self.sets.iter().map(move |set| {
            let listeners: Vec<_> = self.listeners_of(Owner::ListenerSet(set.key)).collect();
            let verdict = set.verdict(&listeners, self.addresses, &kept_off, for_listeners(&kept_off).as_ref());
            (set.key.clone(), verdict)
        })
    }

    fn accepted(&self) -> Verdict {
        if let Some(problem) = &self.not_accepted {
            return Verdict::no(condition::ACCEPTED, problem.reason, problem.message.clone());
        }
        let bad: Vec<_> = self.own().filter(|listener| !listener.is_servable()).collect();
        if bad.is_empty() && self.own().next().is_some() {
            return Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the Gateway is valid");
        }
        let names: Vec<_> = bad.iter().map(|listener| format!("\"{}\"", listener.spec.name)).collect();
        let message = match names.as_slice() {
            [] => "the Gateway has no listener: add one to spec.listeners".to_owned(),
            names => format!("not valid: listener {}; their own conditions say why", names.join(", ")),
        };
        // A listener that only lacks its certificate is accepted, and so is its Gateway.
        let status = self.own().any(ListenerPlan::is_accepted);
        Verdict { type_: condition::ACCEPTED, status, reason: reason::LISTENERS_NOT_VALID, message }
    }

    fn programmed(&self, kept_off: &Result<(), Problem>) -> Verdict {
        if let Err(problem) = kept_off {
            return Verdict::no(condition::PROGRAMMED, problem.reason, problem.message.clone());
        }
        if !self.listeners.iter().any(ListenerPlan::is_servable) {
            let message = "no listener can be served; their own conditions say why";
            return Verdict::no(condition::PROGRAMMED, reason::INVALID, message);
        }
        Verdict::yes(condition::PROGRAMMED, reason::PROGRAMMED, "the Gateway is served")
    }
}

/// The reasons of addresses are the Gateway's; a listener is just not ready yet.
fn for_listeners(kept_off: &Result<(), Problem>) -> Option<Problem> {
    kept_off.as_ref().err().map(|problem| Problem {
        reason: if problem.reason == reason::INVALID { reason::INVALID } else { reason::PENDING },
        message: problem.message.clone(),
    })
}

/// Ports whose connections begin with a PROXY header.
fn accept_proxy(gateway: &Gateway) -> Result<BTreeSet<u16>, Problem> {
    let annotations = gateway.metadata.annotations.as_ref();
    let Some(ports) = annotations.and_then(|all| all.get(ACCEPT_PROXY_ANNOTATION)) else {
        return Ok(BTreeSet::new());
    };
    ports.split(',').map(|port| port.trim().parse()).collect::<Result<_, _>>().map_err(|_| {
        let message =
            format!("annotation {ACCEPT_PROXY_ANNOTATION} is \"{ports}\": list port numbers there, such as 80,443");
        Problem::new(reason::INVALID, message)
    })
}

/// What is wrong with the Gateway itself.
fn refused(gateway: &Gateway) -> Option<Problem> {
    let parameters =
        gateway.spec.infrastructure.as_ref().and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
    if let Some(parameters) = parameters {
        let message = format!(
            "gwproxy takes no parameters of kind \"{}\" in group \"{}\": remove spec.infrastructure.parametersRef",
            parameters.kind, parameters.group
        );
        return Some(Problem::new(reason::INVALID_PARAMETERS, message));
    }
    // To take a header's word for it unasked, or the other way round, is not for guessing.
    if let Err(problem) = accept_proxy(gateway) {
        return Some(problem);
    }
    gateway.spec.addresses.iter().enumerate().find_map(|(at, address)| {
        let type_ = address.type_.as_deref().filter(|type_| *type_ != "IPAddress")?;
        let message =
            format!("addresses of type \"{type_}\" are not supported: use IPAddress in spec.addresses[{at}].type");
        Some(Problem::new(reason::UNSUPPORTED_ADDRESS, message))
    })
}
