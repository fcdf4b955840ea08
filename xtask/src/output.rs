//! Lines that commands print, as those of the program: to streams that may be closed or full.

/// Prints a line to standard output.
macro_rules! out {
    ($($text:tt)*) => { engraft::cli::out_line(format_args!($($text)*)) };
}

/// Prints a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { engraft::cli::note_line(format_args!($($text)*)) };
}
