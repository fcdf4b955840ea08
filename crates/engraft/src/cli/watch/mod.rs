//! `engraft watch`: a page that shows runs while they train.

mod content;
mod page;
mod request;

use super::advice;
use super::options::Watch;
use anyhow::{Context, ensure};
use engraft_gan::RunLayout;
use request::Request;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Most runs on one page.
const MOST_RUNS: usize = 8;
/// Most connections at the same time; further ones are closed.
const MOST_CONNECTIONS: usize = 32;
/// Longest wait for a browser to send or receive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command, until a signal ends the process. There is nothing to save.
///
/// # Errors
/// If a directory is no run, or the port is taken.
pub(super) fn run(options: &Watch) -> anyhow::Result<()> {
    ensure!(
        options.runs.len() <= MOST_RUNS,
        "{} runs: one page shows at most {MOST_RUNS}",
        options.runs.len()
    );
    for run in &options.runs {
        ensure!(
            run.is_dir(),
            "{}: there is no such directory; give run directories of train or transfer",
            run.display()
        );
        ensure!(
            RunLayout::new(run).settings().is_file(),
            "{}: there is no {} in it; give run directories of train or transfer",
            run.display(),
            RunLayout::SETTINGS
        );
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).map_err(|error| {
        let failed =
            anyhow::Error::new(error).context(format!("--port {}: cannot serve there", options.port));
        advice::with(failed, "--port 0 takes a free port")
    })?;
    let port = listener.local_addr().context("the port is unknown")?.port();
    out!(
        "http://127.0.0.1:{port}/ shows {} run(s); Ctrl-C ends it",
        options.runs.len()
    );
    serve(&listener, port, &Arc::new(options.runs.clone()));
    Ok(())
}

/// Answers each connection in a thread of its own.
fn serve(listener: &TcpListener, port: u16, runs: &Arc<Vec<PathBuf>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().filter_map(Result::ok) {
        if open.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (runs, open) = (Arc::clone(runs), Arc::clone(&open));
        std::thread::spawn(move || {
            // A browser that went away is no problem of the others.
            let _ = answer(stream, port, &runs);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn answer(mut stream: TcpStream, port: u16, runs: &[PathBuf]) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = match Request::read(&mut stream, port)? {
        Ok(request) => content::answer(&request, runs),
        Err(refused) => refused,
    };
    stream.write_all(&answer.to_bytes())
}
