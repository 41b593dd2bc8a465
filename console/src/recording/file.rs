//! Recordings on disk.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use jiff::Timestamp;

use super::{Line, head, write};
use crate::settings::gwtop_state;

/// Among the recordings of this user; the name of the file.
pub fn save(context: &str, lines: &[Line]) -> Result<String, String> {
    let folder = gwtop_state().join("recordings");
    let path = folder.join(format!("{}.jsonl", Timestamp::now().strftime("%Y%m%dT%H%M%S")));
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        let mut out = create(&path)?;
        head(&mut out, context)?;
        for line in lines {
            write(&mut out, line)?;
        }
        out.flush()
    };
    written().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// For its owner alone: it tells how a cluster is built.
pub fn create(path: &Path) -> std::io::Result<BufWriter<File>> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(BufWriter::new(file))
}
