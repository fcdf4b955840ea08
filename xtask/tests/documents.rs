//! README, guide and documents: commands and options exist, links resolve, sentences are short.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that a prefix of a command line means.
const PREFIXES: [(&str, Program); 3] = [
    ("cargo xtask ", Program::Xtask),
    ("cargo engraft ", Program::Engraft),
    ("engraft ", Program::Engraft),
];
const MOST_README_LINES: usize = 110;
const MOST_WORDS: usize = 40;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    Xtask,
    Engraft,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Markdown files of a folder, with their text.
fn pages(folder: &str) -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

fn readme() -> (PathBuf, String) {
    let path = root().join("README.md");
    (path.clone(), fs::read_to_string(path).unwrap())
}

/// README, guide, and the pages of `docs`.
fn documents() -> Vec<(PathBuf, String)> {
    [vec![readme()], pages("docs"), pages("docs/guide")].concat()
}

/// The options that the help of a command shows; `None` if there is no such command.
fn options_of(program: Program, command: &str) -> Option<Vec<String>> {
    let text = match program {
        Program::Xtask => {
            let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
            let output = xtask.args([command, "--help"]).output().unwrap();
            output
                .status
                .success()
                .then(|| String::from_utf8(output.stdout).unwrap())
        }
        Program::Engraft => {
            let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
            let text = engraft::cli::run(&words).unwrap_err().to_string();
            (text.contains("Usage:") && !text.contains("unrecognized")).then_some(text)
        }
    };
    text.map(|text| options(&text))
}

/// The words that begin with two dashes.
fn options(text: &str) -> Vec<String> {
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c: char| !is_in_name(c));
    let is_option = |word: &&str| word.len() > 2 && word.starts_with("--");
    words.filter(is_option).map(Into::into).collect()
}

/// The parts of a page between fences, and those within, with their language.
fn fenced(text: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    for (i, part) in text.split("```").enumerate() {
        match i % 2 {
            0 => prose.push(part),
            _ => blocks.push(part.split_once('\n').unwrap_or((part, ""))),
        }
    }
    (prose, blocks)
}

