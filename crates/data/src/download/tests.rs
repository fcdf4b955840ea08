//! Mirrors that are correct, wrong, truncated, endless, silent, or redirect in circles.

use std::collections::BTreeSet;
use std::net::TcpStream;

use super::*;
use crate::test_server::{send, serve};

const CONTENT: &[u8] = b"sixteen bytes...";

fn file(sha256: &str) -> Pinned<'_> {
    Pinned {
        name: "train-images-idx3-ubyte.gz",
        size: CONTENT.len() as u64,
        sha256,
    }
}

fn short_patience() -> Patience {
    let milliseconds = Duration::from_millis;
    Patience {
        connect: milliseconds(500),
        stall: milliseconds(200),
        total: milliseconds(600),
    }
}

/// Fetches from `mirrors`. Returns the reasons of the failed ones, and whether the file arrived. Other files in the
/// directory are an error.
fn outcome(mirrors: &[String], patience: Patience) -> (Vec<String>, bool) {
    let sum = sha256_hex(CONTENT);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a").join("b");
    let reasons = match fetch(file(&sum), mirrors, &target, patience, None) {
        Ok(()) => Vec::new(),
        Err(FetchError::Mirrors(tried)) => tried.iter().map(Tried::to_string).collect(),
        Err(FetchError::Local(error)) => panic!("{error}"),
    };
    let names = |dir: &Path| -> BTreeSet<_> {
        fs::read_dir(dir).map_or_else(
            |_| BTreeSet::new(),
            |dir| dir.map(|entry| entry.unwrap().file_name()).collect(),
        )
    };
    let arrived = reasons.is_empty();
    let expected: BTreeSet<_> = arrived.then(|| file(&sum).name.into()).into_iter().collect();
    assert_eq!(names(&target), expected);
    if arrived {
        assert_eq!(
            read_pinned(&target.join(file(&sum).name), file(&sum)).unwrap(),
            CONTENT
        );
    }
    (reasons, arrived)
}

fn reason(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let (mut reasons, arrived) = outcome(&[serve(answer)], short_patience());
    assert!(!arrived && reasons.len() == 1, "{reasons:?}");
    reasons.remove(0)
}

#[test]
fn a_right_body_arrives_with_and_without_its_length() {
    let with = serve(|path, stream| {
        assert_eq!(path, "/mnist/train-images-idx3-ubyte.gz");
        send(stream, "200 OK\r\nContent-Length: 16", CONTENT);
    });
    assert!(outcome(&[format!("{with}/mnist/")], short_patience()).1);
    let without = serve(|_, stream| send(stream, "200 OK", CONTENT));
    assert!(outcome(&[without], short_patience()).1);
}

#[test]
fn the_next_mirror_helps_and_all_failures_are_reported() {
    let missing = serve(|_, stream| send(stream, "404 Not Found\r\nContent-Length: 0", b""));
    let wrong = serve(|_, stream| send(stream, "200 OK", b"sixteen others.."));
    let right = serve(|_, stream| send(stream, "200 OK", CONTENT));
    assert!(outcome(&[missing.clone(), wrong.clone(), right], short_patience()).1);
    let (reasons, _) = outcome(&[missing.clone(), wrong.clone()], short_patience());
    assert!(reasons[0].starts_with(&format!("{missing}/train-images-idx3-ubyte.gz: ")));
    assert!(reasons[0].contains("404"));
    assert!(reasons[1].starts_with(&format!("{wrong}/train-images-idx3-ubyte.gz: expected SHA-256 ")));
    assert!(reasons[1].contains(", found "));
}

#[test]
fn bodies_of_another_length_are_refused() {
    let short = reason(|_, stream| send(stream, "200 OK", &CONTENT[..7]));
    assert!(short.ends_with(": only 7 of 16 bytes"), "{short}");
    let cut = reason(|_, stream| send(stream, "200 OK\r\nContent-Length: 16", &CONTENT[..7]));
    assert!(cut.ends_with(" after 7 of 16 bytes"), "{cut}");
    let announced = reason(|_, stream| send(stream, "200 OK\r\nContent-Length: 17", b""));
    assert!(
        announced.contains("17") && announced.contains("16"),
        "{announced}"
    );
    let endless = reason(|_, stream| {
        send(stream, "200 OK", b"");
        while stream.write_all(&[0; 4096]).is_ok() {}
    });
    assert!(endless.contains("16 bytes"), "{endless}");
}

