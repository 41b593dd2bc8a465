//! JSON Patch with bounds: `copy` can double an object with every operation, and nest it deeper.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::local::limits::{DEPTH, SIZE, depth, size};
use crate::local::status::StatusError;

/// Applies the patch, or says why not. `what` names the object in the error.
pub(super) fn apply(patch: &Patch, object: &mut Value, what: &str) -> Result<(), StatusError> {
    let mut copied = 0;
    for (index, operation) in patch.0.iter().enumerate() {
        let below = operation.path().tokens().count();
        let nested = match operation {
            PatchOperation::Add(add) => depth(&add.value),
            PatchOperation::Replace(replace) => depth(&replace.value),
            PatchOperation::Copy(copy) => within(object, copy.from.as_str(), &mut copied)?,
            PatchOperation::Move(moved) => within(object, moved.from.as_str(), &mut copied)?,
            PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
        };
        if nested > 0 && below + nested > DEPTH {
            return Err(StatusError::unprocessable(format!(
                "{what}: operation {index} would nest values deeper than {DEPTH} levels"
            )));
        }
        // The object is thrown away when an operation fails: nothing has to be undone.
        json_patch::patch_unsafe(object, std::slice::from_ref(operation)).map_err(|error| {
            let (path, why) = (&error.path, &error.kind);
            StatusError::unprocessable(format!("{what}: operation {index} failed at {path}: {why}"))
        })?;
    }
    Ok(())
}

/// The depth of the value at `from`, whose size is taken from what may be copied in all.
fn within(object: &Value, from: &str, copied: &mut usize) -> Result<usize, StatusError> {
    let Some(value) = object.pointer(from) else { return Ok(0) };
    *copied += size(value);
    if *copied > SIZE {
        return Err(StatusError::too_large(SIZE));
    }
    Ok(depth(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(patch: Value, object: Value) -> Result<Value, u16> {
        let mut object = object;
        let patch: Patch = serde_json::from_value(patch).unwrap();
        apply(&patch, &mut object, "thing").map(|()| object).map_err(|error| error.code())
    }

    #[test]
    fn operations_apply_in_order_or_not_at_all() {
        let patch = json!([
            {"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2},
            {"op": "move", "from": "/a", "path": "/c"}, {"op": "test", "path": "/c", "value": [1]},
        ]);
        assert_eq!(run(patch, json!({"a": [1]})), Ok(json!({"b": [1, 2], "c": [1]})));
        assert_eq!(run(json!([{"op": "test", "path": "/a", "value": 2}]), json!({"a": 1})), Err(422));
        assert_eq!(run(json!([{"op": "remove", "path": "/x"}]), json!({"a": 1})), Err(422));
    }

    #[test]
    fn copies_cannot_blow_an_object_up() {
        let nest = vec![json!({"op": "copy", "from": "", "path": "/a"}); 120];
        assert_eq!(run(json!(nest), json!({"a": {}})), Err(422));
        let wide: Vec<Value> =
            (0..60).map(|index| json!({"op": "copy", "from": "/list", "path": format!("/list/{index}")})).collect();
        assert_eq!(run(json!(wide), json!({"list": ["x"]})), Err(413));
        let many: Vec<Value> =
            (0..60).map(|index| json!({"op": "copy", "from": "/big", "path": format!("/b{index}")})).collect();
        assert_eq!(run(json!(many), json!({"big": "x".repeat(100_000)})), Err(413));
    }
}
