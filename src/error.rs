//! The one error type of the library: what went wrong, where, and what to do about it.

use std::fmt::{self, Display};
use std::sync::Arc;

/// What kind of failure an [`Error`] is, for programs that react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An input that is wrong in a way that no other kind says.
    Input,
    /// A setting that is unknown, out of range, or does not go with another.
    Setting,
    /// A file or folder that is not there.
    NotFound,
    /// A file or folder that is there already.
    Exists,
    /// A file that is damaged, of an unsupported kind, or not what it should be.
    File,
    /// Tensors whose shapes or sizes do not fit together.
    Shape,
    /// No such device, or tensors of two devices.
    Device,
    /// Memory that is not there, or more than the cap allows.
    Memory,
    /// A kernel that could not be loaded, bound or run.
    Kernel,
    /// A device that stopped working.
    Lost,
    /// The system refused to read or write: a full disk, no permission.
    Io,
    /// Work that failed in a way that no other kind says.
    Failed,
}

/// Every failure that the library reports: its kind, what went wrong, the file, setting or tensor that is meant, and
/// the remedy.
///
/// Prints as one line, `what: subject: remedy`. Settings are named in the text as `⟨width⟩`; [`Display`] shows the bare
/// name, and [`Error::line`] whatever a front end calls it. [`Error::exit_code`] says whether the input was wrong (2)
/// or the work failed (1).
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    wrong_input: bool,
    what: String,
    subject: String,
    remedy: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: ErrorKind, wrong_input: bool, what: String, subject: String, remedy: String) -> Self {
        Error(Box::new(Inner { kind, wrong_input, what, subject, remedy, source: None }))
    }

    /// Wrong input: `what` is wrong with `subject`; `remedy` says what to do. Its kind is [`ErrorKind::Setting`] where
    /// the subject begins with a setting, else [`ErrorKind::Input`].
    pub fn input(what: impl Into<String>, subject: impl Display, remedy: impl Into<String>) -> Self {
        let subject = subject.to_string();
        let kind = if subject.starts_with('⟨') { ErrorKind::Setting } else { ErrorKind::Input };
        Error::new(kind, true, what.into(), subject, remedy.into())
    }

    /// Failed work: `what` failed at `subject`; `remedy` says what to do.
    pub fn failed(what: impl Into<String>, subject: impl Display, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Failed, false, what.into(), subject.to_string(), remedy.into())
    }

    /// A kernel that could not be loaded, bound or run; `message` is what the loader, the driver or wgpu said, in one
    /// line, with the shapes of the launch.
    pub fn kernel(kernel: &str, message: impl Into<String>) -> Self {
        let remedy = "run `huetape doctor` to check the device, or use ⟨device⟩ cpu";
        Error::new(ErrorKind::Kernel, false, format!("kernel {kernel} failed"), message.into(), remedy.into())
    }

    /// The same error as one of `kind`.
    #[must_use]
    pub fn of(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The same error with another remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = remedy.into();
        self
    }

    /// The same error with what `name` makes of each of its texts, e.g. of a file that stands for something else.
    #[must_use]
    pub fn renaming(mut self, name: impl Fn(&str) -> String) -> Self {
        let Inner { what, subject, remedy, .. } = &mut *self.0;
        [what, subject, remedy].into_iter().for_each(|text| *text = name(text));
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The process exit code that this error stands for: 2 for wrong input, 1 for failed work.
    pub fn exit_code(&self) -> u8 {
        if self.0.wrong_input { 2 } else { 1 }
    }

    /// What it is about: a file, a setting, or of a kernel what was said of it; settings named in it as `⟨width⟩`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What to do about it, settings named in it as `⟨width⟩`.
    pub fn remedy(&self) -> &str {
        &self.0.remedy
    }

    /// The whole message in one line, settings named as `name` has them.
    pub fn line(&self, name: impl Fn(&str) -> String) -> String {
        let Inner { what, subject, remedy, .. } = &*self.0;
        name_settings(&format!("{what}: {subject}: {remedy}"), name)
    }
}

/// `text` with each `⟨setting⟩` in it replaced by what `name` makes of `setting`.
pub fn name_settings(text: &str, name: impl Fn(&str) -> String) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('⟨') {
        named.push_str(before);
        match after.split_once('⟩') {
            Some((setting, after)) => {
                named.push_str(&name(setting));
                rest = after;
            }
            None => {
                named.push('⟨');
                rest = after;
            }
        }
    }
    named.push_str(rest);
    named
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(str::to_owned))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// `bail!(Error::input(...))`-style early return for shape rules and validation.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $err:expr) => {
        if !$cond {
            return Err($err);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_names_that_a_front_end_gives_them() {
        let error = Error::input("out of range", "⟨width⟩ -1", "use ⟨width⟩ above 0, e.g. 1");
        assert_eq!(error.to_string(), "out of range: width -1: use width above 0, e.g. 1");
        let line = error.line(|name| format!("[{name}]"));
        assert_eq!(line, "out of range: [width] -1: use [width] above 0, e.g. 1");
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Setting, 2));
        assert_eq!(name_settings("a ⟨b", |_| String::new()), "a ⟨b");
    }

    #[test]
    fn a_program_sees_the_kind_and_the_cause() {
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Error::input("cannot read", "x.tif", "check the path").of(ErrorKind::NotFound).caused_by(cause);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>()));
        assert_eq!(error.clone().exit_code(), 2);
    }
}
