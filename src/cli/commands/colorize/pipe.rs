//! Standard input and output in place of files: an image of any kind is read by windows, so it lies in a file
//! meanwhile.

use crate::error::{Error, ErrorKind, Result};
use crate::files::{Unfinished, io_error};
use std::fs::File;
use std::io;
use std::path::Path;

/// What messages call the file of standard input.
pub const INPUT: &str = "standard input";
/// What messages call the file of standard output.
pub const OUTPUT: &str = "standard output";

/// A file that is gone when the work is done, whichever way it ends.
pub struct Pipe(Unfinished);

impl Pipe {
    /// An empty file in the folder for such.
    ///
    /// # Errors
    /// A folder that may not be written.
    pub fn new() -> Result<Self> {
        Unfinished::create(&std::env::temp_dir().join("huetape")).map(Pipe)
    }

    /// What stands on standard input, to its end.
    ///
    /// # Errors
    /// Nothing there; a disk that is full or may not be written.
    pub fn of_stdin() -> Result<Self> {
        let mut pipe = Pipe::new()?;
        let path = pipe.path().to_owned();
        let copied = io::copy(&mut io::stdin().lock(), pipe.0.file());
        let bytes = copied.map_err(|error| io_error("cannot keep standard input", &path, &error))?;
        crate::ensure!(bytes > 0, Error::input("no image", INPUT, "send one, or name a file").of(ErrorKind::File));
        Ok(pipe)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.0.unfinished_path()
    }

    /// Sends it to standard output.
    ///
    /// # Errors
    /// A reader that is gone, a full disk.
    pub fn to_stdout(&self) -> Result<()> {
        let sent = File::open(self.path()).and_then(|mut file| {
            let mut stdout = io::stdout().lock();
            io::copy(&mut file, &mut stdout)?;
            io::Write::flush(&mut stdout)
        });
        sent.map_err(|error| {
            let what = format!("cannot write ({error})");
            Error::failed(what, OUTPUT, "let its reader read to the end, or name a file").of(ErrorKind::Io)
        })
    }
}

/// `text` with the files of pipes called what they stand for.
pub fn called(text: &str, pipes: [(&Option<Pipe>, &str); 2]) -> String {
    pipes.iter().fold(text.to_owned(), |text, (pipe, name)| match pipe {
        Some(pipe) => text.replace(&*pipe.path().to_string_lossy(), name),
        None => text,
    })
}
