//! Label selectors inside of objects.

use serde_json::Value;

use super::{At, words};
use crate::local::admit::FieldErrorKind::Invalid;
use crate::local::names;

impl At<'_> {
    /// Labels, whose keys and values are both spoken of at this place.
    pub(super) fn labels(&self) {
        for (key, value) in self.value.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            for message in [names::label_key(key), names::label_value(value)].into_iter().filter_map(Result::err) {
                self.say(Invalid, message);
            }
        }
    }

    pub(super) fn selector(&self) {
        self.at("matchLabels").labels();
        for expression in self.each("matchExpressions") {
            let (operator, values) = (expression.at("operator"), expression.at("values"));
            match operator.text() {
                "In" | "NotIn" if values.is_empty() => {
                    values.missing("must be specified when `operator` is 'In' or 'NotIn'");
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => operator.invalid_as(&other.into(), "not a valid selector operator"),
            }
            expression.at("key").text_is(words::qualified);
            expression.each("values").iter().for_each(|value| value.text_is(words::label_value));
        }
    }
}

/// Whether the labels are what the selector asks for; `None` where it cannot be read. An absent
/// selector takes nothing.
pub(super) fn matches(selector: &Value, labels: &Value) -> Option<bool> {
    let mut all = !selector.is_null();
    for (key, wanted) in selector["matchLabels"].as_object().into_iter().flatten() {
        (names::label_key(key).is_ok() && names::value(wanted.as_str()?).is_ok()).then_some(())?;
        all &= labels[key] == *wanted;
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().filter(|key| names::label_key(key).is_ok())?;
        let values = expression["values"].as_array().map_or(&[][..], Vec::as_slice);
        all &= match (expression["operator"].as_str()?, values.is_empty()) {
            ("In", false) => values.contains(&labels[key]),
            ("NotIn", false) => !values.contains(&labels[key]),
            ("Exists", true) => !labels[key].is_null(),
            ("DoesNotExist", true) => labels[key].is_null(),
            _ => return None,
        };
    }
    Some(all)
}
