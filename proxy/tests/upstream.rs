//! The Gateway API repository's own invalid manifests: each is refused by name. They are read from
//! the Go module cache, where the conformance suite's module is; without it the test skips.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const MODULE: &str = "sigs.k8s.io/gateway-api@v1.6.1";

fn manifests(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            manifests(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
}

#[test]
fn every_invalid_manifest_of_the_gateway_api_is_refused() {
    let cache = Command::new("go").args(["env", "GOMODCACHE"]).output();
    let cache = cache.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let folder = Path::new(&cache).join(MODULE).join("hack/invalid-examples");
    if cache.is_empty() || !folder.is_dir() {
        eprintln!("skipped: {MODULE} is not in the Go module cache (`go mod download` in proxy/conformance)");
        return;
    }
    let mut all = Vec::new();
    manifests(&folder, &mut all);
    assert!(all.len() > 20, "{all:?}");
    for path in all {
        let output = Command::new(env!("CARGO_BIN_EXE_gwproxy")).args(["validate", "-f"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{} is taken:\n{said}", path.display());
        assert!(said.contains("problem:"), "{}:\n{said}", path.display());
    }
}
