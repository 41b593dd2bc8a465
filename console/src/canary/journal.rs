//! One JSON line a transition, kept after the run.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::Transition;
use crate::settings::gwtop_state;

/// `$XDG_STATE_HOME/gwtop/canary/<run>.jsonl`.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
}

impl Journal {
    pub fn new(run: &str) -> Self {
        Self { path: gwtop_state().join("canary").join(format!("{run}.jsonl")), file: None }
    }

    /// A disk that is full or read-only must not stop a rollback: it is logged.
    pub fn write(&mut self, transition: &Transition) {
        if let Err(error) = self.append(transition) {
            tracing::error!(path = %self.path.display(), %error, "cannot write the canary's journal");
        }
    }

    fn append(&mut self, transition: &Transition) -> std::io::Result<()> {
        let line = serde_json::to_string(transition)?;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    fs::create_dir_all(folder)?;
                }
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                self.file.insert(file)
            }
        };
        file.write_all(format!("{line}\n").as_bytes())
    }
}

/// One line for people.
pub fn text(transition: &Transition) -> String {
    let time = transition.time.strftime("%H:%M:%S");
    let step = if transition.step > 0 { format!("{}/{}", transition.step, transition.steps) } else { "-".to_owned() };
    format!(
        "{time}  {:<14} step {step:<6} {:>5} %  {}",
        transition.phase,
        crate::intent::plan::short(transition.weight),
        transition.message
    )
}
