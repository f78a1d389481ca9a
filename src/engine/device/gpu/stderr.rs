//! Keeping one stray message of drivers off the user's terminal.

/// Runs `f` and drops the lines that name `XDG_RUNTIME_DIR` from what it puts on stderr.
///
/// Where that variable is unset (a container, a service), Mesa's Vulkan layer tries to reach a display server whenever
/// adapters are listed and complains on stderr that it cannot; nothing is wrong, and the line would stand beside every
/// message of ours. Everything else that a driver says is passed on.
#[cfg(unix)]
pub(super) fn without_display_noise<R>(f: impl FnOnce() -> R) -> R {
    use std::io::{Read, Seek, Write};
    if std::env::var_os("XDG_RUNTIME_DIR").is_some() {
        return f();
    }
    // One at a time: a second would take the first one's file for the terminal.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Wherever catching does not work, the noise is the smaller evil.
    let Ok(mut caught) = tempfile::tempfile() else { return f() };
    let Ok(terminal) = rustix::io::dup(rustix::stdio::stderr()) else { return f() };
    if rustix::stdio::dup2_stderr(&caught).is_err() {
        return f();
    }
    let restore = Restore(terminal);
    let result = f();
    drop(restore);
    let mut said = Vec::new();
    if caught.rewind().and_then(|()| caught.read_to_end(&mut said)).is_ok() {
        for line in String::from_utf8_lossy(&said).lines().filter(|line| !line.contains("XDG_RUNTIME_DIR")) {
            // A closed stderr takes no message; there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
    result
}

/// Gives stderr back, also when a panic passes.
#[cfg(unix)]
struct Restore(std::os::fd::OwnedFd);

#[cfg(unix)]
impl Drop for Restore {
    fn drop(&mut self) {
        // dup2 onto an open descriptor fails only where the descriptor kept is bad, which it is not.
        let _ = rustix::stdio::dup2_stderr(&self.0);
    }
}

#[cfg(not(unix))]
pub(super) fn without_display_noise<R>(f: impl FnOnce() -> R) -> R {
    f()
}