/// The command lines of the shell blocks, and the inline code.
fn code(text: &str) -> Vec<String> {
    let (prose, blocks) = fenced(text);
    let mut found = Vec::new();
    for part in prose {
        let inline = part.split('`').skip(1).step_by(2);
        found.extend(inline.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    for (_, block) in blocks.into_iter().filter(|(language, _)| *language == "sh") {
        found.extend(
            block
                .replace("\\\n", " ")
                .lines()
                .map(|line| line.trim().to_string()),
        );
    }
    found
}

#[test]
fn commands_and_options_exist() {
    let mut known: BTreeMap<(Program, String), Option<Vec<String>>> = BTreeMap::new();
    let (mut alone, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in documents() {
        let page = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in code(&text) {
            let line = line.split(" #").next().unwrap_or("");
            let prefix = PREFIXES.into_iter().find(|(prefix, _)| line.starts_with(prefix));
            let Some((prefix, program)) = prefix else {
                if line.starts_with("--") {
                    alone.extend(options(line).into_iter().map(|option| (page.clone(), option)));
                }
                continue;
            };
            let mut words = line[prefix.len()..].split(' ');
            let command = match words.next().unwrap_or("") {
                // This one has commands of its own.
                "sweep" => match words.next() {
                    Some(of) if !of.starts_with('-') => format!("sweep {of}"),
                    _ => "sweep".into(),
                },
                command => command.into(),
            };
            let command = command.as_str();
            // `engraft COMMAND` stands for any command.
            if command.starts_with('-') || command.chars().all(|c| c.is_ascii_uppercase()) {
                continue;
            }
            let found = known
                .entry((program, command.into()))
                .or_insert_with(|| options_of(program, command));
            match found {
                None => problems.push(format!("{page}: `{line}`: no command {command}")),
                Some(found) => {
                    let unknown = options(line).into_iter().filter(|option| !found.contains(option));
                    problems.extend(
                        unknown.map(|option| format!("{page}: `{line}`: {command} has no option {option}")),
                    );
                }
            }
        }
    }
    assert!(known.len() > 8, "only {} commands found", known.len());
    // An option without a command belongs to one of the commands above.
    let is_known = |option: &String| known.values().flatten().any(|found| found.contains(option));
    let unknown = alone.into_iter().filter(|(_, option)| !is_known(option));
    problems.extend(unknown.map(|(page, option)| format!("{page}: no command has the option {option}")));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The targets of the links and pictures of a page.
fn links(text: &str) -> Vec<String> {
    let (prose, _) = fenced(text);
    let mut found = Vec::new();
    for part in prose {
        let targets = part.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| target.to_string()));
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let (prose, _) = fenced(text);
    let lines = prose.into_iter().flat_map(str::lines);
    let headings = lines.filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_resolve() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for (path, text) in [documents(), pages("docs/decisions")].concat() {
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            checked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.with_file_name("").join(file),
            };
            if !target.exists() {
                problems.push(format!("{}: no file {file}", path.display()));
            } else if !anchor.is_empty()
                && !anchors(&fs::read_to_string(&target).unwrap()).contains(&anchor.to_string())
            {
                problems.push(format!("{}: no heading {link}", path.display()));
            }
        }
    }
    assert!(checked > 20, "only {checked} links found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Every item, cell and paragraph of a page, with code and the targets of links replaced.
fn paragraphs(text: &str) -> Vec<String> {
    let (prose, _) = fenced(text);
    let mut found = Vec::new();
    for part in prose {
        let mut current = String::new();
        for line in part.lines().map(str::trim).chain([""]) {
            let is_new = line.is_empty()
                || ["* ", "- ", "#", "|", "![", "> "]
                    .iter()
                    .any(|mark| line.starts_with(mark))
                || line
                    .split_once(". ")
                    .is_some_and(|(number, _)| number.parse::<u32>().is_ok());
            if is_new && !current.is_empty() {
                found.push(std::mem::take(&mut current));
            }
            if line.starts_with('|') {
                found.extend(line.split('|').map(Into::into));
            } else {
                current += line;
                current += " ";
            }
        }
        found.extend([current]);
    }
    // Code counts as one word, a link as its text.
    let plain = |text: String| {
        let without_code = text.split('`').enumerate();
        let without_code: String = without_code
            .map(|(i, part)| if i % 2 == 0 { part } else { "code" })
            .collect();
        let mut parts = without_code.split("](");
        let first = parts.next().unwrap_or("").to_string();
        parts.fold(first, |all, part| {
            all + part.split_once(')').map_or("", |(_, rest)| rest)
        })
    };
    found.into_iter().map(plain).collect()
}

fn sentences(text: &str) -> Vec<String> {
    let marked = [". ", "? ", "! "].iter().fold(text.to_string(), |text, end| {
        text.replace(end, &format!("{}\n", end.trim()))
    });
    let lines = marked.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(Into::into).collect()
}

#[test]
fn readme_and_guide_have_short_sentences() {
    let mut problems = Vec::new();
    let mut lengths = Vec::new();
    for (path, text) in [vec![readme()], pages("docs/guide")].concat() {
        for sentence in paragraphs(&text)
            .iter()
            .flat_map(|paragraph| sentences(paragraph))
        {
            let is_word = |word: &&str| word.contains(|c: char| c.is_alphanumeric());
            let words = sentence.split_whitespace().filter(is_word).count();
            if words > MOST_WORDS {
                problems.push(format!("{}: {words} words: {sentence}", path.display()));
            }
            if sentence.ends_with(['.', '?', '!']) {
                lengths.push(words);
            }
        }
    }
    lengths.sort_unstable();
    let middle = lengths[lengths.len() / 2];
    println!(
        "{} sentences, median {middle} words, longest {:?}",
        lengths.len(),
        lengths.last()
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn readme_is_short() {
    let lines = readme().1.lines().count();
    assert!(lines <= MOST_README_LINES, "README.md has {lines} lines");
}
