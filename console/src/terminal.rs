//! The terminal: taken, and given back whatever happens.

use std::{
    io::{self, IsTerminal as _, Write as _, stdout},
    mem::ManuallyDrop,
    sync::Once,
};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor, event, execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

/// Never dropped: ratatui would print to a terminal that may be gone, and panic. `Guard` shows the cursor.
pub type Screen = ManuallyDrop<Terminal<CrosstermBackend<io::Stdout>>>;

/// The terminal in the console's hands until dropped.
#[derive(Debug)]
pub struct Guard(());

pub fn require_terminal() -> Result<(), String> {
    if io::stdout().is_terminal() && io::stdin().is_terminal() {
        return Ok(());
    }
    Err("the console needs a terminal; for scripts there is `gwtop status`".to_owned())
}

pub fn take() -> io::Result<(Guard, Screen)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
    enable_raw_mode()?;
    let guard = Guard(());
    execute!(stdout(), EnterAlternateScreen, event::EnableBracketedPaste, cursor::Hide)?;
    let screen = Terminal::new(CrosstermBackend::new(stdout()))?;
    Ok((guard, ManuallyDrop::new(screen)))
}

/// To the clipboard of the terminal that the operator sits at, over any number of hops (OSC 52).
/// Terminals that do not allow it say nothing.
pub fn copy(text: &str) {
    let _ = execute!(stdout(), CopyToClipboard::to_clipboard_from(text));
}

/// A hung-up terminal cannot be told anything: errors have nobody to go to.
fn restore() {
    let _ = execute!(stdout(), event::DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}
