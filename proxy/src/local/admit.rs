//! Where a kind's own rules meet the API: the server reads each body with [`Admit::decode`], and
//! calls [`Admit::admit`] once per write, before the object is stored.

use serde_json::Value;

/// Defaults, prunes and validates one object.
///
/// Contract: `object` is changed in place (defaults filled in, unknown fields removed), whatever
/// is returned. `old` is the stored object on updates and `None` on creation. A kind the
/// implementation does not know is left alone and is never refused.
pub trait Admit: Send + Sync {
    /// Reads a body as its kind: unknown fields are removed and returned. Fails in the decoder's
    /// words where a value has the wrong type. Custom kinds leave everything but their metadata
    /// to [`Admit::admit`].
    fn decode(&self, _group: &str, _version: &str, _kind: &str, _object: &mut Value) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    /// The version whose rules count is the object's `apiVersion`.
    fn admit(&self, group: &str, kind: &str, object: &mut Value, old: Option<&Value>) -> Admitted;

    /// The structural schema of the kind, without references; kinds without one accept any field.
    fn schema(&self, _group: &str, _kind: &str) -> Option<Value> {
        None
    }

    /// The schema of one version of a custom kind, as a CustomResourceDefinition holds it.
    fn schema_of(&self, _group: &str, _version: &str, _kind: &str) -> Option<Value> {
        None
    }

    /// Takes the schemas of a custom kind from now on, the stored version's first. Fails, and
    /// changes nothing, when one of them cannot be used.
    fn register(&self, _group: &str, _kind: &str, _versions: &[(String, Value)]) -> Result<(), String> {
        Ok(())
    }

    /// Forgets a kind that was registered.
    fn unregister(&self, _group: &str, _kind: &str) {}
}

/// What [`Admit::admit`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Why the object is refused; empty when it is accepted.
    pub errors: Vec<FieldError>,
    /// Paths of fields which the kind does not have and which were removed, for
    /// `fieldValidation=Strict` and `Warn`.
    pub unknown: Vec<String>,
}

/// One reason for a refusal, as a kube-apiserver's Status lists it among its causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, such as `spec.rules[0].matches`.
    pub field: String,
    pub kind: FieldErrorKind,
    /// The whole message after the path, such as `Invalid value: "x": must be ...`.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Invalid,
    NotSupported,
    TooLong,
    TooMany,
    Duplicate,
    Forbidden,
    NotFound,
}