#[test]
fn silence_and_trickling_end_in_time() {
    let wait_for_hang_up = |stream: &mut TcpStream| {
        let _ = stream.read(&mut [0]);
    };
    let start = Instant::now();
    let silent = reason(move |_, stream| wait_for_hang_up(stream));
    assert!(silent.contains("timeout"), "{silent}");
    let stalled = reason(move |_, stream| {
        send(stream, "200 OK\r\nContent-Length: 16", &CONTENT[..7]);
        wait_for_hang_up(stream);
    });
    assert!(
        stalled.contains("timeout") && stalled.ends_with(" after 7 of 16 bytes"),
        "{stalled}"
    );
    // A byte now and then resets the stall timeout, but the timeout of the whole file still applies.
    let trickling = reason(|_, stream| {
        send(stream, "200 OK\r\nContent-Length: 16", b"");
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(trickling.contains("timeout"), "{trickling}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn redirects_are_followed_but_not_in_circles_and_not_to_https() {
    let relative = serve(|path, stream| match path {
        "/train-images-idx3-ubyte.gz" => send(stream, "302 Found\r\nLocation: /there", b""),
        _ => send(stream, "200 OK", CONTENT),
    });
    assert!(outcome(std::slice::from_ref(&relative), short_patience()).1);
    let absolute =
        serve(move |_, stream| send(stream, &format!("301 Moved\r\nLocation: {relative}/there"), b""));
    assert!(outcome(&[absolute], short_patience()).1);
    let circle = reason(|path, stream| send(stream, &format!("302 Found\r\nLocation: {path}"), b""));
    assert!(
        circle.contains("5 redirects") && circle.contains("http://127.0.0.1:"),
        "{circle}"
    );
    let https = reason(|_, stream| send(stream, "301 Moved\r\nLocation: https://127.0.0.1/x", b""));
    assert!(https.contains("redirected to https://127.0.0.1/x"), "{https}");
    let nowhere = reason(|_, stream| send(stream, "302 Found", b""));
    assert!(nowhere.ends_with(": a redirect without a target"), "{nowhere}");
    let odd = reason(|_, stream| send(stream, "302 Found\r\nLocation: //elsewhere/x", b""));
    assert!(odd.contains("redirected to //elsewhere/x"), "{odd}");
}

#[test]
fn other_servers_give_a_reason_and_do_not_hang() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let garbage = serve(|_, stream| drop(stream.write_all(b"\x1b[2J no http\r\n\r\n")));
    let start = Instant::now();
    let mirrors = [
        format!("http://{closed}"),
        "http://name.invalid".into(),
        "no address".into(),
        garbage,
    ];
    let (reasons, _) = outcome(
        &mirrors,
        Patience {
            connect: Duration::from_secs(3),
            ..short_patience()
        },
    );
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons.iter().all(|reason| !reason.contains('\u{1b}')));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_directory_that_cannot_be_written_is_not_blamed_on_the_mirror() {
    let right = serve(|_, stream| send(stream, "200 OK", CONTENT));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let sum = sha256_hex(CONTENT);
    match fetch(file(&sum), &[right], &path, short_patience(), None) {
        Err(FetchError::Local(error)) => assert!(
            error.to_string().contains("creating the directory failed"),
            "{error}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pinned_file_must_match_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let sum = sha256_hex(CONTENT);
    let path = dir.path().join("file");
    let message = || read_pinned(&path, file(&sum)).unwrap_err().to_string();
    assert!(message().contains("opening failed"));
    fs::write(&path, b"sixteen others..").unwrap();
    assert!(message().contains(&format!("expected SHA-256 {sum}, found ")));
    fs::write(&path, b"short").unwrap();
    assert!(message().contains("5 bytes, expected 16"));
}
