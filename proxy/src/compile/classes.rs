//! GatewayClasses that name this controller.

use std::collections::BTreeMap;

use super::{
    ClassVerdict, Verdict,
    verdict::{condition, reason},
};
use crate::{resources::Set, types::GatewayClass};

/// Verdicts of our classes. Those of other controllers are none of our business.
pub fn compile(set: &Set, controller: &str) -> BTreeMap<String, ClassVerdict> {
    let ours = set.classes.iter().filter(|(_, class)| class.spec.controller_name == controller);
    ours.map(|(name, class)| (name.clone(), verdict(class))).collect()
}

/// Whether Gateways of the class are served.
pub fn accepted(class: &ClassVerdict) -> bool {
    class.conditions.iter().any(|verdict| verdict.type_ == condition::ACCEPTED && verdict.status)
}

fn verdict(class: &GatewayClass) -> ClassVerdict {
    let accepted = match &class.spec.parameters_ref {
        None => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "gwproxy serves Gateways of this class"),
        Some(parameters) => Verdict::no(
            condition::ACCEPTED,
            reason::INVALID_PARAMETERS,
            format!(
                "gwproxy takes no parameters of kind \"{}\" in group \"{}\": remove spec.parametersRef",
                parameters.kind, parameters.group
            ),
        ),
    };
    ClassVerdict { generation: class.generation(), conditions: vec![accepted] }
}
