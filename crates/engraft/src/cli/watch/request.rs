//! The part of HTTP that the page needs: GET, numbers in the query, one answer for each connection.

use std::io::{self, Read};

/// Longest head of a request, in bytes.
const LONGEST: u64 = 16 << 10;

/// A request: which of the few things, with numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The page itself.
    Page,
    /// What changes: content of all runs.
    Live,
    /// A sample grid: index of the run and step.
    Grid(usize, u64),
    /// The grid of training images of a run.
    Reals(usize),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn found(kind: &'static str, body: Vec<u8>) -> Self {
        let status = "200 OK";
        Self { status, kind, body }
    }

    /// An answer without content.
    pub(super) fn refused(status: &'static str) -> Self {
        let body = format!("{status}\n").into_bytes();
        let kind = "text/plain; charset=utf-8";
        Self { status, kind, body }
    }

    /// The bytes to send. The page may load only from this server, and run only its own script.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; img-src 'self' data:; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }
}

impl Request {
    /// Reads a request, or gives the answer that refuses it.
    pub(super) fn read(stream: &mut impl Read, port: u16) -> io::Result<Result<Self, Answer>> {
        let mut head = Vec::new();
        let mut byte = [0];
        let mut source = io::BufReader::new(stream.take(LONGEST));
        while !head.ends_with(b"\r\n\r\n") {
            if source.read(&mut byte)? == 0 {
                return Ok(Err(Answer::refused("400 Bad Request")));
            }
            head.push(byte[0]);
        }
        Ok(Self::parse(&String::from_utf8_lossy(&head), port))
    }

    fn parse(head: &str, port: u16) -> Result<Self, Answer> {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        if method != Some("GET") {
            return Err(Answer::refused("405 Method Not Allowed"));
        }
        // A page from elsewhere must not read this one under a name that it controls.
        let is_host = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_default();
            name.eq_ignore_ascii_case("host")
                && ["127.0.0.1", "localhost"].contains(&value.trim().trim_end_matches(&format!(":{port}")))
        };
        if !lines.any(is_host) {
            return Err(Answer::refused("403 Forbidden"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let number = |name: &str| -> Option<u64> {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        let run = || number("run").and_then(|run| usize::try_from(run).ok());
        let found = match path {
            "/" => Some(Self::Page),
            "/live" => Some(Self::Live),
            "/grid" => run().zip(number("step")).map(|(run, step)| Self::Grid(run, step)),
            "/reals" => run().map(Self::Reals),
            _ => None,
        };
        found.ok_or_else(|| Answer::refused("404 Not Found"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, host: &str) -> Result<Request, &'static str> {
        Request::parse(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 80)
            .map_err(|refused| refused.status)
    }

    #[test]
    fn only_the_known_requests_of_this_machine_are_answered() {
        let ours = |line| parsed(line, "127.0.0.1:80");
        assert_eq!(ours("GET /"), Ok(Request::Page));
        assert_eq!(ours("GET /live?x=1"), Ok(Request::Live));
        assert_eq!(ours("GET /grid?run=1&step=20"), Ok(Request::Grid(1, 20)));
        assert_eq!(ours("GET /reals?run=0"), Ok(Request::Reals(0)));
        for other in [
            "GET /grid?run=1",
            "GET /grid?run=-1&step=2",
            "GET /grid?run=../x&step=2",
            "GET /../etc/passwd",
            "GET //",
            "GET ",
        ] {
            assert_eq!(ours(other), Err("404 Not Found"), "{other}");
        }
        assert_eq!(ours("POST /"), Err("405 Method Not Allowed"));
        assert_eq!(parsed("GET /", "localhost:80"), Ok(Request::Page));
        for foreign in ["elsewhere.example:80", "127.0.0.1.elsewhere.example", ""] {
            assert_eq!(parsed("GET /", foreign), Err("403 Forbidden"), "{foreign}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused_after_its_limit() {
        let endless = &mut io::repeat(b'x');
        let refused = Request::read(endless, 80).unwrap().unwrap_err();
        assert_eq!(refused.status, "400 Bad Request");
    }
}
